#include "lib/catalog/time_key.h"

#include <fmt/format.h>

#include <cstdint>

namespace cairn {

std::string TimeKey(absl::Time time) {
  constexpr size_t kDigits = 24;
  if (time == absl::InfinitePast()) return std::string(kDigits, '0');
  if (time == absl::InfiniteFuture()) return std::string(kDigits, 'f');
  const int64_t seconds = absl::ToUnixSeconds(time);  // rounded down
  absl::Duration left = time - absl::FromUnixSeconds(seconds);
  const int64_t quarters = absl::IDivDuration(left, absl::Nanoseconds(1) / 4, &left);
  // With the sign turned round, so that what lies before 1970 comes first.
  return fmt::format("{:016x}{:08x}", static_cast<uint64_t>(seconds) ^ (uint64_t{1} << 63),
                     quarters);
}

}  // namespace cairn
