#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_layout.h"
#include "lib/image/qcow2_mapping.h"
#include "lib/image/qcow2_refcount.h"
#include "lib/image/qcow2_tail.h"

namespace cairn {
namespace {

using qcow2::DivideUp;
using qcow2::HeaderBlock;
using qcow2::Refcounts;
using qcow2::RoundUp;

// What this function cannot keep consistent, it does not touch.
absl::Status CheckGrowable(const HeaderBlock& block) {
  const Qcow2Header& header = block.header;
  auto unsafe = [](std::string_view what) {
    return Error(Reason::kImageUnsafe, fmt::format("an image with {} cannot be grown", what));
  };
  if (header.has_external_data_file()) return unsafe("an external data file");
  if (header.crypt_method != 0) return unsafe("encryption");
  if ((header.incompatible_features & qcow2::kIncompatibleCorrupt) != 0) {
    return Error(Reason::kImageCorrupt, "the image is marked as corrupt");
  }
  if (header.snapshot_count > 0) return qcow2::NotPlain("internal snapshots");
  if (block.HasExtension(qcow2::kExtensionBitmaps)) return qcow2::NotPlain("bitmaps");
  if ((header.incompatible_features & qcow2::kIncompatibleDirty) != 0) {
    // Its refcounts may be wrong: a cluster that looks free may be in use.
    return qcow2::NotPlain("it was not closed cleanly");
  }
  return absl::OkStatus();
}

// The switch: one write of about a hundred bytes.
absl::Status WriteHeader(File& file, HeaderBlock& block) {
  const Qcow2Header& header = block.header;
  std::string& fixed = block.fixed;
  qcow2::Store64(fixed, qcow2::kSizeAt, static_cast<uint64_t>(header.virtual_size));
  qcow2::Store32(fixed, qcow2::kL1SizeAt, header.l1_size);
  qcow2::Store64(fixed, qcow2::kL1OffsetAt, header.l1_table_offset);
  qcow2::Store64(fixed, qcow2::kRefcountTableOffsetAt, header.refcount_table_offset);
  qcow2::Store32(fixed, qcow2::kRefcountTableClustersAt, header.refcount_table_clusters);
  if (header.version >= 3) {
    // Section "Header", autoclear_features: a writer clears the bits that it does not know.
    qcow2::Store64(fixed, qcow2::kAutoclearAt, header.autoclear_features & qcow2::kAutoclearKnown);
  }
  return file.WriteAt(0, fixed);
}

// The last cluster of the L1 table has room for the new entries. A table has its clusters to
// itself, but what lies behind its entries is not defined: make it zeros (no L2 table) before it
// counts.
absl::Status ExtendL1InPlace(File& file, const HeaderBlock& block, int64_t entries) {
  const auto table = static_cast<int64_t>(block.header.l1_table_offset);
  const int64_t old_end = table + int64_t{block.header.l1_size} * 8;
  const int64_t new_end = table + entries * 8;
  ASSIGN_OR_RETURN(std::string tail, file.ReadAt(old_end, new_end - old_end));
  bool durable = true;
  if (tail.find_first_not_of('\0') != std::string::npos) {
    RETURN_IF_ERROR(
        file.WriteAt(old_end, std::string(static_cast<size_t>(new_end - old_end), '\0')));
    durable = false;
  }
  if (block.file_bytes < new_end) {
    // qemu ends a new file right behind the last entry.
    RETURN_IF_ERROR(file.Truncate(RoundUp(new_end, block.cluster_bytes())));
    durable = false;
  }
  return durable ? absl::OkStatus() : file.Sync();
}

// A larger L1 table in new clusters at the end of the file; the old clusters are free only after
// the header that no longer names them is durable.
absl::Status MoveL1(File& file, HeaderBlock& block, int64_t entries, int64_t new_size_bytes) {
  const int64_t cluster_bytes = block.cluster_bytes();
  const Qcow2Header old = block.header;
  ASSIGN_OR_RETURN(Refcounts refcounts, Refcounts::Load(&file, &block));
  ASSIGN_OR_RETURN(const Refcounts::Run run, refcounts.Plan(DivideUp(entries * 8, cluster_bytes)));
  // Everything from run.first on lies behind the end of the file: it reads as zeros now.
  RETURN_IF_ERROR(file.Truncate((run.first + run.clusters()) * cluster_bytes));
  if (old.l1_size > 0) {
    const auto l1_bytes = static_cast<size_t>(old.l1_size) * 8;
    ASSIGN_OR_RETURN(std::string l1, file.ReadAt(static_cast<int64_t>(old.l1_table_offset),
                                                 static_cast<int64_t>(l1_bytes)));
    l1.resize(l1_bytes);
    RETURN_IF_ERROR(file.WriteAt(run.first * cluster_bytes, l1));
  }
  RETURN_IF_ERROR(refcounts.Take(run));

  Qcow2Header& header = block.header;
  header.virtual_size = new_size_bytes;
  header.l1_size = static_cast<uint32_t>(entries);
  header.l1_table_offset = static_cast<uint64_t>(run.first * cluster_bytes);
  if (run.table_clusters > 0) {
    header.refcount_table_offset =
        static_cast<uint64_t>((run.first + run.payload + run.new_blocks) * cluster_bytes);
    header.refcount_table_clusters = static_cast<uint32_t>(run.table_clusters);
  }
  RETURN_IF_ERROR(WriteHeader(file, block));
  RETURN_IF_ERROR(file.Sync());

  if (old.l1_size > 0) {
    RETURN_IF_ERROR(refcounts.Release(static_cast<int64_t>(old.l1_table_offset) / cluster_bytes,
                                      DivideUp(int64_t{old.l1_size} * 8, cluster_bytes)));
  }
  if (run.table_clusters == 0) return absl::OkStatus();
  return refcounts.Release(static_cast<int64_t>(old.refcount_table_offset) / cluster_bytes,
                           old.refcount_table_clusters);
}

}  // namespace

absl::Status GrowQcow2(File& file, int64_t new_size_bytes) {
  RETURN_IF_ERROR(CheckVolumeSize("size_bytes", new_size_bytes));
  ASSIGN_OR_RETURN(HeaderBlock block, qcow2::ReadHeaderBlock(file));
  if (new_size_bytes < block.header.virtual_size) {
    return InvalidField("size_bytes", "an image cannot be made smaller",
                        std::to_string(new_size_bytes));
  }
  if (new_size_bytes == block.header.virtual_size) return absl::OkStatus();
  const absl::Status growable = CheckGrowable(block);
  if (growable.ok() || absl::IsUnimplemented(growable)) {
    RETURN_IF_ERROR(qcow2::ClearBehindEnd(file, block));
  }
  RETURN_IF_ERROR(growable);
  const int64_t entries = DivideUp(new_size_bytes, block.bytes_per_l1_entry());
  if (entries * 8 > qcow2::kL1BytesMax) {
    return InvalidField("size_bytes", "too large for the image's cluster size",
                        std::to_string(new_size_bytes));
  }
  const int64_t l1_room = RoundUp(int64_t{block.header.l1_size} * 8, block.cluster_bytes());
  if (entries * 8 > l1_room) return MoveL1(file, block, entries, new_size_bytes);
  if (entries > block.header.l1_size) {
    RETURN_IF_ERROR(ExtendL1InPlace(file, block, entries));
    block.header.l1_size = static_cast<uint32_t>(entries);
  }
  block.header.virtual_size = new_size_bytes;
  return WriteHeader(file, block);
}

absl::StatusOr<bool> IsWholeQcow2(File& file, int64_t size_bytes) {
  ASSIGN_OR_RETURN(const HeaderBlock block, qcow2::ReadHeaderBlock(file));
  const Qcow2Header& header = block.header;
  return header.backing_file.empty() && header.data_file.empty() &&
         header.autoclear_features == 0 && CheckGrowable(block).ok() &&
         header.virtual_size <= size_bytes &&
         DivideUp(size_bytes, block.bytes_per_l1_entry()) * 8 <= qcow2::kL1BytesMax;
}

absl::Status UngrowQcow2(File& file, int64_t former_size_bytes) {
  RETURN_IF_ERROR(CheckVolumeSize("size_bytes", former_size_bytes));
  ASSIGN_OR_RETURN(HeaderBlock block, qcow2::ReadHeaderBlock(file));
  if (block.header.virtual_size <= former_size_bytes) return absl::OkStatus();
  RETURN_IF_ERROR(CheckGrowable(block));
  block.header.virtual_size = former_size_bytes;
  return WriteHeader(file, block);
}

}  // namespace cairn
