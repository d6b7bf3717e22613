// Identifiers: UUIDs in their canonical text form (36 characters, lower case).
#ifndef CAIRN_LIB_BASE_ID_H_
#define CAIRN_LIB_BASE_ID_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace cairn {

// A new random (version 4) UUID.
std::string NewId();

// Accepts exactly the 36-character form (either case) and returns it in lower case; anything else
// is INVALID_FIELD naming `field`. Whatever passes is safe as part of a file name.
absl::StatusOr<std::string> ParseId(std::string_view field, std::string_view text);

// True for text that ParseId accepts and that is already lower case.
bool IsCanonicalId(std::string_view text);

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_ID_H_
