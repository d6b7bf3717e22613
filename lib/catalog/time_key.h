// Times as texts that sort, byte by byte, like the times themselves: what SQLite orders by.
#ifndef CAIRN_LIB_CATALOG_TIME_KEY_H_
#define CAIRN_LIB_CATALOG_TIME_KEY_H_

#include <string>

#include "absl/time/time.h"

namespace cairn {

// 24 hexadecimal digits, to the quarter of a nanosecond that absl::Time counts in; infinite times
// stand at the ends.
std::string TimeKey(absl::Time time);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_TIME_KEY_H_
