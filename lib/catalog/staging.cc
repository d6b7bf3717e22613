#include "lib/catalog/staging.h"

#include <fmt/format.h>

#include <memory>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lib/base/status.h"

namespace cairn {
namespace {

absl::Status Mismatch(std::string_view kind, const std::string& id, int64_t expected,
                      int64_t present) {
  auto text = [](int64_t revision) {
    return revision == 0 ? std::string("absent") : fmt::format("at revision {}", revision);
  };
  return Error(
      Reason::kRevisionMismatch,
      fmt::format("{} {} was expected {} but is {}", kind, id, text(expected), text(present)),
      {{std::string(kind), id},
       {"expected", std::to_string(expected)},
       {"present", std::to_string(present)}});
}

// Every id that a transaction names for one kind of record: present, and named once.
class Named {
 public:
  explicit Named(std::string_view kind) : kind_(kind) {}
  absl::Status Add(const std::string& id) {
    if (id.empty()) return InvalidField("id", fmt::format("a {} needs one", kind_));
    if (ids_.insert(id).second) return absl::OkStatus();
    return InvalidField("id", fmt::format("a transaction names this {} twice", kind_), id);
  }

 private:
  std::string_view kind_;
  std::unordered_set<std::string> ids_;
};

}  // namespace

absl::StatusOr<Changes> Staging::Stage(Transaction transaction) {
  RETURN_IF_ERROR(damage_->Check(transaction));
  RETURN_IF_ERROR(Check(transaction));
  RETURN_IF_ERROR(CheckRequestIds(transaction));
  Changes changes;
  for (auto [kind, ids, removals] :
       {std::tuple(Kind::kVolume, &transaction.remove_volumes, &changes.removed_volumes),
        std::tuple(Kind::kSnapshot, &transaction.remove_snapshots, &changes.removed_snapshots),
        std::tuple(Kind::kOperation, &transaction.remove_operations, &changes.removed_operations),
        std::tuple(Kind::kShare, &transaction.remove_shares, &changes.removed_shares)}) {
    ASSIGN_OR_RETURN(*removals, Present(kind, std::move(*ids)));
  }
  for (const OperationRecord& operation : transaction.put_operations) {
    if (!operation.request_id.empty()) requests_[operation.request_id] = operation.id;
  }
  changes.volumes = Put(Kind::kVolume, std::move(transaction.put_volumes), &changes);
  changes.snapshots = Put(Kind::kSnapshot, std::move(transaction.put_snapshots), &changes);
  changes.operations = Put(Kind::kOperation, std::move(transaction.put_operations), &changes);
  changes.shares = Put(Kind::kShare, std::move(transaction.put_shares), &changes);
  Remove(Kind::kVolume, &changes.removed_volumes, &changes);
  Remove(Kind::kSnapshot, &changes.removed_snapshots, &changes);
  Remove(Kind::kOperation, &changes.removed_operations, &changes);
  Remove(Kind::kShare, &changes.removed_shares, &changes);
  changes.revision = revision_;
  changes.may_be_durable_later = transaction.may_be_durable_later;
  return changes;
}

absl::Status Staging::Check(const Transaction& transaction) const {
  auto check = [this](Kind kind, std::string_view name, const auto& puts,
                      const auto& removals) -> absl::Status {
    Named named(name);
    for (const auto& record : puts) {
      RETURN_IF_ERROR(named.Add(KeyOf(record)));
      ASSIGN_OR_RETURN(int64_t present, RevisionOf(kind, KeyOf(record)));
      if (record.revision != present) {
        return Mismatch(name, KeyOf(record), record.revision, present);
      }
    }
    for (const std::string& id : removals) RETURN_IF_ERROR(named.Add(id));
    return absl::Status();
  };
  const Transaction& t = transaction;
  RETURN_IF_ERROR(check(Kind::kVolume, "volume", t.put_volumes, t.remove_volumes));
  RETURN_IF_ERROR(check(Kind::kSnapshot, "snapshot", t.put_snapshots, t.remove_snapshots));
  RETURN_IF_ERROR(check(Kind::kOperation, "operation", t.put_operations, t.remove_operations));
  return check(Kind::kShare, "share", t.put_shares, t.remove_shares);
}

// Two callers that repeat one request at the same moment must not both begin it.
absl::Status Staging::CheckRequestIds(const Transaction& transaction) const {
  std::unordered_set<std::string> own;
  for (const OperationRecord& operation : transaction.put_operations) {
    const std::string& request_id = operation.request_id;
    if (request_id.empty()) continue;
    std::string owner;
    if (auto staged = requests_.find(request_id); staged != requests_.end()) {
      owner = staged->second;
    } else {
      ASSIGN_OR_RETURN(OperationPtr published, operations_->FindByRequest(request_id));
      if (published != nullptr) owner = published->id;
    }
    bool taken = !owner.empty() && owner != operation.id;
    if (taken) {
      ASSIGN_OR_RETURN(int64_t present, RevisionOf(Kind::kOperation, owner));
      taken = present != 0;
    }
    if (taken || !own.insert(request_id).second) {
      return Error(Reason::kRevisionMismatch,
                   fmt::format("request_id {} already has operation {}", request_id, owner),
                   {{"request_id", request_id}, {"operation", owner}});
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Staging::RevisionOf(Kind kind, const std::string& id) const {
  const auto& staged = staged_[static_cast<size_t>(kind)];
  if (auto it = staged.find(id); it != staged.end()) return it->second;
  auto of = [](const auto& ptr) { return ptr == nullptr ? 0 : ptr->revision; };
  switch (kind) {
    case Kind::kVolume:
      return of(index_->FindVolume(id));
    case Kind::kSnapshot:
      return of(index_->FindSnapshot(id));
    case Kind::kShare:
      return of(index_->FindShare(id));
    case Kind::kOperation:
      break;
  }
  return operations_->RevisionOf(id);
}

template <typename Record>
std::vector<std::shared_ptr<const Record>> Staging::Put(Kind kind, std::vector<Record> records,
                                                        Changes* changes) {
  std::vector<std::shared_ptr<const Record>> staged;
  staged.reserve(records.size());
  for (Record& record : records) {
    const std::string& key = KeyOf(record);
    if (record.revision != 0) changes->digest -= DigestOf(kind, key, record.revision);
    record.revision = ++revision_;
    changes->digest += DigestOf(kind, key, record.revision);
    Staged(kind)[key] = record.revision;
    // A copy has no room to spare in its texts, and all that is kept for long is allocated on one
    // thread: the memory of the others stays free of it and goes back when they are done.
    staged.push_back(std::make_shared<const Record>(std::as_const(record)));
  }
  return staged;
}

absl::StatusOr<std::vector<Changes::Removal>> Staging::Present(Kind kind,
                                                               std::vector<std::string> ids) const {
  std::vector<Changes::Removal> present;
  for (std::string& id : ids) {
    ASSIGN_OR_RETURN(int64_t revision, RevisionOf(kind, id));
    if (revision != 0) present.push_back({std::move(id), 0, revision});
  }
  return present;
}

void Staging::Remove(Kind kind, std::vector<Changes::Removal>* removals, Changes* changes) {
  for (Changes::Removal& removal : *removals) {
    changes->digest -= DigestOf(kind, removal.id, removal.replaced);
    removal.revision = ++revision_;
    Staged(kind)[removal.id] = 0;
  }
}

}  // namespace cairn
