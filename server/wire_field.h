// The core names the fields of its own requests; the wire's path of some of them differs.
#ifndef CAIRN_SERVER_WIRE_FIELD_H_
#define CAIRN_SERVER_WIRE_FIELD_H_

#include <string_view>

#include "absl/status/status.h"

namespace cairn {

// The same error; the field of an INVALID_FIELD is named as on the wire, under `prefix`
// ("header.").
absl::Status NameWireField(const absl::Status& status, std::string_view prefix = "");

}  // namespace cairn

#endif  // CAIRN_SERVER_WIRE_FIELD_H_
