// Sizes in bytes: limits that hold for every volume, and their form for people.
#ifndef CAIRN_LIB_BASE_SIZE_H_
#define CAIRN_LIB_BASE_SIZE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace cairn {

inline constexpr int64_t kKiB = int64_t{1} << 10;
inline constexpr int64_t kMiB = int64_t{1} << 20;
inline constexpr int64_t kGiB = int64_t{1} << 30;
inline constexpr int64_t kTiB = int64_t{1} << 40;
inline constexpr int64_t kSectorBytes = 512;
// The largest volume: what a qcow2 image with 64 KiB clusters can address through its 32 MiB L1
// table limit (qemu's QCOW_MAX_L1_SIZE): 32 MiB / 8 entries x 512 MiB each = 2 PiB.
inline constexpr int64_t kMaxVolumeBytes = int64_t{1} << 51;

// A volume's size: positive, a multiple of 512, at most kMaxVolumeBytes; else INVALID_FIELD.
absl::Status CheckVolumeSize(std::string_view field, int64_t size_bytes);

// What a volume must have at least to hold so much.
constexpr int64_t RoundUpToSector(int64_t bytes) {
  return (bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
}

// "1.5 GiB", "512 B": at most one decimal, binary units.
std::string FormatSize(int64_t bytes);

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_SIZE_H_
