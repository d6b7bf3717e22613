// UpdateVolume, UpdateSnapshot: name and labels. Nothing on the share changes, so nothing is waited
// for.
#include <fmt/format.h>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/engine/fields.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

template <typename R>
absl::Status CheckUpdate(const R& request, int64_t revision) {
  if (request.name.has_value()) RETURN_IF_ERROR(CheckText("name", *request.name));
  if (request.labels.has_value()) RETURN_IF_ERROR(CheckLabels(*request.labels));
  if (request.expected_revision != 0 && request.expected_revision != revision) {
    return Error(Reason::kRevisionMismatch,
                 fmt::format("expected_revision is {}, the record is at {}: read it again",
                             request.expected_revision, revision),
                 {{"expected", std::to_string(request.expected_revision)},
                  {"revision", std::to_string(revision)}});
  }
  return absl::OkStatus();
}

template <typename R, typename Record>
void Apply(const R& request, Record& record) {
  if (request.name.has_value()) record.name = *request.name;
  if (request.labels.has_value()) record.labels = *request.labels;
}

class UpdateVolume : public WorkOn<UpdateVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(CheckUpdate(r(), volume->revision));
    Admission admission;
    admission.volume_id = admission.target = volume->id;
    admission.immediate = true;
    VolumeRecord changed = *volume;
    Apply(r(), changed);
    changed.update_time = core_.clock().Now();
    admission.records.put_volumes.push_back(std::move(changed));
    return admission;
  }
  void Succeeded(const Plan&, Transaction&) override {}
};

class UpdateSnapshot : public WorkOn<UpdateSnapshotRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().snapshot_id, ParseId("snapshot_id", r().snapshot_id));
    ASSIGN_OR_RETURN(SnapshotPtr snapshot, core_.Snapshot(r().snapshot_id));
    RETURN_IF_ERROR(CheckUpdate(r(), snapshot->revision));
    Admission admission;
    admission.volume_id = snapshot->volume_id;
    admission.target = snapshot->id;
    admission.immediate = true;
    SnapshotRecord changed = *snapshot;
    Apply(r(), changed);
    changed.update_time = core_.clock().Now();
    admission.records.put_snapshots.push_back(std::move(changed));
    return admission;
  }
  void Succeeded(const Plan&, Transaction&) override {}
};

}  // namespace

std::unique_ptr<Work> MakeUpdateVolume(Core& core, UpdateVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<UpdateVolume>(core, std::move(request), operation_id);
}

std::unique_ptr<Work> MakeUpdateSnapshot(Core& core, UpdateSnapshotRequest request,
                                         const std::string& operation_id) {
  return std::make_unique<UpdateSnapshot>(core, std::move(request), operation_id);
}

}  // namespace cairn
