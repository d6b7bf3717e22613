// MigrateVolume: every file to another share of the pool; the record follows, then the old files
// go. In use, the machine copies the active file and switches to the copy.
#include <fmt/format.h>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/chain/live_plans.h"
#include "lib/engine/machines.h"
#include "lib/engine/work.h"
#include "lib/engine/work/new_volume.h"

namespace cairn {
namespace {

class MigrateVolume : public WorkOn<MigrateVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(Check(*volume).status());
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(volume->pool));
    Admission admission;
    admission.volume_id = admission.target = volume->id;
    if (r().share == volume->share) {
      admission.immediate = true;  // it is there
      return admission;
    }
    if (!r().share.empty() && pool->FindShare(r().share) == nullptr) {
      return Error(Reason::kShareNotFound,
                   fmt::format("pool {} has no share {}", volume->pool, r().share.substr(0, 200)),
                   {{"pool", volume->pool}, {"share", r().share.substr(0, 200)}});
    }
    const bool thick = volume->format == VolumeFormat::kRawThick;
    ASSIGN_OR_RETURN(
        Pool::Choice choice,
        pool->Place({.promised_bytes = volume->file_bytes,
                     .physical_bytes = thick ? std::max(volume->size_bytes, volume->physical_bytes)
                                             : volume->physical_bytes},
                    r().share, /*avoid=*/volume->share));
    reservation_ = std::move(choice.reservation);
    r().share = choice.share->address();
    admission.locks.push_back({volume->id, true});
    return admission;
  }

  std::string HomeShare() const override { return r().share; }
  std::set<std::string> OtherShares() const override {
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    return volume == nullptr ? std::set<std::string>() : std::set{volume->share};
  }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    ASSIGN_OR_RETURN(std::optional<Attachment> machine, Check(*volume));
    if (volume->share == r().share) return Plan{};  // one ahead in the queue moved it there
    ASSIGN_OR_RETURN(
        ChainView view,
        core_.ReadView(*volume, machine.has_value() ? Core::Use::kAny : Core::Use::kNoWriter));
    RETURN_IF_ERROR(core_.CheckNoneStandsOn(*volume, volume->chain));
    VolumeRecord there = *volume;
    there.share = r().share;
    RETURN_IF_ERROR(CheckNamesFree(core_, there));
    if (machine.has_value()) {
      const bool by_consumer = machine->hypervisor.kind == HypervisorAddress::Kind::kAssisted;
      return PlanMigrateInUse(view, machine->id, by_consumer, r().share, volume->format);
    }
    return PlanMigrate(view, r().share, volume->format == VolumeFormat::kRawThick);
  }

  void Began(Transaction& records) override {
    Enter(r().volume_id, VolumeState::kMigrating, records);
  }
  void Crossed(const Plan& plan, Transaction& records) override {
    if (ChangesDisks(plan)) return;
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) { v.share = r().share; });
  }
  void Succeeded(const Plan&, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      Settle(v);
      core_.Measure(v);
    });
  }
  void Failed(const absl::Status&, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      if (v.state == VolumeState::kMigrating) Settle(v);
    });
  }
  // Files are left on the share that the record does not name. Of a volume in use only its machine knows
  // which share it writes to, until it has said that it has changed over.
  void Abandoned(const absl::Status& error, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      if (v.share == r().share || v.attachments.empty()) return Settle(v);
      Disable(v, "its move", error);
    });
  }

 private:
  static absl::StatusOr<std::optional<Attachment>> Check(const VolumeRecord& volume) {
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "move");
    }
    return LiveUse(volume, "move");
  }

  Reservation reservation_;
};

}  // namespace

std::unique_ptr<Work> MakeMigrateVolume(Core& core, MigrateVolumeRequest request,
                                        const std::string& operation_id) {
  return std::make_unique<MigrateVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
