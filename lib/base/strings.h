// Bridges between std::string_view (ours) and absl::string_view, which in Debian's abseil are
// distinct types that do not convert to each other.
#ifndef CAIRN_LIB_BASE_STRINGS_H_
#define CAIRN_LIB_BASE_STRINGS_H_

#include <string_view>

#include "absl/strings/string_view.h"

namespace cairn {

inline absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view ToStd(absl::string_view s) { return {s.data(), s.size()}; }

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_STRINGS_H_
