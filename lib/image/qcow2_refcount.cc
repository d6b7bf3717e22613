#include "lib/image/qcow2_refcount.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "lib/base/status.h"

namespace cairn::qcow2 {

uint64_t GetRefcount(std::string_view block, int64_t index, uint32_t order) {
  const int64_t bits = int64_t{1} << order;
  const auto at = static_cast<size_t>(index * bits / 8);
  if (bits >= 8) {
    uint64_t value = 0;
    for (size_t i = 0; i < static_cast<size_t>(bits) / 8; ++i) {
      value = value << 8 | static_cast<uint8_t>(block[at + i]);
    }
    return value;
  }
  // Section "Refcount blocks": widths below a byte count from the least significant bit.
  const auto shift = static_cast<unsigned>(index * bits % 8);
  return static_cast<uint8_t>(block[at]) >> shift & ((1U << bits) - 1);
}

void SetRefcount(std::string& block, int64_t index, uint32_t order, uint64_t value) {
  const int64_t bits = int64_t{1} << order;
  const auto at = static_cast<size_t>(index * bits / 8);
  if (bits >= 8) {
    for (size_t i = static_cast<size_t>(bits) / 8; i-- > 0;) {
      block[at + i] = static_cast<char>(value & 0xff);
      value >>= 8;
    }
    return;
  }
  const auto shift = static_cast<unsigned>(index * bits % 8);
  const unsigned mask = ((1U << bits) - 1) << shift;
  const unsigned byte = static_cast<uint8_t>(block[at]);
  block[at] = static_cast<char>((byte & ~mask) | (static_cast<unsigned>(value) << shift & mask));
}

absl::StatusOr<Refcounts> Refcounts::Load(File* file, const HeaderBlock* block) {
  Refcounts refcounts(file, block);
  // Within kRefcountTableBytesMax: the header was checked.
  const int64_t bytes = block->header.refcount_table_clusters * block->cluster_bytes();
  ASSIGN_OR_RETURN(refcounts.table_,
                   file->ReadAt(static_cast<int64_t>(block->header.refcount_table_offset), bytes));
  refcounts.table_.resize(static_cast<size_t>(bytes));
  return refcounts;
}

absl::StatusOr<int64_t> Refcounts::BlockOffset(int64_t index) const {
  if (index >= table_entries()) return 0;
  const uint64_t offset = Load64(table_, static_cast<size_t>(index) * 8) & kRefcountOffsetMask;
  if (offset % static_cast<uint64_t>(cluster_bytes()) != 0) {
    return Corrupt(fmt::format("refcount block {} is not aligned", index));
  }
  if (offset >= static_cast<uint64_t>(kFileBytesMax)) {
    return Corrupt(fmt::format("refcount block {} lies outside the file", index));
  }
  return static_cast<int64_t>(offset);
}

absl::StatusOr<std::string> Refcounts::ReadBlock(int64_t index) const {
  ASSIGN_OR_RETURN(const int64_t offset, BlockOffset(index));
  std::string bytes;
  if (offset != 0) {
    ASSIGN_OR_RETURN(bytes, file_->ReadAt(offset, cluster_bytes()));
    if (bytes.empty())
      return Corrupt(fmt::format("refcount block {} lies outside the file", index));
  }
  bytes.resize(static_cast<size_t>(cluster_bytes()));
  return bytes;
}

// Clusters may be counted as used beyond the end of the file (allocated, never written), so the end
// of the file alone is not enough.
absl::StatusOr<int64_t> Refcounts::FirstUnused() const {
  // A legitimate image has hardly any empty block there; a hostile table could name a million.
  constexpr int kEmptyBlocksMax = 1024;
  const int64_t file_end = DivideUp(block_->file_bytes, cluster_bytes());
  int empty_blocks = 0;
  for (int64_t index = table_entries() - 1; index >= file_end / refcounts_per_block(); --index) {
    ASSIGN_OR_RETURN(const int64_t offset, BlockOffset(index));
    if (offset == 0) continue;
    ASSIGN_OR_RETURN(const std::string bytes, ReadBlock(index));
    for (int64_t i = refcounts_per_block() - 1; i >= 0; --i) {
      if (GetRefcount(bytes, i, order()) == 0) continue;
      return std::max(file_end, index * refcounts_per_block() + i + 1);
    }
    if (++empty_blocks > kEmptyBlocksMax) return Corrupt("too many empty refcount blocks");
  }
  return file_end;
}

absl::StatusOr<Refcounts::Run> Refcounts::Plan(int64_t payload) {
  Run run;
  ASSIGN_OR_RETURN(run.first, FirstUnused());
  if (run.first > kFileBytesMax / cluster_bytes()) {
    return Corrupt("clusters are in use far outside the file");
  }
  run.payload = payload;
  // The blocks and the table count themselves: a fixed point, reached from below in a few rounds.
  while (true) {
    const int64_t last_index = (run.first + run.clusters() - 1) / refcounts_per_block();
    Run next = run;
    next.table_clusters =
        last_index < table_entries() ? 0 : DivideUp((last_index + 1) * 8, cluster_bytes());
    next.new_blocks = 0;
    for (int64_t index = run.first / refcounts_per_block(); index <= last_index; ++index) {
      ASSIGN_OR_RETURN(const int64_t offset, BlockOffset(index));
      if (offset == 0) ++next.new_blocks;
    }
    if (next.table_clusters * cluster_bytes() > kRefcountTableBytesMax) {
      return InvalidField("size_bytes", "the image file would become too large");
    }
    if (next.clusters() == run.clusters()) return next;
    run = next;
  }
}

// Refcounts of clusters [first, end), which all belong to block `index`.
absl::Status Refcounts::TakeInBlock(int64_t index, int64_t first, int64_t end,
                                    int64_t& next_new_block) {
  ASSIGN_OR_RETURN(std::string bytes, ReadBlock(index));
  ASSIGN_OR_RETURN(int64_t offset, BlockOffset(index));
  for (int64_t cluster = first; cluster < end; ++cluster) {
    SetRefcount(bytes, cluster % refcounts_per_block(), order(), 1);
  }
  if (offset == 0) {
    offset = next_new_block++ * cluster_bytes();
    Store64(table_, static_cast<size_t>(index) * 8, static_cast<uint64_t>(offset));
  }
  return file_->WriteAt(offset, bytes);
}

absl::Status Refcounts::WriteTable(const Run& run, int64_t first_index, int64_t last_index) {
  if (run.table_clusters > 0) {
    RETURN_IF_ERROR(
        file_->WriteAt((run.first + run.payload + run.new_blocks) * cluster_bytes(), table_));
    return file_->Sync();
  }
  // The blocks are durable before the table in use names them.
  RETURN_IF_ERROR(file_->Sync());
  if (run.new_blocks == 0) return absl::OkStatus();
  const std::string changed = table_.substr(static_cast<size_t>(first_index) * 8,
                                            static_cast<size_t>(last_index - first_index + 1) * 8);
  RETURN_IF_ERROR(file_->WriteAt(
      static_cast<int64_t>(block_->header.refcount_table_offset) + first_index * 8, changed));
  return file_->Sync();
}

absl::Status Refcounts::Take(const Run& run) {
  if (run.table_clusters > 0) {
    table_.resize(static_cast<size_t>(run.table_clusters * cluster_bytes()));
  }
  const int64_t end = run.first + run.clusters();
  const int64_t first_index = run.first / refcounts_per_block();
  const int64_t last_index = (end - 1) / refcounts_per_block();
  int64_t next_new_block = run.first + run.payload;
  for (int64_t index = first_index; index <= last_index; ++index) {
    const int64_t block_first = index * refcounts_per_block();
    RETURN_IF_ERROR(TakeInBlock(index, std::max(run.first, block_first),
                                std::min(end, block_first + refcounts_per_block()),
                                next_new_block));
  }
  return WriteTable(run, first_index, last_index);
}

absl::StatusOr<std::vector<int64_t>> Refcounts::BlockClusters() const {
  std::vector<int64_t> clusters;
  for (int64_t index = 0; index < table_entries(); ++index) {
    ASSIGN_OR_RETURN(const int64_t offset, BlockOffset(index));
    if (offset == 0) continue;
    if (offset >= block_->file_bytes) {
      return Corrupt(fmt::format("refcount block {} lies outside the file", index));
    }
    clusters.push_back(offset / cluster_bytes());
  }
  return clusters;
}

absl::StatusOr<bool> Refcounts::AreUsedOnce(const std::vector<int64_t>& clusters) const {
  std::vector<int64_t> sorted = clusters;
  std::sort(sorted.begin(), sorted.end());
  int64_t read = -1;
  std::string bytes;
  for (const int64_t cluster : sorted) {
    const int64_t index = cluster / refcounts_per_block();
    if (index != read) {
      ASSIGN_OR_RETURN(bytes, ReadBlock(index));
      read = index;
    }
    if (GetRefcount(bytes, cluster % refcounts_per_block(), order()) != 1) return false;
  }
  return true;
}

absl::Status Refcounts::Release(int64_t first, int64_t clusters) {
  const int64_t end = first + clusters;
  for (int64_t cluster = first; cluster < end;) {
    const int64_t index = cluster / refcounts_per_block();
    const int64_t block_end = std::min(end, (index + 1) * refcounts_per_block());
    ASSIGN_OR_RETURN(const int64_t offset, BlockOffset(index));
    if (offset == 0) {
      cluster = block_end;  // already counted as free
      continue;
    }
    ASSIGN_OR_RETURN(std::string bytes, ReadBlock(index));
    for (; cluster < block_end; ++cluster) {
      const int64_t at = cluster % refcounts_per_block();
      const uint64_t refcount = GetRefcount(bytes, at, order());
      if (refcount > 0) SetRefcount(bytes, at, order(), refcount - 1);
    }
    RETURN_IF_ERROR(file_->WriteAt(offset, bytes));
  }
  return absl::OkStatus();
}

}  // namespace cairn::qcow2
