#include "lib/base/size.h"

#include <fmt/format.h>

#include <array>

#include "lib/base/status.h"

namespace cairn {

absl::Status CheckVolumeSize(std::string_view field, int64_t size_bytes) {
  std::string value = std::to_string(size_bytes);
  if (size_bytes <= 0) return InvalidField(field, "must be positive", value);
  if (size_bytes % kSectorBytes != 0)
    return InvalidField(field, "must be a multiple of 512", value);
  if (size_bytes > kMaxVolumeBytes) return InvalidField(field, "must be at most 2 PiB", value);
  return absl::OkStatus();
}

std::string FormatSize(int64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while ((value >= 1024 || value <= -1024) && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  bool whole = value == static_cast<double>(static_cast<int64_t>(value));
  return whole ? fmt::format("{:.0f} {}", value, kUnits[unit])
               : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace cairn
