// The refcounts of a qcow2 image (section "Host cluster management"), as far as growing and
// committing need them: find the end of what is used, take a run of clusters there, give clusters
// back. Private to lib/image.
//
// Works on the file's own values, so every offset is checked before it is followed. One user at a
// time.
#ifndef CAIRN_LIB_IMAGE_QCOW2_REFCOUNT_H_
#define CAIRN_LIB_IMAGE_QCOW2_REFCOUNT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/image/qcow2_layout.h"

namespace cairn::qcow2 {

// Entry `index` of a refcount block whose entries are 2^order bits wide.
uint64_t GetRefcount(std::string_view block, int64_t index, uint32_t order);
void SetRefcount(std::string& block, int64_t index, uint32_t order, uint64_t value);

class Refcounts {
 public:
  // Where the clusters go that growing needs, all in one run.
  struct Run {
    int64_t first = 0;           // cluster index
    int64_t payload = 0;         // clusters for the caller, at `first`
    int64_t new_blocks = 0;      // refcount blocks, behind them
    int64_t table_clusters = 0;  // a larger refcount table, behind those; 0: the table stays
    int64_t clusters() const { return payload + new_blocks + table_clusters; }
  };

  // Reads the refcount table. `file` and `block` are not owned and must outlive this.
  static absl::StatusOr<Refcounts> Load(File* file, const HeaderBlock* block);

  // Plans a run of `payload` clusters behind everything that the file holds or that is counted as
  // used.
  absl::StatusOr<Run> Plan(int64_t payload);
  // Counts the run's clusters as used once: durable when it returns, but for the table of a run
  // with `table_clusters`, which holds once the header names it.
  absl::Status Take(const Run& run);
  // The clusters that hold the refcount blocks; IMAGE_CORRUPT when one is outside the file.
  absl::StatusOr<std::vector<int64_t>> BlockClusters() const;
  // Whether each of these clusters has exactly one user.
  absl::StatusOr<bool> AreUsedOnce(const std::vector<int64_t>& clusters) const;
  // One user less for each of these clusters.
  absl::Status Release(int64_t first, int64_t clusters);

 private:
  Refcounts(File* file, const HeaderBlock* block) : file_(file), block_(block) {}

  int64_t cluster_bytes() const { return block_->cluster_bytes(); }
  uint32_t order() const { return block_->header.refcount_order; }
  int64_t refcounts_per_block() const { return cluster_bytes() * 8 >> order(); }
  int64_t table_entries() const { return static_cast<int64_t>(table_.size()) / 8; }
  // Offset of the refcount block with that index; 0: there is none, all its refcounts are 0.
  absl::StatusOr<int64_t> BlockOffset(int64_t index) const;
  absl::StatusOr<std::string> ReadBlock(int64_t index) const;
  absl::StatusOr<int64_t> FirstUnused() const;
  absl::Status TakeInBlock(int64_t index, int64_t first, int64_t end, int64_t& next_new_block);
  absl::Status WriteTable(const Run& run, int64_t first_index, int64_t last_index);

  File* file_;
  const HeaderBlock* block_;
  std::string table_;
};

}  // namespace cairn::qcow2

#endif  // CAIRN_LIB_IMAGE_QCOW2_REFCOUNT_H_
