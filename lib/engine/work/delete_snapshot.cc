// DeleteSnapshot: its layer is merged into a neighbour; by the machine, if one has the volume open.
#include <fmt/format.h>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/chain/live_plans.h"
#include "lib/engine/machines.h"
#include "lib/engine/surplus_layers.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

class DeleteSnapshot : public WorkOn<DeleteSnapshotRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().snapshot_id, ParseId("snapshot_id", r().snapshot_id));
    Admission admission;
    admission.target = r().snapshot_id;
    SnapshotPtr snapshot = core_.catalog().FindSnapshot(r().snapshot_id);
    if (snapshot == nullptr && r().allow_missing) {
      admission.immediate = true;
      return admission;
    }
    ASSIGN_OR_RETURN(snapshot, core_.Snapshot(r().snapshot_id));
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(snapshot->volume_id));
    RETURN_IF_ERROR(Check(*volume).status());
    ASSIGN_OR_RETURN(Share * share, core_.ShareOf(*volume));
    RETURN_IF_ERROR(share->CheckUsable());
    admission.volume_id = volume->id;
    admission.locks.push_back({volume->id, true});
    return admission;
  }

  std::string HomeShare() const override {
    SnapshotPtr snapshot = core_.catalog().FindSnapshot(r().snapshot_id);
    return snapshot == nullptr ? std::string() : ShareOf(snapshot->volume_id);
  }

  bool PlansAtOnce() const override { return true; }

  absl::StatusOr<Plan> MakePlan() override {
    SnapshotPtr snapshot = core_.catalog().FindSnapshot(r().snapshot_id);
    if (snapshot == nullptr && r().allow_missing) return Plan{};  // one ahead in the queue did it
    ASSIGN_OR_RETURN(snapshot, core_.Snapshot(r().snapshot_id));
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(snapshot->volume_id));
    ASSIGN_OR_RETURN(std::optional<Attachment> machine, Check(*volume));
    ASSIGN_OR_RETURN(
        ChainView view,
        core_.ReadView(*volume, machine.has_value() ? Core::Use::kAny : Core::Use::kNoWriter));
    const int position = IndexOf(view.chain, snapshot->layer);
    if (position == 0) {
      return Error(
          Reason::kChainCorrupt,
          fmt::format("{} is the base of its chain, not the layer of a snapshot", snapshot->layer),
          {{"volume", volume->id}, {"snapshot", snapshot->id}});
    }
    if (position > 0) {
      RETURN_IF_ERROR(CheckMerges(core_, *volume, view,
                                  SurplusRuns(core_.catalog(), view, snapshot->id),
                                  {.operation_id = operation_id_, .in_use = machine.has_value()}));
    }
    if (position < 0 || !machine.has_value()) {
      return PlanDeleteSnapshot(view, snapshot->id, volume->format);
    }
    return PlanDeleteSnapshotInUse(
        view, snapshot->id, machine->id, LayerFileName(volume->id, operation_id_),
        MayStream(*volume, *machine, view), volume->format == VolumeFormat::kRawThick);
  }

  void Began(Transaction& records) override {
    SnapshotPtr snapshot = core_.catalog().FindSnapshot(r().snapshot_id);
    if (snapshot == nullptr) return;
    ChangeVolume(snapshot->volume_id, records,
                 [&](VolumeRecord& v) { v.current_operation = operation_id_; });
  }

  void Crossed(const Plan&, Transaction& records) override {
    ChangeSnapshot(r().snapshot_id, records,
                   [](SnapshotRecord& s) { s.state = SnapshotState::kDeleting; });
  }

  void Succeeded(const Plan& plan, Transaction& records) override {
    SnapshotPtr gone = core_.catalog().FindSnapshot(r().snapshot_id);
    if (gone == nullptr) return;
    records.remove_snapshots.push_back(gone->id);
    ChangeVolume(gone->volume_id, records, [&](VolumeRecord& v) {
      Settle(v);
      TakeOutRemoved(plan, v, records);
      core_.Measure(v);
    });
  }

  void Failed(const absl::Status&, Transaction& records) override {
    ChangeSnapshot(r().snapshot_id, records, [](SnapshotRecord& s) {
      if (s.state != SnapshotState::kDeleting) return;
      // An earlier deletion that was abandoned has left its reason.
      s.state = s.state_reason.empty() ? SnapshotState::kAvailable : SnapshotState::kError;
    });
    LeaveVolume(records);
  }

  void Abandoned(const absl::Status& error, Transaction& records) override {
    ChangeSnapshot(r().snapshot_id, records, [&](SnapshotRecord& s) {
      s.state = SnapshotState::kError;
      s.state_reason = fmt::format(
          "its deletion was abandoned half-way, so it can no longer be restored; the volume is as "
          "it "
          "was. Delete it again: {}",
          Describe(error));
    });
    LeaveVolume(records);
  }

 private:
  void LeaveVolume(Transaction& records) const {
    SnapshotPtr snapshot = core_.catalog().FindSnapshot(r().snapshot_id);
    if (snapshot == nullptr) return;
    ChangeVolume(snapshot->volume_id, records, [&](VolumeRecord& v) {
      if (v.current_operation == operation_id_) v.current_operation.clear();
    });
  }

  static absl::StatusOr<std::optional<Attachment>> Check(const VolumeRecord& volume) {
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "delete a snapshot of");
    }
    return LiveUse(volume, "delete a snapshot of");
  }

  // libvirt ends a stream before what it moved is durable, and a machine that dies then is started
  // again without it. A base whose space is allocated is to stay, and so is a file with internal snapshots.
  static bool MayStream(const VolumeRecord& volume, const Attachment& machine,
                        const ChainView& view) {
    if (view.chain[view.chain.size() - 2].image.internal_snapshots > 0) return false;
    return machine.hypervisor.kind != HypervisorAddress::Kind::kLibvirt &&
           !(volume.format == VolumeFormat::kRawThick && volume.chain.size() == 2);
  }
};

}  // namespace

std::unique_ptr<Work> MakeDeleteSnapshot(Core& core, DeleteSnapshotRequest request,
                                         const std::string& operation_id) {
  return std::make_unique<DeleteSnapshot>(core, std::move(request), operation_id);
}

}  // namespace cairn
