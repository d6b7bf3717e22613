#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_layout.h"

namespace cairn {
namespace {

using qcow2::DivideUp;
using qcow2::kClusterBytes;

constexpr int64_t kEntriesPerTable = kClusterBytes / 8;                 // L1, L2, refcount table
constexpr int64_t kRefcountsPerBlock = kClusterBytes / 2;               // refcount order 4: 16 bits
constexpr int64_t kGuestBytesPerL2 = kEntriesPerTable * kClusterBytes;  // 512 MiB
// Of tables at a time; a multiple of a cluster. So small that the memory is at hand: what malloc gets
// from the kernel for each image costs more than the writes that it saves.
constexpr int64_t kTableBufferBytes = kClusterBytes;

// The clusters of a new image, in the order they lie in the file. With preallocation the tables
// come first and the data follows as one run: sequential guest I/O stays sequential on the share.
struct Layout {
  int64_t refcount_table_clusters = 1;
  int64_t refcount_blocks = 1;
  int64_t l1_entries = 0;
  int64_t l1_clusters = 0;
  int64_t l2_tables = 0;
  int64_t data_clusters = 0;

  int64_t refcount_table_at() const { return 1; }  // in clusters; the header is cluster 0
  int64_t refcount_blocks_at() const { return refcount_table_at() + refcount_table_clusters; }
  int64_t l1_at() const { return refcount_blocks_at() + refcount_blocks; }
  int64_t l2_at() const { return l1_at() + l1_clusters; }
  int64_t data_at() const { return l2_at() + l2_tables; }
  int64_t clusters() const { return data_at() + data_clusters; }
};

// Refcount blocks and their table count themselves, so their number is a fixed point; it is reached
// from below in a few rounds.
Layout PlanLayout(int64_t size_bytes, bool preallocate) {
  Layout layout;
  layout.l1_entries = DivideUp(size_bytes, kGuestBytesPerL2);
  // At least one cluster, so that the table of an empty image has a place of its own.
  layout.l1_clusters = std::max<int64_t>(1, DivideUp(layout.l1_entries, kEntriesPerTable));
  if (preallocate) {
    layout.data_clusters = DivideUp(size_bytes, kClusterBytes);
    layout.l2_tables = layout.l1_entries;
  }
  while (true) {
    const int64_t blocks = DivideUp(layout.clusters(), kRefcountsPerBlock);
    const int64_t table = DivideUp(blocks, kEntriesPerTable);
    if (blocks == layout.refcount_blocks && table == layout.refcount_table_clusters) return layout;
    layout.refcount_blocks = blocks;
    layout.refcount_table_clusters = table;
  }
}

// Writes `count` big-endian 64-bit entries at cluster `at`: entry i is the offset of cluster
// `first_target + i`, with `flags`.
absl::Status WriteOffsets(File& file, int64_t at, int64_t count, int64_t first_target,
                          uint64_t flags, const CancelToken& cancel) {
  std::string buffer;
  for (int64_t done = 0; done < count;) {
    RETURN_IF_ERROR(cancel.Check());
    const int64_t now = std::min(count - done, kTableBufferBytes / 8);
    buffer.resize(static_cast<size_t>(now) * 8);
    for (int64_t i = 0; i < now; ++i) {
      const auto target = static_cast<uint64_t>((first_target + done + i) * kClusterBytes);
      qcow2::Store64(buffer, static_cast<size_t>(i) * 8, target | flags);
    }
    RETURN_IF_ERROR(file.WriteAt(at * kClusterBytes + done * 8, buffer));
    done += now;
  }
  return absl::OkStatus();
}

// Section "Host cluster management": every cluster of the image is used once.
absl::Status WriteRefcounts(File& file, const Layout& layout, const CancelToken& cancel) {
  const int64_t count = layout.clusters();
  std::string buffer(static_cast<size_t>(std::min(count * 2, kTableBufferBytes)), '\0');
  for (size_t at = 0; at < buffer.size(); at += 2) qcow2::Store16(buffer, at, 1);
  for (int64_t done = 0; done < count * 2;) {
    RETURN_IF_ERROR(cancel.Check());
    const int64_t now = std::min(count * 2 - done, kTableBufferBytes);
    buffer.resize(static_cast<size_t>(now));
    RETURN_IF_ERROR(file.WriteAt(layout.refcount_blocks_at() * kClusterBytes + done, buffer));
    done += now;
  }
  return absl::OkStatus();
}

absl::Status WriteHeader(File& file, const Layout& layout, const Qcow2CreateOptions& options) {
  qcow2::HeaderBlock block;
  Qcow2Header& header = block.header;
  header.virtual_size = options.size_bytes;
  header.cluster_bits = qcow2::kClusterBits;
  header.l1_size = static_cast<uint32_t>(layout.l1_entries);
  header.l1_table_offset = static_cast<uint64_t>(layout.l1_at() * kClusterBytes);
  header.refcount_table_offset = static_cast<uint64_t>(layout.refcount_table_at() * kClusterBytes);
  header.refcount_table_clusters = static_cast<uint32_t>(layout.refcount_table_clusters);
  header.backing_file = options.backing_file;
  header.backing_format = options.backing_format;
  block.fixed = qcow2::EncodeNewHeader(header);
  ASSIGN_OR_RETURN(std::string bytes, qcow2::EncodeHeaderBlock(block));
  return file.WriteAt(0, bytes);
}

absl::Status CheckOptions(const Qcow2CreateOptions& options) {
  RETURN_IF_ERROR(CheckVolumeSize("size_bytes", options.size_bytes));
  RETURN_IF_ERROR(qcow2::CheckNewBacking(options.backing_file, options.backing_format));
  if (options.backing_file.empty()) {
    if (options.backing_format.empty()) return absl::OkStatus();
    return InvalidField("backing_format", "needs a backing file", options.backing_format);
  }
  // Allocated clusters would hide what lies below.
  if (!options.preallocate_metadata) return absl::OkStatus();
  return InvalidField("preallocate_metadata", "cannot be used with a backing file");
}

}  // namespace

absl::Status CreateQcow2(File& file, const Qcow2CreateOptions& options, const CancelToken& cancel) {
  RETURN_IF_ERROR(CheckOptions(options));
  const Layout layout = PlanLayout(options.size_bytes, options.preallocate_metadata);
  if (layout.refcount_table_clusters * kClusterBytes > qcow2::kRefcountTableBytesMax) {
    return InvalidField("size_bytes", "too large for preallocated metadata",
                        std::to_string(options.size_bytes));
  }
  // What is not written below is a hole and reads as zeros: an empty L1 table, the data clusters.
  RETURN_IF_ERROR(file.Truncate(layout.clusters() * kClusterBytes));
  RETURN_IF_ERROR(WriteOffsets(file, layout.refcount_table_at(), layout.refcount_blocks,
                               layout.refcount_blocks_at(), 0, cancel));
  RETURN_IF_ERROR(WriteRefcounts(file, layout, cancel));
  if (layout.l2_tables > 0) {
    RETURN_IF_ERROR(WriteOffsets(file, layout.l1_at(), layout.l2_tables, layout.l2_at(),
                                 qcow2::kCopied, cancel));
    RETURN_IF_ERROR(WriteOffsets(file, layout.l2_at(), layout.data_clusters, layout.data_at(),
                                 qcow2::kCopied, cancel));
  }
  RETURN_IF_ERROR(cancel.Check());
  return WriteHeader(file, layout, options);
}

}  // namespace cairn
