// ExtendVolume: the active file grows; snapshots keep the sizes they had.
#include <fmt/format.h>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
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
    RETURN_IF_ERROR(Check(*volume));
    Admission admission;
    admission.volume_id = admission.target = r().volume_id;
    admission.locks.push_back({r().volume_id, true});
    return admission;
  }

  std::string HomeShare() const override {
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    return volume == nullptr ? "" : volume->share;
  }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(Check(*volume));
    ASSIGN_OR_RETURN(ChainView view, core_.ReadView(*volume));
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(volume->pool));
    ASSIGN_OR_RETURN(Share * share, core_.ShareOf(*volume));
    const bool base_is_active = view.chain.size() == 1;
    const bool thick = base_is_active && volume->format == VolumeFormat::kRawThick;
    const int64_t added = r().size_bytes - volume->size_bytes;
    ASSIGN_OR_RETURN(reservation_, pool->Reserve(share, {.promised_bytes = added,
                                                         .physical_bytes = thick ? added : 0}));
    Plan plan;
    plan.steps = {GrowImageStep{volume->share, volume->active_file,
                                base_is_active ? volume->format : VolumeFormat::kQcow2,
                                r().size_bytes}};
    plan.no_return = plan.steps.size();
    plan.undo = {UngrowImageStep{volume->share, volume->active_file, view.active().image.format,
                                 volume->size_bytes}};
    return plan;
  }

  void Began(Transaction& records) override {
    Enter(r().volume_id, VolumeState::kExtending, records);
  }
  void Succeeded(Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      v.size_bytes = r().size_bytes;
      Settle(v);
      core_.Measure(v);
    });
  }
  void Failed(const absl::Status&, bool, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      if (v.state == VolumeState::kExtending) Settle(v);
    });
  }

 private:
  absl::Status Check(const VolumeRecord& volume) const {
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "extend");
    }
    if (!volume.attachments.empty()) return InUse(volume, "extend");
    if (r().size_bytes < volume.size_bytes) {
      return InvalidField(
          "size_bytes",
          fmt::format("is smaller than the volume's {}; a volume cannot shrink", volume.size_bytes),
          std::to_string(r().size_bytes));
    }
    return absl::OkStatus();
  }

  Reservation reservation_;
};

}  // namespace

std::unique_ptr<Work> MakeExtendVolume(Core& core, ExtendVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<ExtendVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
