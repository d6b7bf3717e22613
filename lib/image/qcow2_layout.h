// How qcow2 lies on disk: shared by the header, create and grow functions, private to lib/image.
//
// Values only; thread-safe. "The specification" is qemu's docs/interop/qcow2.txt.
#ifndef CAIRN_LIB_IMAGE_QCOW2_LAYOUT_H_
#define CAIRN_LIB_IMAGE_QCOW2_LAYOUT_H_

#include <endian.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/image/qcow2.h"

namespace cairn::qcow2 {

inline constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"

// Offsets of the fields of section "Header".
inline constexpr size_t kMagicAt = 0;
inline constexpr size_t kVersionAt = 4;
inline constexpr size_t kBackingOffsetAt = 8;
inline constexpr size_t kBackingSizeAt = 16;
inline constexpr size_t kClusterBitsAt = 20;
inline constexpr size_t kSizeAt = 24;
inline constexpr size_t kCryptMethodAt = 32;
inline constexpr size_t kL1SizeAt = 36;
inline constexpr size_t kL1OffsetAt = 40;
inline constexpr size_t kRefcountTableOffsetAt = 48;
inline constexpr size_t kRefcountTableClustersAt = 56;
inline constexpr size_t kSnapshotCountAt = 60;
inline constexpr size_t kSnapshotsOffsetAt = 64;
inline constexpr size_t kIncompatibleAt = 72;
inline constexpr size_t kCompatibleAt = 80;
inline constexpr size_t kAutoclearAt = 88;
inline constexpr size_t kRefcountOrderAt = 96;
inline constexpr size_t kHeaderLengthAt = 100;
inline constexpr uint32_t kHeaderLengthV2 = 72;
inline constexpr uint32_t kHeaderLengthV3 = 104;

inline constexpr uint64_t kIncompatibleDirty = 1 << 0;
inline constexpr uint64_t kIncompatibleCorrupt = 1 << 1;
inline constexpr uint64_t kIncompatibleDataFile = 1 << 2;
inline constexpr uint64_t kIncompatibleExtendedL2 = 1 << 4;
inline constexpr uint64_t kIncompatibleKnown = 0x1f;
inline constexpr uint64_t kAutoclearKnown = 0x3;  // bitmaps, raw external data

// Section "Header extensions".
inline constexpr uint32_t kExtensionEnd = 0;
inline constexpr uint32_t kExtensionBackingFormat = 0xe2792aca;
inline constexpr uint32_t kExtensionDataFile = 0x44415441;
inline constexpr uint32_t kExtensionBitmaps = 0x23852875;

// Section "Standard Cluster Descriptor" and "L1 table entry": bit 63, the refcount is exactly one.
inline constexpr uint64_t kCopied = uint64_t{1} << 63;
// Section "Refcount table": bits 0..8 of an entry are reserved.
inline constexpr uint64_t kRefcountOffsetMask = ~uint64_t{0x1ff};

// What we write.
inline constexpr uint32_t kClusterBits = 16;
inline constexpr int64_t kClusterBytes = int64_t{1} << kClusterBits;

// qemu refuses larger tables (QCOW_MAX_L1_SIZE, QCOW_MAX_REFTABLE_SIZE), so do we: they also bound
// what reading a hostile header can make us allocate.
inline constexpr int64_t kL1BytesMax = int64_t{32} << 20;
inline constexpr int64_t kRefcountTableBytesMax = int64_t{8} << 20;
// Section "Standard Cluster Descriptor": host offsets have 56 bits.
inline constexpr int64_t kFileBytesMax = int64_t{1} << 56;
inline constexpr size_t kBackingNameBytesMax = 1023;

inline uint32_t Load32(std::string_view bytes, size_t at) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return be32toh(value);
}
inline uint64_t Load64(std::string_view bytes, size_t at) {
  uint64_t value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return be64toh(value);
}

inline void Store16(std::string& bytes, size_t at, uint16_t value) {
  value = htobe16(value);
  std::memcpy(bytes.data() + at, &value, sizeof(value));
}
inline void Store32(std::string& bytes, size_t at, uint32_t value) {
  value = htobe32(value);
  std::memcpy(bytes.data() + at, &value, sizeof(value));
}
inline void Store64(std::string& bytes, size_t at, uint64_t value) {
  value = htobe64(value);
  std::memcpy(bytes.data() + at, &value, sizeof(value));
}

// Non-negative, positive.
inline int64_t DivideUp(int64_t value, int64_t by) { return value / by + (value % by != 0); }
inline int64_t RoundUp(int64_t value, int64_t to) { return DivideUp(value, to) * to; }

struct Extension {
  uint32_t type = 0;
  std::string data;
};

// Everything in the first cluster, so that it can be written again with nothing lost.
struct HeaderBlock {
  Qcow2Header header;
  std::string fixed;                  // the first header_length bytes, as they stand
  std::vector<Extension> extensions;  // in order, without the end marker
  int64_t used_bytes = 0;             // up to the end of the extensions and of the backing name
  int64_t file_bytes = 0;
  uint64_t snapshots_offset = 0;

  int64_t cluster_bytes() const { return int64_t{1} << header.cluster_bits; }
  // Guest bytes that one L1 entry maps (section "Cluster mapping"); extended L2 entries are twice
  // as large, so a table holds half as many.
  int64_t bytes_per_l1_entry() const {
    const int entry = (header.incompatible_features & kIncompatibleExtendedL2) != 0 ? 16 : 8;
    return cluster_bytes() / entry * cluster_bytes();
  }
  bool HasExtension(uint32_t type) const;
};

// As ReadQcow2Header, with all that was read.
absl::StatusOr<HeaderBlock> ReadHeaderBlock(File& file);

// The bytes of a first cluster: `fixed` with the backing fields set, the extensions with the
// backing format among them, the backing name. IMAGE_CORRUPT when they do not fit into one cluster.
absl::StatusOr<std::string> EncodeHeaderBlock(const HeaderBlock& block);

// The fixed part of a new version 3 header.
std::string EncodeNewHeader(const Qcow2Header& header);

// What may be written as a backing file: nothing, or a bare name with a format, never to be probed.
absl::Status CheckNewBacking(const std::string& name, const std::string& format);

absl::Status Corrupt(std::string problem);

}  // namespace cairn::qcow2

#endif  // CAIRN_LIB_IMAGE_QCOW2_LAYOUT_H_
