#include "lib/catalog/operations.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "lib/base/status.h"

namespace cairn {

// Memory first: the store was read before, so what it had at that moment is in memory since, or
// published, or both.
OperationPtr Operations::Seen(OperationPtr stored) const {
  if (stored == nullptr) return nullptr;
  if (OperationPtr known = index_->FindOperation(stored->id)) return known;
  return stored->revision <= index_->revision() ? std::move(stored) : nullptr;
}

absl::StatusOr<OperationPtr> Operations::Find(const std::string& id) const {
  if (OperationPtr known = index_->FindOperation(id)) return known;
  ASSIGN_OR_RETURN(OperationPtr stored, look_ups_->Find(id));
  return Seen(std::move(stored));
}

absl::StatusOr<OperationPtr> Operations::FindByRequest(const std::string& request_id) const {
  if (OperationPtr known = index_->FindOperationByRequest(request_id)) return known;
  ASSIGN_OR_RETURN(OperationPtr stored, look_ups_->FindByRequest(request_id));
  return Seen(std::move(stored));
}

absl::StatusOr<int64_t> Operations::RevisionOf(const std::string& id) const {
  if (OperationPtr known = index_->FindOperation(id)) return known->revision;
  ASSIGN_OR_RETURN(int64_t stored, look_ups_->RevisionOf(id));
  return stored <= index_->revision() ? stored : 0;
}

absl::StatusOr<std::vector<OperationPtr>> Operations::EndedAfter(
    const StoredOperations::Among& among, SortOrder order, const Position* after,
    size_t count) const {
  std::vector<OperationPtr> operations;
  std::optional<Position> place;
  if (after != nullptr) place = *after;
  // Those that are not there yet leave room for others: only the end of the store is the end.
  for (bool more = true; more && operations.size() < count;) {
    const size_t wanted = count - operations.size();
    ASSIGN_OR_RETURN(
        std::vector<OperationPtr> stored,
        lists_->After(among, order.descending, place.has_value() ? &*place : nullptr, wanted));
    more = stored.size() == wanted;
    if (more) {
      place.emplace();
      place->create_time = stored.back()->create_time;
      place->id = stored.back()->id;
    }
    for (OperationPtr& each : stored) {
      if (OperationPtr seen = Seen(std::move(each))) operations.push_back(std::move(seen));
    }
  }
  return operations;
}

// Memory first: what ends meanwhile is in the store by then, and not listed twice.
absl::StatusOr<std::vector<OperationPtr>> Operations::After(const StoredOperations::Among& among,
                                                            SortOrder order, const Position* after,
                                                            size_t count) const {
  const std::vector<OperationPtr> unfinished = index_->UnfinishedAfter(order, after, count);
  ASSIGN_OR_RETURN(const std::vector<OperationPtr> ended, EndedAfter(among, order, after, count));
  std::vector<OperationPtr> operations;
  const PositionLess less(order.field);
  std::set_union(ended.begin(), ended.end(), unfinished.begin(), unfinished.end(),
                 std::back_inserter(operations), [&](const OperationPtr& a, const OperationPtr& b) {
                   return order.descending ? less(b, a) : less(a, b);
                 });
  if (operations.size() > count) operations.resize(count);
  return operations;
}

}  // namespace cairn
