// MergeLayers: what no snapshot needs of the chain of a volume that nobody uses is merged. Nobody has asked
// for it, so it does nothing that another operation could miss, and changes no state of the volume.
#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/engine/surplus_layers.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

class MergeLayers : public WorkOn<MergeLayersRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(Check(*volume));
    Admission admission;
    admission.volume_id = admission.target = volume->id;
    admission.locks.push_back({volume->id, true});
    return admission;
  }

  std::string HomeShare() const override { return ShareOf(r().volume_id); }

  bool PlansAtOnce() const override { return true; }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(Check(*volume));
    ASSIGN_OR_RETURN(ChainView view, core_.ReadView(*volume, Core::Use::kNoWriter));
    const std::vector<SurplusRun> runs = SurplusRuns(core_.catalog(), view);
    if (runs.empty()) return Plan{};  // what was ahead in the queue has merged them
    RETURN_IF_ERROR(
        CheckMerges(core_, *volume, view, runs, {.operation_id = operation_id_, .in_use = false}));
    return PlanMergeLayers(view, runs, volume->format, operation_id_);
  }

  void Began(Transaction& records) override {
    ChangeVolume(r().volume_id, records,
                 [&](VolumeRecord& v) { v.current_operation = operation_id_; });
  }

  void Succeeded(const Plan& plan, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      Settle(v);
      TakeOutRemoved(plan, v, records);
      core_.Measure(v);
    });
  }

  void Failed(const absl::Status&, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      if (v.current_operation == operation_id_) v.current_operation.clear();
    });
  }

  // The merged layers may be out of the map and of the headers, or not yet.
  void Abandoned(const absl::Status& error, Transaction& records) override {
    ChangeVolume(r().volume_id, records,
                 [&](VolumeRecord& v) { Disable(v, "the merge of its layers", error); });
  }

 private:
  static absl::Status Check(const VolumeRecord& volume) {
    if (!volume.attachments.empty()) return InUse(volume, "merge the layers of");
    if (volume.state == VolumeState::kAvailable) return absl::OkStatus();
    return WrongState(volume, "merge the layers of");
  }
};

}  // namespace

std::unique_ptr<Work> MakeMergeLayers(Core& core, MergeLayersRequest request,
                                      const std::string& operation_id) {
  return std::make_unique<MergeLayers>(core, std::move(request), operation_id);
}

}  // namespace cairn
