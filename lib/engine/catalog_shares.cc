#include "lib/engine/catalog_shares.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "lib/base/status.h"

namespace cairn {

std::string CatalogShares::IdentityOf(const std::string& address) const {
  const SharePtr share = catalog_->FindShare(address);
  return share == nullptr ? "" : share->identity;
}

absl::Status CatalogShares::CheckFree(const std::string& address,
                                      const std::string& identity) const {
  for (const SharePtr& share : catalog_->Shares()) {
    if (share->identity != identity || share->address == address || !listed_(share->address)) {
      continue;
    }
    return Error(
        Reason::kShareOwned,
        fmt::format("it is the same directory as the share {} of this server, or a copy of it (its "
                    "identity is {}): list it once, or remove .cairn/identity from the copy",
                    share->address, identity),
        {{"share", address}, {"also", share->address}});
  }
  return absl::OkStatus();
}

absl::Status CatalogShares::Record(const std::string& address, const std::string& identity) {
  MutexLock one(&record_mutex_);
  // A probe that was under way when the share went: it is to stay forgotten.
  if (!listed_(address)) {
    return Error(Reason::kShareNotFound, "it is no longer listed", {{"share", address}});
  }
  RETURN_IF_ERROR(CheckFree(address, identity));
  Transaction records;
  ShareRecord record;
  if (const SharePtr present = catalog_->FindShare(address); present != nullptr) record = *present;
  record.address = address;
  record.identity = identity;
  record.update_time = clock_->Now();
  if (record.revision == 0) record.create_time = record.update_time;
  records.put_shares.push_back(std::move(record));
  // One that is no longer listed has gone over to this address.
  for (const SharePtr& share : catalog_->Shares()) {
    if (share->identity == identity && share->address != address) {
      records.remove_shares.push_back(share->address);
    }
  }
  return catalog_->CommitAndWait(std::move(records));
}

void CatalogShares::Forget(const std::string& address) {
  MutexLock one(&record_mutex_);
  if (catalog_->FindShare(address) == nullptr) return;
  Transaction records;
  records.remove_shares.push_back(address);
  if (absl::Status status = catalog_->CommitAndWait(std::move(records)); !status.ok()) {
    spdlog::warn("share={} its identity stays recorded: {}", address, Describe(status));
  }
}

std::vector<std::string> CatalogShares::FilesOn(const std::string& address) const {
  std::vector<std::string> files;
  for (const std::string& id : catalog_->VolumesOn(address)) {
    const VolumePtr volume = catalog_->FindVolume(id);
    if (volume == nullptr || !volume->current_operation.empty()) continue;
    files.insert(files.end(), volume->chain.begin(), volume->chain.end());
  }
  return files;
}

RevisionMark CatalogShares::MarkOf(const std::string& address) const {
  return {.catalog = catalog_->id(),
          .revision = std::min(LastChange(address), catalog_->durable_revision())};
}

absl::Status CatalogShares::CheckMark(const std::string& identity, const RevisionMark& mark) const {
  if (mark.catalog != catalog_->id()) return absl::OkStatus();
  int64_t known = catalog_->loaded_revision();
  {
    MutexLock lock(&mutex_);
    if (auto left = left_.find(identity); left != left_.end()) {
      known = std::max(known, left->second);
    }
  }
  if (mark.revision <= known) return absl::OkStatus();
  return Error(
      Reason::kCatalogOlder,
      fmt::format("it has seen revision {} of the catalog, which was at {} when the server "
                  "started",
                  mark.revision, catalog_->loaded_revision()));
}

void CatalogShares::Leaves(const std::string& identity, const RevisionMark& mark) {
  MutexLock lock(&mutex_);
  int64_t& left = left_[identity];
  left = std::max(left, mark.revision);
}

void CatalogShares::Changed(const std::string& address, int64_t revision) {
  MutexLock lock(&mutex_);
  // What is not counted yet will be counted with this.
  auto last = last_change_.find(address);
  if (last != last_change_.end()) last->second = std::max(last->second, revision);
}

int64_t CatalogShares::LastChange(const std::string& address) const {
  MutexLock lock(&mutex_);
  auto [last, added] = last_change_.try_emplace(address, 0);
  if (!added) return last->second;
  for (const std::string& id : catalog_->VolumesOn(address)) {
    if (const VolumePtr volume = catalog_->FindVolume(id); volume != nullptr) {
      last->second = std::max(last->second, volume->revision);
    }
  }
  return last->second;
}

}  // namespace cairn
