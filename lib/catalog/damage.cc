#include "lib/catalog/damage.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/catalog/catalog.h"
#include "lib/catalog/record_json.h"

namespace cairn {
namespace {

const char* KindName(RecordKind kind) {
  switch (kind) {
    case RecordKind::kVolume:
      return "volume";
    case RecordKind::kSnapshot:
      return "snapshot";
    case RecordKind::kOperation:
      return "operation";
    case RecordKind::kShare:
      break;
  }
  return "share";
}

bool Mentions(const OperationRecord& operation, const std::string& id) {
  return operation.volume_id == id || operation.target == id ||
         operation.request.find(id) != std::string::npos ||
         operation.plan.find(id) != std::string::npos;
}

}  // namespace

void Damage::Add(const char* table, RecordKind kind, StoredRow row, const absl::Status& why) {
  spdlog::error("a record of the catalog cannot be read: {}", Describe(why));
  reasons_[{kind, row.id}] = ToStd(why.message());
  rows_.push_back({table, kind, std::move(row)});
}

void Damage::Stop(Changes* loaded) {
  const std::vector<Row> unreadable = rows_;  // more rows come with the volumes that are stopped
  for (const Row& each : unreadable) {
    const std::string why = fmt::format(
        "the record of {} {} in the catalog cannot be read ({}): nothing is done with this volume "
        "before a copy of the catalog was restored",
        KindName(each.kind), each.row.id, reasons_[{each.kind, each.row.id}]);
    if (each.kind == RecordKind::kVolume) {
      VolumeRecord volume;
      volume.id = each.row.id;
      volume.state = VolumeState::kError;
      volume.state_reason = why;
      volume.create_time = volume.update_time = absl::UnixEpoch();
      volume.revision = each.row.revision;
      stopped_[volume.id] = why;
      loaded->volumes.push_back(std::make_shared<const VolumeRecord>(std::move(volume)));
      continue;
    }
    const std::set<std::string> volumes = VolumesOf(each, *loaded);
    if (volumes.empty()) {
      spdlog::error("{} {}: of which volume it is cannot be told: compare each with its share",
                    KindName(each.kind), each.row.id);
    }
    for (const std::string& volume : volumes) StopVolume(volume, why, loaded);
  }
}

std::set<std::string> Damage::VolumesOf(const Row& row, const Changes& loaded) const {
  std::set<std::string> volumes;
  const bool operation = row.kind == RecordKind::kOperation;
  for (const VolumePtr& volume : loaded.volumes) {
    // What names a volume that is there does so by no accident.
    if ((operation && volume->current_operation == row.row.id) ||
        row.row.body.find(volume->id) != std::string::npos) {
      volumes.insert(volume->id);
    }
  }
  return volumes;
}

void Damage::StopVolume(const std::string& id, const std::string& why, Changes* loaded) {
  if (!stopped_.emplace(id, why).second) return;
  auto volume = std::find_if(loaded->volumes.begin(), loaded->volumes.end(),
                             [&](const VolumePtr& each) { return each->id == id; });
  StoredRow row{id, (*volume)->revision, RecordToJson(**volume)};
  row.checksum = ChecksumOf(row, RecordKind::kVolume);
  rows_.push_back({"volumes", RecordKind::kVolume, std::move(row)});
  VolumeRecord stopped = **volume;
  stopped.state = VolumeState::kError;
  stopped.state_reason = why;
  *volume = std::make_shared<const VolumeRecord>(std::move(stopped));
}

absl::Status Damage::CheckVolume(const std::string& id) const {
  auto it = stopped_.find(id);
  if (it == stopped_.end()) return absl::OkStatus();
  return Error(Reason::kVolumeState, fmt::format("volume {}: {}", id, it->second),
               {{"volume", id}, {"state", "ERROR"}});
}

absl::Status Damage::CheckKey(RecordKind kind, const std::string& key) const {
  auto it = reasons_.find({kind, key});
  if (it == reasons_.end()) return absl::OkStatus();
  return Error(Reason::kVolumeState,
               fmt::format("the record of {} {} in the catalog cannot be read ({})", KindName(kind),
                           key, it->second),
               {{KindName(kind), key}, {"state", "ERROR"}});
}

absl::Status Damage::Check(const Transaction& transaction) const {
  if (empty()) return absl::OkStatus();
  for (const VolumeRecord& volume : transaction.put_volumes) {
    RETURN_IF_ERROR(CheckVolume(volume.id));
  }
  for (const std::string& id : transaction.remove_volumes) RETURN_IF_ERROR(CheckVolume(id));
  for (const SnapshotRecord& snapshot : transaction.put_snapshots) {
    RETURN_IF_ERROR(CheckVolume(snapshot.volume_id));
    RETURN_IF_ERROR(CheckKey(RecordKind::kSnapshot, snapshot.id));
  }
  for (const std::string& id : transaction.remove_snapshots) {
    RETURN_IF_ERROR(CheckKey(RecordKind::kSnapshot, id));
  }
  for (const OperationRecord& operation : transaction.put_operations) {
    RETURN_IF_ERROR(CheckVolume(operation.volume_id));
    RETURN_IF_ERROR(CheckKey(RecordKind::kOperation, operation.id));
  }
  for (const std::string& id : transaction.remove_operations) {
    RETURN_IF_ERROR(CheckKey(RecordKind::kOperation, id));
  }
  return absl::OkStatus();
}

bool Damage::Holds(const OperationRecord& operation) const {
  return std::any_of(stopped_.begin(), stopped_.end(),
                     [&](const auto& volume) { return Mentions(operation, volume.first); });
}

}  // namespace cairn
