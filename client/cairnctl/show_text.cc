#include "cairnctl/show_text.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include "cairnctl/units.h"

namespace cairn::cairnctl {

using google::protobuf::Timestamp;
using google::protobuf::util::TimeUtil;

std::string Age(const Timestamp& time, SystemTime now) {
  if (time.seconds() == 0) return "";
  const SystemTime then{std::chrono::seconds(time.seconds())};
  return FormatDuration(std::chrono::duration_cast<std::chrono::seconds>(now - then));
}

std::string When(const Timestamp& time, SystemTime now) {
  if (time.seconds() == 0) return "";
  Timestamp seconds;
  seconds.set_seconds(time.seconds());
  return fmt::format("{} ({} ago)", TimeUtil::ToString(seconds), Age(time, now));
}

std::string LabelText(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [key, value] : labels)
    text += fmt::format("{}{}={}", text.empty() ? "" : ", ", key, value);
  return text;
}

std::string WithReason(const std::string& state, const std::string& reason) {
  return reason.empty() ? state : fmt::format("{} ({})", state, reason);
}

}  // namespace cairn::cairnctl
