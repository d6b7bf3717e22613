// ImportVolume: a volume whose content comes in a stream. The file gets its name when all is there.
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/engine/fields.h"
#include "lib/engine/work.h"
#include "lib/engine/work/new_volume.h"

namespace cairn {
namespace {

class ImportVolume : public WorkOn<ImportVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, IdOrNew("volume_id", r().volume_id));
    RETURN_IF_ERROR(CheckText("name", r().name));
    RETURN_IF_ERROR(CheckLabels(r().labels));
    RETURN_IF_ERROR(CheckVolumeSize("size_bytes", r().size_bytes));
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(r().pool));
    r().pool = pool->options().name;
    AskedVolume asked{r().volume_id,  r().name,   r().pool,   r().share,
                      r().size_bytes, r().format, r().labels, {VolumeSource::Kind::kImport, ""}};
    ASSIGN_OR_RETURN(auto same, FindSameVolume(core_, asked));
    if (same.has_value()) return *std::move(same);
    ASSIGN_OR_RETURN(PlacedVolume placed,
                     PlaceVolume(core_, *pool, asked, r().size_bytes, operation_id_));
    reservation_ = std::move(placed.reservation);
    share_ = placed.record.share;
    Admission admission;
    admission.volume_id = admission.target = r().volume_id;
    admission.locks.push_back({r().volume_id, true});
    admission.records.put_volumes.push_back(std::move(placed.record));
    return admission;
  }

  std::string HomeShare() const override {
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    return volume == nullptr ? share_ : volume->share;
  }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(CheckNamesFree(core_, *volume));
    const std::string incoming = "." + volume->active_file + ".import";
    Plan plan;
    plan.steps = {MakeImageStep{.share = volume->share,
                                .file = incoming,
                                .format = volume->format,
                                .size_bytes = volume->size_bytes,
                                .backing_file = {}},
                  ReceiveContentStep{volume->share, incoming, volume->format},
                  RenameStep{volume->share, incoming, volume->active_file, /*replaces=*/false}};
    plan.no_return = plan.steps.size();
    plan.undo = {RemoveFilesStep{volume->share, {volume->active_file, incoming}}};
    return plan;
  }

  void Succeeded(const Plan&, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      Settle(v);
      core_.Measure(v);
    });
  }

  void Failed(const absl::Status&, Transaction& records) override {
    records.remove_volumes.push_back(r().volume_id);
  }

 private:
  std::string share_;
  Reservation reservation_;
};

}  // namespace

std::unique_ptr<Work> MakeImportVolume(Core& core, ImportVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<ImportVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
