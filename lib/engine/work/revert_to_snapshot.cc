// RevertToSnapshot: the volume's content becomes the snapshot's. The volume keeps its size.
#include <fmt/format.h>

#include <algorithm>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

class RevertToSnapshot : public WorkOn<RevertToSnapshotRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().snapshot_id, ParseId("snapshot_id", r().snapshot_id));
    ASSIGN_OR_RETURN(SnapshotPtr snapshot, core_.Snapshot(r().snapshot_id));
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(snapshot->volume_id));
    RETURN_IF_ERROR(Check(*volume, *snapshot));
    Admission admission;
    admission.volume_id = volume->id;
    admission.target = snapshot->id;
    admission.locks.push_back({volume->id, true});
    return admission;
  }

  std::string HomeShare() const override {
    auto found = Find();
    return found.ok() ? found->first->share : "";
  }

  bool PlansAtOnce() const override { return true; }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(auto found, Find());
    const auto& [volume, snapshot] = found;
    if (snapshot->state != SnapshotState::kAvailable) return WrongState(*snapshot, "revert to");
    RETURN_IF_ERROR(Check(*volume, *snapshot));
    ASSIGN_OR_RETURN(ChainView view, core_.ReadView(*volume, Core::Use::kNoWriter));
    const int position = IndexOf(view.chain, snapshot->layer);
    if (position < 1) {
      return Error(Reason::kChainCorrupt,
                   fmt::format("{} is not a layer of the chain", snapshot->layer),
                   {{"volume", volume->id}, {"snapshot", snapshot->id}});
    }
    // Its layer is emptied, and those above are removed.
    std::vector<std::string> files = FilesOf(view.chain);
    files.erase(files.begin(), files.begin() + position);
    for (size_t i = static_cast<size_t>(position); i < view.chain.size(); ++i) {
      RETURN_IF_ERROR(CheckNoInternalSnapshots(volume->id, view.chain[i]));
    }
    RETURN_IF_ERROR(core_.CheckNoneStandsOn(*volume, files));
    return PlanRevert(view, snapshot->id, Newer(*volume, *snapshot), operation_id_);
  }

  void Began(Transaction& records) override {
    if (auto found = Find(); found.ok()) {
      Enter(found->first->id, VolumeState::kReverting, records);
    }
  }

  void Crossed(const Plan&, Transaction& records) override {
    auto found = Find();
    if (!found.ok()) return;
    for (const std::string& id : Newer(*found->first, *found->second)) {
      ChangeSnapshot(id, records, [](SnapshotRecord& s) { s.state = SnapshotState::kDeleting; });
    }
  }

  void Succeeded(const Plan&, Transaction& records) override {
    auto found = Find();
    if (!found.ok()) return;
    const auto& [volume, snapshot] = *found;
    records.remove_snapshots = Newer(*volume, *snapshot);
    const std::string& layer = snapshot->layer;
    ChangeVolume(volume->id, records, [&](VolumeRecord& v) {
      auto end = std::find(v.chain.begin(), v.chain.end(), layer);
      if (end != v.chain.end()) v.chain.erase(end + 1, v.chain.end());
      v.active_file = layer;
      Settle(v);
      core_.Measure(v);
    });
  }

  void Failed(const absl::Status&, Transaction& records) override {
    auto found = Find();
    if (!found.ok()) return;
    ChangeVolume(found->first->id, records, [&](VolumeRecord& v) {
      if (v.state == VolumeState::kReverting) Settle(v);
    });
  }

  void Abandoned(const absl::Status& error, Transaction& records) override {
    auto found = Find();
    if (!found.ok()) return;
    ChangeVolume(found->first->id, records,
                 [&](VolumeRecord& v) { Disable(v, "its revert", error); });
  }

 private:
  absl::StatusOr<std::pair<VolumePtr, SnapshotPtr>> Find() const {
    ASSIGN_OR_RETURN(SnapshotPtr snapshot, core_.Snapshot(r().snapshot_id));
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(snapshot->volume_id));
    return std::make_pair(std::move(volume), std::move(snapshot));
  }

  // The snapshots whose layers lie above this one's, oldest first.
  std::vector<std::string> Newer(const VolumeRecord& volume, const SnapshotRecord& snapshot) const {
    const auto place = [&](const std::string& layer) {
      return std::find(volume.chain.begin(), volume.chain.end(), layer);
    };
    std::vector<std::string> newer;
    for (const SnapshotPtr& other : core_.catalog().SnapshotsOf(volume.id)) {
      if (other->state == SnapshotState::kCreating) continue;  // waits behind this in the queue
      if (place(other->layer) > place(snapshot.layer)) newer.push_back(other->id);
    }
    return newer;
  }

  absl::Status Check(const VolumeRecord& volume, const SnapshotRecord& snapshot) const {
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "revert");
    }
    if (!volume.attachments.empty()) return InUse(volume, "revert");
    if (snapshot.state == SnapshotState::kError || snapshot.state == SnapshotState::kDeleting) {
      return WrongState(snapshot, "revert to");
    }
    auto newer = Newer(volume, snapshot);
    if (newer.empty() || r().discard_newer || snapshot.state == SnapshotState::kCreating) {
      return absl::OkStatus();
    }
    return Error(Reason::kSnapshotNotNewest,
                 fmt::format("snapshot {} is not the newest: {} newer one(s) would be lost, say "
                             "discard_newer to accept that",
                             snapshot.id, newer.size()),
                 {{"snapshot", snapshot.id}, {"volume", volume.id}, {"newer", newer.back()}});
  }
};

}  // namespace

std::unique_ptr<Work> MakeRevertToSnapshot(Core& core, RevertToSnapshotRequest request,
                                           const std::string& operation_id) {
  return std::make_unique<RevertToSnapshot>(core, std::move(request), operation_id);
}

}  // namespace cairn
