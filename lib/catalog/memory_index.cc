#include "lib/catalog/memory_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <thread>
#include <utility>

#include "lib/base/status.h"

namespace cairn {
namespace {

template <typename Set>
typename Set::value_type FindIn(const Set& set, const std::string& id) {
  auto it = set.find(std::string_view(id));
  return it == set.end() ? nullptr : *it;
}

OperationPtr FindIn(const std::unordered_map<std::string, OperationPtr>& map,
                    const std::string& request_id) {
  auto it = map.find(request_id);
  return it == map.end() ? nullptr : it->second;
}

// Replaces what is under `id` by `ptr` (null: removes it) and returns what was there.
template <typename Set>
typename Set::value_type Exchange(Set& set, const std::string& id,
                                  const typename Set::value_type& ptr) {
  auto old = FindIn(set, id);
  if (old != nullptr) set.erase(old);
  if (ptr != nullptr) set.insert(ptr);
  return old;
}

template <typename Ptr>
std::vector<Ptr> Walk(const OrderedSet<Ptr>& set, bool descending, const Position* after,
                      size_t count) {
  std::vector<Ptr> items;
  auto take = [&](auto it, auto end) {
    for (; it != end && items.size() < count; ++it) items.push_back(*it);
  };
  if (descending) {
    auto begin = after == nullptr ? set.end() : set.lower_bound(*after);
    take(std::make_reverse_iterator(begin), set.rend());
  } else {
    take(after == nullptr ? set.begin() : set.upper_bound(*after), set.end());
  }
  return items;
}

// The same over a few records in any order, which it may rearrange.
template <typename Ptr>
std::vector<Ptr> Walk(std::vector<Ptr>* records, SortOrder order, const Position* after,
                      size_t count) {
  const PositionLess less(order.field);
  if (after != nullptr) {
    std::erase_if(*records, [&](const Ptr& each) {
      return order.descending ? !less(each, *after) : !less(*after, each);
    });
  }
  const auto middle =
      records->begin() + static_cast<std::ptrdiff_t>(std::min(count, records->size()));
  std::partial_sort(records->begin(), middle, records->end(), [&](const Ptr& a, const Ptr& b) {
    return order.descending ? less(b, a) : less(a, b);
  });
  return {records->begin(), middle};
}

// The records by one of their texts; mostly decided by the first bytes, without a look at the
// records, which lie all over the memory.
template <typename Record>
std::vector<const std::shared_ptr<const Record>*> SortedBy(
    const std::vector<std::shared_ptr<const Record>>& records, std::string Record::*text) {
  using Ptr = std::shared_ptr<const Record>;
  std::vector<std::pair<uint64_t, const Ptr*>> keyed;
  keyed.reserve(records.size());
  for (const Ptr& record : records) {
    const std::string& key = (*record).*text;
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof(first); ++i) {
      first = first << 8 | (i < key.size() ? static_cast<uint8_t>(key[i]) : 0);
    }
    keyed.emplace_back(first, &record);
  }
  std::sort(keyed.begin(), keyed.end(), [text](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : (**a.second).*text < (**b.second).*text;
  });
  std::vector<const Ptr*> sorted;
  sorted.reserve(keyed.size());
  for (const auto& [first, record] : keyed) sorted.push_back(record);
  return sorted;
}

int64_t Clamp(absl::int128 value) {
  return static_cast<int64_t>(std::min(value, absl::int128(std::numeric_limits<int64_t>::max())));
}

}  // namespace

template <typename Ptr>
void MemoryIndex::Orders<Ptr>::Insert(const Ptr& ptr) {
  by_create_time.insert(by_create_time.end(), ptr);  // it is the newest, mostly
  by_name.insert(ptr);
  by_size.insert(ptr);
}

// The store gives records in the order of their creation. Ties of the other orders are decided by
// id. Where the next one belongs at the end, nothing is searched.
template <typename Ptr>
void MemoryIndex::Orders<Ptr>::Fill(const std::vector<Ptr>& records) {
  for (const Ptr& ptr : records) by_create_time.insert(by_create_time.end(), ptr);
  for (const Ptr* ptr : SortedBy(records, &Ptr::element_type::id)) {
    by_name.insert(by_name.end(), *ptr);
    by_size.insert(by_size.end(), *ptr);
  }
}

template <typename Ptr>
void MemoryIndex::Orders<Ptr>::Erase(const Ptr& ptr) {
  by_create_time.erase(ptr);
  by_name.erase(ptr);
  by_size.erase(ptr);
}

template <typename Ptr>
const OrderedSet<Ptr>& MemoryIndex::Orders<Ptr>::Of(SortField field) const {
  switch (field) {
    case SortField::kName:
      return by_name;
    case SortField::kSizeBytes:
      return by_size;
    case SortField::kCreateTime:
      break;
  }
  return by_create_time;
}

bool MemoryIndex::VolumeLess::operator()(const SnapshotPtr& a, const SnapshotPtr& b) const {
  if (int order = a->volume_id.compare(b->volume_id); order != 0) return order < 0;
  return PositionLess(SortField::kCreateTime)(a, b);
}

MemoryIndex::MemoryIndex(int changes_kept)
    : changes_kept_(static_cast<size_t>(std::max(changes_kept, 0))),
      unfinished_(PositionLess(SortField::kCreateTime)) {}

void MemoryIndex::Load(const Changes& loaded, int64_t volume_revision) {
  MutexLock lock(&mutex_);
  volumes_.reserve(loaded.volumes.size());
  snapshots_.reserve(loaded.snapshots.size());
  // The two kinds have nothing in common but the mutex, which is held until both are done.
  std::thread snapshots([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    snapshots_.insert(loaded.snapshots.begin(), loaded.snapshots.end());
    snapshot_orders_.Fill(loaded.snapshots);
    for (const SnapshotPtr* snapshot : SortedBy(loaded.snapshots, &SnapshotRecord::volume_id)) {
      snapshots_of_.insert(snapshots_of_.end(), *snapshot);
    }
  });
  volumes_.insert(loaded.volumes.begin(), loaded.volumes.end());
  volume_orders_.Fill(loaded.volumes);
  for (const VolumePtr& volume : loaded.volumes) AddToShare(*volume);
  for (const OperationPtr& operation : loaded.operations) SetOperation(operation->id, operation);
  for (const SharePtr& share : loaded.shares) SetShare(share->address, share);
  snapshots.join();
  revision_ = loaded.revision;
  changes_complete_after_ = volume_revision;
}

void MemoryIndex::Publish(const Changes& changes) {
  MutexLock lock(&mutex_);
  Apply(changes);
  for (const VolumePtr& volume : changes.volumes) {
    Remember({volume->revision, volume->id, volume});
  }
  for (const Changes::Removal& removal : changes.removed_volumes) {
    Remember({removal.revision, removal.id, nullptr});
  }
}

Changes MemoryIndex::Everything() const {
  MutexLock lock(&mutex_);
  Changes everything;
  // In an order that gives the next start few pages to look for.
  everything.volumes = {volume_orders_.by_create_time.begin(), volume_orders_.by_create_time.end()};
  everything.snapshots = {snapshot_orders_.by_create_time.begin(),
                          snapshot_orders_.by_create_time.end()};
  everything.operations = {operations_.begin(), operations_.end()};
  std::sort(everything.operations.begin(), everything.operations.end(),
            [](const OperationPtr& a, const OperationPtr& b) { return a->revision < b->revision; });
  for (const auto& [address, share] : shares_) everything.shares.push_back(share);
  everything.revision = revision_;
  return everything;
}

void MemoryIndex::Apply(const Changes& changes) {
  for (const VolumePtr& volume : changes.volumes) SetVolume(volume->id, volume);
  for (const SnapshotPtr& snapshot : changes.snapshots) SetSnapshot(snapshot->id, snapshot);
  for (const OperationPtr& operation : changes.operations) SetOperation(operation->id, operation);
  for (const SharePtr& share : changes.shares) SetShare(share->address, share);
  for (const Changes::Removal& removal : changes.removed_volumes) SetVolume(removal.id, nullptr);
  for (const Changes::Removal& removal : changes.removed_snapshots) {
    SetSnapshot(removal.id, nullptr);
  }
  for (const Changes::Removal& removal : changes.removed_operations) {
    SetOperation(removal.id, nullptr);
  }
  for (const Changes::Removal& removal : changes.removed_shares) SetShare(removal.id, nullptr);
  revision_ = changes.revision;
}

void MemoryIndex::SetVolume(const std::string& id, const VolumePtr& ptr) {
  VolumePtr old = Exchange(volumes_, id, ptr);
  if (old != nullptr) {
    volume_orders_.Erase(old);
    RemoveFromShare(*old);
  }
  if (ptr != nullptr) {
    volume_orders_.Insert(ptr);
    AddToShare(*ptr);
  }
}

void MemoryIndex::SetSnapshot(const std::string& id, const SnapshotPtr& ptr) {
  SnapshotPtr old = Exchange(snapshots_, id, ptr);
  if (old != nullptr) {
    snapshot_orders_.Erase(old);
    snapshots_of_.erase(old);
  }
  if (ptr != nullptr) {
    snapshot_orders_.Insert(ptr);
    snapshots_of_.insert(ptr);
  }
}

void MemoryIndex::SetOperation(const std::string& id, const OperationPtr& ptr) {
  OperationPtr old = Exchange(operations_, id, ptr);
  if (old != nullptr) {
    unfinished_.erase(old);
    if (FindIn(by_request_, old->request_id) == old) by_request_.erase(old->request_id);
  }
  if (ptr != nullptr) {
    if (!ptr->request_id.empty()) by_request_[ptr->request_id] = ptr;
    if (!Ended(ptr->state)) {
      unfinished_.insert(ptr);
    } else {
      ended_.push_back(ptr);
      if (ended_.size() > kEndedKept) ForgetOldest();
    }
  }
}

void MemoryIndex::SetShare(const std::string& address, const SharePtr& ptr) {
  if (ptr != nullptr) {
    shares_[address] = ptr;
  } else {
    shares_.erase(address);
  }
}

void MemoryIndex::ForgetEnded() {
  MutexLock lock(&mutex_);
  while (!ended_.empty()) ForgetOldest();
}

void MemoryIndex::ForgetOldest() {
  const OperationPtr oldest = std::move(ended_.front());
  ended_.pop_front();
  if (FindIn(operations_, oldest->id) != oldest) return;  // replaced or removed since
  operations_.erase(oldest);
  if (FindIn(by_request_, oldest->request_id) == oldest) by_request_.erase(oldest->request_id);
}

void MemoryIndex::AddToShare(const VolumeRecord& volume) {
  OnShare& share = on_share_[volume.share];
  share.volumes.insert(&volume);
  share.by_state[volume.state] += 1;
  share.provisioned_bytes += volume.size_bytes;
  share.file_bytes += volume.file_bytes;
}

void MemoryIndex::RemoveFromShare(const VolumeRecord& volume) {
  auto it = on_share_.find(volume.share);
  OnShare& share = it->second;
  share.volumes.erase(&volume);
  if (share.volumes.empty()) {
    on_share_.erase(it);
    return;
  }
  if (--share.by_state[volume.state] == 0) share.by_state.erase(volume.state);
  share.provisioned_bytes -= volume.size_bytes;
  share.file_bytes -= volume.file_bytes;
}

void MemoryIndex::Remember(VolumeChange change) {
  changes_.push_back(std::move(change));
  while (changes_.size() > changes_kept_) {
    changes_complete_after_ = changes_.front().revision;
    changes_.pop_front();
  }
}

VolumePtr MemoryIndex::FindVolume(const std::string& id) const {
  MutexLock lock(&mutex_);
  return FindIn(volumes_, id);
}

SnapshotPtr MemoryIndex::FindSnapshot(const std::string& id) const {
  MutexLock lock(&mutex_);
  return FindIn(snapshots_, id);
}

OperationPtr MemoryIndex::FindOperation(const std::string& id) const {
  MutexLock lock(&mutex_);
  return FindIn(operations_, id);
}

OperationPtr MemoryIndex::FindOperationByRequest(const std::string& request_id) const {
  MutexLock lock(&mutex_);
  return FindIn(by_request_, request_id);
}

SharePtr MemoryIndex::FindShare(const std::string& address) const {
  MutexLock lock(&mutex_);
  auto it = shares_.find(address);
  return it == shares_.end() ? nullptr : it->second;
}

std::vector<SharePtr> MemoryIndex::Shares() const {
  MutexLock lock(&mutex_);
  std::vector<SharePtr> shares;
  for (const auto& [address, share] : shares_) shares.push_back(share);
  return shares;
}

std::vector<SnapshotPtr> MemoryIndex::SnapshotsOf(const std::string& volume_id) const {
  MutexLock lock(&mutex_);
  return OfVolume(volume_id);
}

std::vector<SnapshotPtr> MemoryIndex::OfVolume(std::string_view volume_id) const {
  return {snapshots_of_.lower_bound(volume_id), snapshots_of_.upper_bound(volume_id)};
}

std::vector<OperationPtr> MemoryIndex::UnfinishedOperations() const {
  MutexLock lock(&mutex_);
  return {unfinished_.begin(), unfinished_.end()};
}

Catalog::ShareTotals MemoryIndex::TotalsOf(const std::string& share) const {
  MutexLock lock(&mutex_);
  Catalog::ShareTotals totals;
  auto it = on_share_.find(share);
  if (it == on_share_.end()) return totals;
  totals.volumes = static_cast<int64_t>(it->second.volumes.size());
  totals.provisioned_bytes = Clamp(it->second.provisioned_bytes);
  totals.file_bytes = Clamp(it->second.file_bytes);
  totals.by_state = it->second.by_state;
  return totals;
}

std::vector<std::string> MemoryIndex::VolumesOn(const std::string& share) const {
  MutexLock lock(&mutex_);
  auto it = on_share_.find(share);
  if (it == on_share_.end()) return {};
  std::vector<std::string> ids;
  ids.reserve(it->second.volumes.size());
  for (const VolumeRecord* volume : it->second.volumes) ids.push_back(volume->id);
  return ids;
}

int64_t MemoryIndex::revision() const {
  MutexLock lock(&mutex_);
  return revision_;
}

absl::StatusOr<std::vector<VolumeChange>> MemoryIndex::ChangesAfter(int64_t revision,
                                                                    int count_max) const {
  MutexLock lock(&mutex_);
  if (revision < changes_complete_after_) {
    return Error(
        Reason::kWatchRevisionTooOld,
        fmt::format("changes after revision {} are no longer kept (the oldest is {}): list "
                    "the volumes again",
                    revision, changes_complete_after_),
        {{"revision", std::to_string(revision)},
         {"oldest", std::to_string(changes_complete_after_)}});
  }
  if (revision > revision_) {
    // From another catalog, or from before this one was put back to an older state: what the
    // watcher has seen since then cannot be told.
    return Error(Reason::kWatchRevisionTooOld,
                 fmt::format("revision {} was never given out (the newest is {}): list the volumes "
                             "again",
                             revision, revision_),
                 {{"revision", std::to_string(revision)}, {"newest", std::to_string(revision_)}});
  }
  auto begin = std::upper_bound(
      changes_.begin(), changes_.end(), revision,
      [](int64_t wanted, const VolumeChange& change) { return wanted < change.revision; });
  auto count = std::min<std::ptrdiff_t>(std::max(count_max, 0), changes_.end() - begin);
  return std::vector<VolumeChange>(begin, begin + count);
}

std::vector<VolumePtr> MemoryIndex::VolumesAfter(SortOrder order, const Position* after,
                                                 size_t count) const {
  MutexLock lock(&mutex_);
  return Walk(volume_orders_.Of(order.field), order.descending, after, count);
}

std::vector<SnapshotPtr> MemoryIndex::SnapshotsAfter(const std::string& volume_id, SortOrder order,
                                                     const Position* after, size_t count) const {
  MutexLock lock(&mutex_);
  if (!volume_id.empty()) {
    std::vector<SnapshotPtr> records = OfVolume(volume_id);
    return Walk(&records, order, after, count);
  }
  return Walk(snapshot_orders_.Of(order.field), order.descending, after, count);
}

std::vector<OperationPtr> MemoryIndex::UnfinishedAfter(SortOrder order, const Position* after,
                                                       size_t count) const {
  MutexLock lock(&mutex_);
  return Walk(unfinished_, order.descending, after, count);
}

}  // namespace cairn
