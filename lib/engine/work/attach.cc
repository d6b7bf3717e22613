// AttachVolume, DetachVolume: who uses the volume. One writer or many readers.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/engine/fields.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

class AttachVolume : public WorkOn<AttachVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    if (r().instance_id.empty()) return InvalidField("instance_id", "is required");
    RETURN_IF_ERROR(CheckText("instance_id", r().instance_id));
    RETURN_IF_ERROR(CheckText("host", r().host));
    RETURN_IF_ERROR(CheckHypervisor());
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    // The instance that has it already keeps its attachment: a retry, or a guest that moved.
    if (const Attachment* own = FindOwn(*volume); own != nullptr && r().attachment_id.empty()) {
      r().attachment_id = own->id;
    }
    ASSIGN_OR_RETURN(r().attachment_id, IdOrNew("attachment_id", r().attachment_id));
    RETURN_IF_ERROR(Check(*volume));
    Admission admission;
    admission.volume_id = volume->id;
    admission.target = r().attachment_id;
    // A machine that has moved is needed by the operation that works through it, so it must not wait
    // behind that. The files were checked when it was attached first.
    if (FindOwn(*volume) != nullptr && !volume->current_operation.empty()) {
      admission.immediate = true;
      Put(admission.records);
      return admission;
    }
    admission.locks.push_back({volume->id, true});
    return admission;
  }

  std::string HomeShare() const override { return ShareOf(r().volume_id); }

  bool PlansAtOnce() const override { return true; }

  // The consumer is told nothing that the files do not bear out.
  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(Check(*volume));
    RETURN_IF_ERROR(core_.ReadView(*volume).status());
    return Plan{};
  }

  void Succeeded(const Plan&, Transaction& records) override { Put(records); }

 private:
  void Put(Transaction& records) const {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      Attachment attachment{.id = r().attachment_id,
                            .volume_id = v.id,
                            .instance_id = r().instance_id,
                            .host = r().host,
                            .access = r().access,
                            .hypervisor = r().hypervisor,
                            .create_time = core_.clock().Now()};
      auto it = std::find_if(v.attachments.begin(), v.attachments.end(),
                             [&](const Attachment& a) { return a.id == r().attachment_id; });
      if (it == v.attachments.end()) {
        v.attachments.push_back(std::move(attachment));
      } else {
        attachment.create_time = it->create_time;
        *it = std::move(attachment);
      }
      if (v.current_operation.empty() || v.current_operation == operation_id_) Settle(v);
    });
  }

  absl::Status CheckHypervisor() const {
    const HypervisorAddress& h = r().hypervisor;
    RETURN_IF_ERROR(CheckText("hypervisor.address", h.address, 1024));
    RETURN_IF_ERROR(CheckText("hypervisor.domain", h.domain));
    RETURN_IF_ERROR(CheckText("hypervisor.disk", h.disk));
    return CheckHypervisorAddress(h);
  }

  const Attachment* FindOwn(const VolumeRecord& volume) const {
    for (const Attachment& a : volume.attachments) {
      if (a.instance_id == r().instance_id) return &a;
    }
    return nullptr;
  }

  absl::Status Check(const VolumeRecord& volume) const {
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "attach");
    }
    for (const Attachment& a : volume.attachments) {
      const bool own = a.instance_id == r().instance_id;
      if (own && a.id == r().attachment_id) continue;
      const bool same_id = a.id == r().attachment_id;
      if (own || same_id || a.access == AccessMode::kReadWrite ||
          r().access == AccessMode::kReadWrite) {
        return InUse(volume,
                     r().access == AccessMode::kReadWrite ? "attach for writing" : "attach");
      }
    }
    return absl::OkStatus();
  }
};

class DetachVolume : public WorkOn<DetachVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    RETURN_IF_ERROR(CheckText("reason", r().reason));
    if (r().force && r().reason.empty()) {
      return InvalidField("reason", "is required with force: it is logged");
    }
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    if (!r().attachment_id.empty()) {
      ASSIGN_OR_RETURN(r().attachment_id, ParseId("attachment_id", r().attachment_id));
    } else if (volume->attachments.size() == 1) {
      r().attachment_id = volume->attachments[0].id;
    } else if (volume->attachments.size() > 1) {
      return InvalidField("attachment_id", "is required: the volume has several attachments");
    }
    const bool found = std::any_of(volume->attachments.begin(), volume->attachments.end(),
                                   [&](const Attachment& a) { return a.id == r().attachment_id; });
    if (!found) {
      return Error(Reason::kAttachmentNotFound,
                   fmt::format("volume {} has no attachment {}", volume->id, r().attachment_id),
                   {{"volume", volume->id}, {"attachment", r().attachment_id}});
    }
    // It waits for nothing: an operation that works through this attachment may wait for its end.
    Admission admission;
    admission.volume_id = volume->id;
    admission.target = r().attachment_id;
    if (!r().force) return admission;
    spdlog::warn("operation={} volume={} attachment={} detached by force: {}", operation_id_,
                 r().volume_id, r().attachment_id, r().reason);
    admission.immediate = true;
    Remove(admission.records);
    return admission;
  }

  absl::StatusOr<Plan> MakePlan() override {
    Plan plan;
    plan.steps = {CheckClosedStep{"", r().volume_id, r().attachment_id}};
    plan.no_return = plan.steps.size();
    return plan;
  }

  void Succeeded(const Plan&, Transaction& records) override { Remove(records); }

 private:
  void Remove(Transaction& records) const {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      std::erase_if(v.attachments, [&](const Attachment& a) { return a.id == r().attachment_id; });
      if (v.state == VolumeState::kInUse) Settle(v);
    });
  }
};

}  // namespace

std::unique_ptr<Work> MakeAttachVolume(Core& core, AttachVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<AttachVolume>(core, std::move(request), operation_id);
}

std::unique_ptr<Work> MakeDetachVolume(Core& core, DetachVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<DetachVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
