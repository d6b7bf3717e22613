// The records in memory, found by id and walked in each order that lists offer: every volume and
// snapshot; of the operations those that have not ended and the newest others. Older ones are read
// from the store (operations.h), which has them all.
//
// What a store publishes here is what readers see. Thread-safe: the mutex is held for look-ups and
// for copying pointers, never across a disk access. A transaction becomes visible at once.
#ifndef CAIRN_LIB_CATALOG_MEMORY_INDEX_H_
#define CAIRN_LIB_CATALOG_MEMORY_INDEX_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/numeric/int128.h"
#include "lib/base/mutex.h"
#include "lib/base/strings.h"
#include "lib/catalog/catalog.h"
#include "lib/catalog/sort_order.h"

namespace cairn {

// A transaction that passed its checks, with its revisions given out.
struct Changes {
  struct Removal {
    std::string id;
    int64_t revision = 0;
    int64_t replaced = 0;  // the revision of what is removed
  };
  std::vector<VolumePtr> volumes;
  std::vector<SnapshotPtr> snapshots;
  std::vector<OperationPtr> operations;
  std::vector<SharePtr> shares;
  std::vector<Removal> removed_volumes;
  std::vector<Removal> removed_snapshots;
  std::vector<Removal> removed_operations;
  std::vector<Removal> removed_shares;
  int64_t revision = 0;  // the last one given out, here or before
  uint64_t digest = 0;   // what it adds to the digest of all records (checksum.h)
  bool may_be_durable_later = false;

  bool empty() const {
    return volumes.empty() && snapshots.empty() && operations.empty() && shares.empty() &&
           removed_volumes.empty() && removed_snapshots.empty() && removed_operations.empty() &&
           removed_shares.empty();
  }
};

class MemoryIndex {
 public:
  explicit MemoryIndex(int changes_kept);

  // What was loaded, puts alone, into an empty index: instead of Publish and without a trace in the
  // changes. `volume_revision`: the last revision at which a volume changed; earlier changes are
  // not known any more.
  void Load(const Changes& loaded, int64_t volume_revision);
  void Publish(const Changes& changes);

  // Everything that is here, as puts into an empty store; operations in the order of their last change.
  Changes Everything() const;

  VolumePtr FindVolume(const std::string& id) const;
  SnapshotPtr FindSnapshot(const std::string& id) const;
  OperationPtr FindOperation(const std::string& id) const;
  OperationPtr FindOperationByRequest(const std::string& request_id) const;
  SharePtr FindShare(const std::string& address) const;
  std::vector<SharePtr> Shares() const;
  std::vector<SnapshotPtr> SnapshotsOf(const std::string& volume_id) const;
  std::vector<OperationPtr> UnfinishedOperations() const;
  Catalog::ShareTotals TotalsOf(const std::string& share) const;
  std::vector<std::string> VolumesOn(const std::string& share) const;
  int64_t revision() const;
  absl::StatusOr<std::vector<VolumeChange>> ChangesAfter(int64_t revision, int count_max) const;

  // They are not in the store any more: those that have ended.
  void ForgetEnded();

  // So many ended operations stay in memory.
  static constexpr size_t kEndedKept = 2000;

  // At most `count` records in that order, from the place after `after` on (null: from the
  // beginning).
  std::vector<VolumePtr> VolumesAfter(SortOrder order, const Position* after, size_t count) const;
  // `volume_id` empty: the snapshots of all volumes.
  std::vector<SnapshotPtr> SnapshotsAfter(const std::string& volume_id, SortOrder order,
                                          const Position* after, size_t count) const;
  std::vector<OperationPtr> UnfinishedAfter(SortOrder order, const Position* after,
                                            size_t count) const;

 private:
  // Found by the id that the record itself holds.
  struct IdHash {
    using is_transparent = void;
    size_t operator()(std::string_view id) const { return absl::HashOf(ToAbsl(id)); }
    template <typename Record>
    size_t operator()(const std::shared_ptr<const Record>& record) const {
      return (*this)(std::string_view(record->id));
    }
  };
  struct IdEqual {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return IdOf(a) == IdOf(b);
    }

   private:
    static std::string_view IdOf(std::string_view id) { return id; }
    template <typename Record>
    static std::string_view IdOf(const std::shared_ptr<const Record>& record) {
      return record->id;
    }
  };
  template <typename Ptr>
  using ById = absl::flat_hash_set<Ptr, IdHash, IdEqual>;

  template <typename Ptr>
  struct Orders {
    OrderedSet<Ptr> by_create_time{PositionLess(SortField::kCreateTime)};
    OrderedSet<Ptr> by_name{PositionLess(SortField::kName)};
    OrderedSet<Ptr> by_size{PositionLess(SortField::kSizeBytes)};

    void Insert(const Ptr& ptr);
    void Fill(const std::vector<Ptr>& records);
    void Erase(const Ptr& ptr);
    const OrderedSet<Ptr>& Of(SortField field) const;
  };
  // By volume, there oldest first.
  struct VolumeLess {
    using is_transparent = void;
    bool operator()(const SnapshotPtr& a, const SnapshotPtr& b) const;
    bool operator()(const SnapshotPtr& a, std::string_view volume_id) const {
      return a->volume_id < volume_id;
    }
    bool operator()(std::string_view volume_id, const SnapshotPtr& b) const {
      return volume_id < b->volume_id;
    }
  };
  struct OnShare {
    absl::flat_hash_set<const VolumeRecord*> volumes;
    std::map<VolumeState, int64_t> by_state;
    // Thin volumes are promised far more than there is: many of the largest do not fit 64 bits.
    absl::int128 provisioned_bytes = 0;
    absl::int128 file_bytes = 0;
  };

  std::vector<SnapshotPtr> OfVolume(std::string_view volume_id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Replaces what is under `id`; `ptr` null removes it.
  void SetVolume(const std::string& id, const VolumePtr& ptr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetSnapshot(const std::string& id, const SnapshotPtr& ptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetOperation(const std::string& id, const OperationPtr& ptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetShare(const std::string& address, const SharePtr& ptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Apply(const Changes& changes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddToShare(const VolumeRecord& volume) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RemoveFromShare(const VolumeRecord& volume) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remember(VolumeChange change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t changes_kept_;
  mutable Mutex mutex_;
  ById<VolumePtr> volumes_ ABSL_GUARDED_BY(mutex_);
  ById<SnapshotPtr> snapshots_ ABSL_GUARDED_BY(mutex_);
  ById<OperationPtr> operations_ ABSL_GUARDED_BY(mutex_);
  Orders<VolumePtr> volume_orders_ ABSL_GUARDED_BY(mutex_);
  Orders<SnapshotPtr> snapshot_orders_ ABSL_GUARDED_BY(mutex_);
  absl::btree_set<SnapshotPtr, VolumeLess> snapshots_of_ ABSL_GUARDED_BY(mutex_);
  OrderedSet<OperationPtr> unfinished_ ABSL_GUARDED_BY(mutex_);
  // Ended ones as they came, with some that were replaced or removed since.
  std::deque<OperationPtr> ended_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, OperationPtr> by_request_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, SharePtr> shares_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, OnShare> on_share_ ABSL_GUARDED_BY(mutex_);
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<VolumeChange> changes_ ABSL_GUARDED_BY(mutex_);
  // Every volume change after this revision is in changes_.
  int64_t changes_complete_after_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_MEMORY_INDEX_H_
