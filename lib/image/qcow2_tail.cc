#include "lib/image/qcow2_tail.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/image/qcow2_mapping.h"

namespace cairn::qcow2 {
namespace {

absl::Status CannotClear(std::string_view why) {
  return Error(
      Reason::kImageUnsafe,
      "the image may hold old data behind its end, as after it was made smaller, and its last "
      "cluster " +
          std::string(why) + "; copy the image to make it larger");
}

// The entry at `offset`, 0 behind the end of the file.
absl::StatusOr<uint64_t> ReadEntry(File& file, int64_t offset) {
  ASSIGN_OR_RETURN(std::string bytes, file.ReadAt(offset, sizeof(uint64_t)));
  bytes.resize(sizeof(uint64_t));
  return Load64(bytes, 0);
}

// Section "Cluster mapping"; with extended L2 entries a bitmap follows each, which changes nothing here:
// what it calls unallocated is read from elsewhere, whatever is at the place.
absl::StatusOr<uint64_t> EntryOfCluster(File& file, const HeaderBlock& block, int64_t cluster) {
  const Qcow2Header& header = block.header;
  const int64_t entry_bytes =
      (header.incompatible_features & kIncompatibleExtendedL2) != 0 ? 16 : 8;
  const int64_t per_table = block.cluster_bytes() / entry_bytes;
  const int64_t table_at = cluster / per_table;
  if (table_at >= int64_t{header.l1_size}) return uint64_t{0};
  ASSIGN_OR_RETURN(const uint64_t l1,
                   ReadEntry(file, static_cast<int64_t>(header.l1_table_offset) + table_at * 8));
  const uint64_t table = l1 & kHostOffsetMask;
  if (table == 0) return uint64_t{0};
  if (table % static_cast<uint64_t>(block.cluster_bytes()) != 0) {
    return Error(Reason::kImageCorrupt, "an L2 table is not aligned");
  }
  return ReadEntry(file, static_cast<int64_t>(table) + cluster % per_table * entry_bytes);
}

}  // namespace

absl::Status ClearBehindEnd(File& file, const HeaderBlock& block) {
  const int64_t used = block.header.virtual_size % block.cluster_bytes();
  if (used == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint64_t entry,
                   EntryOfCluster(file, block, block.header.virtual_size / block.cluster_bytes()));
  if ((entry & kCompressed) != 0) return CannotClear("is compressed");
  const uint64_t host = entry & kHostOffsetMask;
  if (host == 0 || (block.header.version >= 3 && (entry & kReadsAsZeros) != 0 &&
                    (block.header.incompatible_features & kIncompatibleExtendedL2) == 0)) {
    return absl::OkStatus();
  }
  if (host % static_cast<uint64_t>(block.cluster_bytes()) != 0) {
    return Error(Reason::kImageCorrupt, "a cluster is not aligned");
  }
  const int64_t tail = static_cast<int64_t>(host) + used;
  ASSIGN_OR_RETURN(const std::string held, file.ReadAt(tail, block.cluster_bytes() - used));
  if (held.find_first_not_of('\0') == std::string::npos) return absl::OkStatus();
  if ((entry & kCopied) == 0) return CannotClear("is shared with an internal snapshot");
  RETURN_IF_ERROR(file.WriteAt(tail, std::string(held.size(), '\0')));
  return file.Sync();
}

}  // namespace cairn::qcow2
