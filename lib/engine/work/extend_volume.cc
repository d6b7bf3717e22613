// ExtendVolume: the active file grows; snapshots keep the sizes they had. In use, the machine grows it.
#include <fmt/format.h>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/chain/live_plans.h"
#include "lib/engine/machines.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

class ExtendVolume : public WorkOn<ExtendVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    RETURN_IF_ERROR(CheckVolumeSize("size_bytes", r().size_bytes));
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(Check(*volume).status());
    Admission admission;
    admission.volume_id = admission.target = r().volume_id;
    admission.locks.push_back({r().volume_id, true});
    return admission;
  }

  std::string HomeShare() const override { return ShareOf(r().volume_id); }

  bool PlansAtOnce() const override { return true; }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    ASSIGN_OR_RETURN(std::optional<Attachment> machine, Check(*volume));
    ASSIGN_OR_RETURN(
        ChainView view,
        core_.ReadView(*volume, machine.has_value() ? Core::Use::kAny : Core::Use::kNoWriter));
    RETURN_IF_ERROR(CheckOnlyName(volume->id, view.active()));
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(volume->pool));
    ASSIGN_OR_RETURN(Share * share, core_.ShareOf(*volume));
    const bool raw = view.active().image.format == FileFormat::kRaw;
    const VolumeFormat format = raw ? volume->format : VolumeFormat::kQcow2;
    const bool thick = format == VolumeFormat::kRawThick;
    const int64_t added = r().size_bytes - volume->size_bytes;
    ASSIGN_OR_RETURN(reservation_, pool->Reserve(share, {.promised_bytes = added,
                                                         .physical_bytes = thick ? added : 0}));
    if (machine.has_value() && added > 0) {
      return PlanExtendInUse(view, machine->id, r().size_bytes,
                             raw ? std::optional(format) : std::nullopt);
    }
    Plan plan;
    plan.steps = {GrowImageStep{volume->share, volume->active_file, format, r().size_bytes}};
    plan.no_return = plan.steps.size();
    plan.undo = {UngrowImageStep{volume->share, volume->active_file, view.active().image.format,
                                 volume->size_bytes}};
    return plan;
  }

  void Began(Transaction& records) override {
    Enter(r().volume_id, VolumeState::kExtending, records);
  }
  void Succeeded(const Plan&, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      v.size_bytes = r().size_bytes;
      Settle(v);
      core_.Measure(v);
    });
  }
  void Failed(const absl::Status&, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      if (v.state == VolumeState::kExtending) Settle(v);
    });
  }
  // Which of the two sizes its file has, nobody knows.
  void Abandoned(const absl::Status& error, Transaction& records) override {
    ChangeVolume(r().volume_id, records,
                 [&](VolumeRecord& v) { Disable(v, "its extension", error); });
  }

 private:
  absl::StatusOr<std::optional<Attachment>> Check(const VolumeRecord& volume) const {
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "extend");
    }
    if (r().size_bytes < volume.size_bytes) {
      return InvalidField(
          "size_bytes",
          fmt::format("is smaller than the volume's {}; a volume cannot shrink", volume.size_bytes),
          std::to_string(r().size_bytes));
    }
    return LiveUse(volume, "extend");
  }

  Reservation reservation_;
};

}  // namespace

std::unique_ptr<Work> MakeExtendVolume(Core& core, ExtendVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<ExtendVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
