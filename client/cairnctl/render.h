// Messages as JSON and YAML: the proto3 JSON mapping with the fields' own names (snake_case), all
// plain fields present, keys of labels in order. 64-bit numbers are strings, as the mapping
// demands. Pure functions.
#ifndef CAIRN_CLIENT_CAIRNCTL_RENDER_H_
#define CAIRN_CLIENT_CAIRNCTL_RENDER_H_

#include <string>

#include "google/protobuf/message.h"

namespace cairn::cairnctl {

// With line breaks and a final one.
std::string ToJson(const google::protobuf::Message& message);
// On one line, with a final line break: for streams of messages.
std::string ToJsonLine(const google::protobuf::Message& message);
std::string ToYaml(const google::protobuf::Message& message);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_RENDER_H_
