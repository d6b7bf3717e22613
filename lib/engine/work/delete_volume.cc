// DeleteVolume: every file of the chain, and the records.
#include <fmt/format.h>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/chain/info_map.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

class DeleteVolume : public WorkOn<DeleteVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    Admission admission;
    admission.volume_id = admission.target = r().volume_id;
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    if (volume == nullptr && r().allow_missing) {
      admission.immediate = true;
      return admission;
    }
    ASSIGN_OR_RETURN(volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(CheckFree(*volume));
    ASSIGN_OR_RETURN(Share * share, core_.ShareOf(*volume));
    RETURN_IF_ERROR(share->CheckUsable());
    admission.locks.push_back({r().volume_id, true});
    return admission;
  }

  std::string HomeShare() const override { return ShareOf(r().volume_id); }

  bool PlansAtOnce() const override { return true; }

  absl::StatusOr<Plan> MakePlan() override {
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    if (volume == nullptr && r().allow_missing) return Plan{};  // one ahead in the queue did it
    ASSIGN_OR_RETURN(volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(CheckFree(*volume));
    RETURN_IF_ERROR(core_.CheckNoWriter(*volume));
    RETURN_IF_ERROR(CheckRemovable(*volume));
    RETURN_IF_ERROR(core_.CheckNoneStandsOn(*volume, volume->chain));
    return PlanDeleteVolume(volume->share, volume->id, volume->chain);
  }

  void Began(Transaction& records) override {
    Enter(r().volume_id, VolumeState::kDeleting, records);
    for (const SnapshotPtr& snapshot : core_.catalog().SnapshotsOf(r().volume_id)) {
      ChangeSnapshot(snapshot->id, records,
                     [](SnapshotRecord& s) { s.state = SnapshotState::kDeleting; });
    }
  }

  void Succeeded(const Plan&, Transaction& records) override {
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    if (volume == nullptr) return;
    for (const SnapshotPtr& snapshot : core_.catalog().SnapshotsOf(volume->id)) {
      records.remove_snapshots.push_back(snapshot->id);
    }
    records.remove_volumes.push_back(volume->id);
  }

  void Failed(const absl::Status&, Transaction& records) override {
    // What was in ERROR before has kept its reason.
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      if (v.state != VolumeState::kDeleting) return;
      v.state = v.state_reason.empty() ? SettledState(v) : VolumeState::kError;
      if (v.current_operation == operation_id_) v.current_operation.clear();
    });
    for (const SnapshotPtr& snapshot : core_.catalog().SnapshotsOf(r().volume_id)) {
      ChangeSnapshot(snapshot->id, records, [](SnapshotRecord& s) {
        if (s.state != SnapshotState::kDeleting) return;
        s.state = s.state_reason.empty() ? SnapshotState::kAvailable : SnapshotState::kError;
      });
    }
  }

  void Abandoned(const absl::Status& error, Transaction& records) override {
    ChangeVolume(r().volume_id, records,
                 [&](VolumeRecord& v) { Disable(v, "its deletion", error); });
  }

 private:
  // A stranger's directory in the place of a file would stop the deletion half-way.
  absl::Status CheckRemovable(const VolumeRecord& volume) const {
    ASSIGN_OR_RETURN(const std::string directory, core_.DirectoryOf(volume.share));
    std::vector<std::string> files = volume.chain;
    files.push_back(InfoFileName(volume.id));
    for (const std::string& file : files) {
      const auto found = core_.files().Stat(directory + "/" + file);
      if (absl::IsNotFound(found.status())) continue;
      RETURN_IF_ERROR(found.status());
      if (!found->is_directory) continue;
      return Error(
          Reason::kImageUnsafe,
          fmt::format("{} on {} is a directory, which the server did not make; move it away", file,
                      volume.share),
          {{"volume", volume.id}, {"share", volume.share}, {"file", file}});
    }
    return absl::OkStatus();
  }

  absl::Status CheckFree(const VolumeRecord& volume) const {
    if (!volume.attachments.empty()) return InUse(volume, "delete");
    auto snapshots = core_.catalog().SnapshotsOf(volume.id);
    if (snapshots.empty() || r().cascade) return absl::OkStatus();
    std::string ids;
    constexpr size_t kShown = 10;
    for (size_t i = 0; i < snapshots.size() && i < kShown; ++i) {
      ids += (i == 0 ? "" : ",") + snapshots[i]->id;
    }
    return Error(Reason::kVolumeHasSnapshots,
                 fmt::format("volume {} has {} snapshot(s): delete them first, or say cascade",
                             volume.id, snapshots.size()),
                 {{"volume", volume.id}, {"snapshots", ids}});
  }
};

}  // namespace

std::unique_ptr<Work> MakeDeleteVolume(Core& core, DeleteVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<DeleteVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
