// Pieces of text that several kinds of records have.
#ifndef CAIRN_CLIENT_CAIRNCTL_SHOW_TEXT_H_
#define CAIRN_CLIENT_CAIRNCTL_SHOW_TEXT_H_

#include <map>
#include <string>

#include "cairnctl/show.h"
#include "google/protobuf/timestamp.pb.h"

namespace cairn::cairnctl {

// "5m": since then; "" for a time that is not set.
std::string Age(const google::protobuf::Timestamp& time, SystemTime now);

// "2026-01-31T12:00:00Z (5m ago)"; "" for a time that is not set.
std::string When(const google::protobuf::Timestamp& time, SystemTime now);

// "app=web, tier=gold", by key.
std::string LabelText(const std::map<std::string, std::string>& labels);

// "ERROR (the reason)".
std::string WithReason(const std::string& state, const std::string& reason);

// A map field in order.
template <typename Map>
std::map<std::string, std::string> Sorted(const Map& map) {
  return {map.begin(), map.end()};
}

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_SHOW_TEXT_H_
