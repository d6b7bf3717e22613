// CreateSnapshot, of a volume that nobody has open.
#include <fmt/format.h>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/engine/fields.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

// A guest's read may go through every layer, and qemu opens them all.
constexpr size_t kChainLengthMax = 256;

class CreateSnapshot : public WorkOn<CreateSnapshotRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    ASSIGN_OR_RETURN(r().snapshot_id, IdOrNew("snapshot_id", r().snapshot_id));
    if (!r().group_id.empty()) {
      ASSIGN_OR_RETURN(r().group_id, ParseId("group_id", r().group_id));
    }
    RETURN_IF_ERROR(CheckText("name", r().name));
    RETURN_IF_ERROR(CheckLabels(r().labels));
    Admission admission;
    admission.volume_id = r().volume_id;
    admission.target = r().snapshot_id;
    if (SnapshotPtr same = core_.catalog().FindSnapshot(r().snapshot_id); same != nullptr) {
      RETURN_IF_ERROR(CheckSame(*same));
      admission.immediate = true;
      admission.same_operation = same->created_by;
      return admission;
    }
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(Check(*volume));
    admission.locks.push_back({r().volume_id, true});
    SnapshotRecord record;
    record.id = r().snapshot_id;
    record.volume_id = r().volume_id;
    record.name = r().name;
    record.labels = r().labels;
    record.state = SnapshotState::kCreating;
    record.size_bytes = volume->size_bytes;
    record.layer = LayerFileName(r().volume_id, r().snapshot_id);
    record.group_id = r().group_id;
    record.created_by = operation_id_;
    record.create_time = record.update_time = core_.clock().Now();
    admission.records.put_snapshots.push_back(std::move(record));
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
    ASSIGN_OR_RETURN(std::string directory, core_.DirectoryOf(volume->share));
    const std::string layer = LayerFileName(volume->id, r().snapshot_id);
    if (core_.files().Stat(directory + "/" + layer).ok()) {
      return Error(Reason::kFileExists,
                   fmt::format("{} is on {} already, and the catalog does not know it", layer,
                               volume->share),
                   {{"volume", volume->id}, {"file", layer}, {"share", volume->share}});
    }
    return PlanCreateSnapshot(view, r().snapshot_id);
  }

  void Began(Transaction& records) override {
    ChangeVolume(r().volume_id, records,
                 [&](VolumeRecord& v) { v.current_operation = operation_id_; });
  }

  void Succeeded(Transaction& records) override {
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    if (volume == nullptr) return;
    ChangeSnapshot(r().snapshot_id, records, [&](SnapshotRecord& s) {
      s.state = SnapshotState::kAvailable;
      s.size_bytes = volume->size_bytes;
      s.file = volume->active_file;
      // It may have waited in the queue: the instant is now, and chain order and time order agree.
      s.create_time = core_.clock().Now();
    });
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      v.active_file = LayerFileName(v.id, r().snapshot_id);
      v.chain.push_back(v.active_file);
      Settle(v);
      core_.Measure(v);
    });
  }

  void Failed(const absl::Status&, bool, Transaction& records) override {
    records.remove_snapshots.push_back(r().snapshot_id);
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      if (v.current_operation == operation_id_) v.current_operation.clear();
    });
  }

 private:
  absl::Status CheckSame(const SnapshotRecord& same) const {
    const char* difference = same.volume_id != r().volume_id ? "volume_id"
                             : same.name != r().name         ? "name"
                             : same.labels != r().labels     ? "labels"
                                                             : nullptr;
    if (difference == nullptr) return absl::OkStatus();
    return Error(Reason::kSnapshotExists,
                 fmt::format("snapshot {} exists already with another {}", same.id, difference),
                 {{"snapshot", same.id}, {"field", difference}});
  }

  absl::Status Check(const VolumeRecord& volume) const {
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(volume.pool));
    if (!pool->options().nfs_snapshot_support) {
      return Error(Reason::kSnapshotsDisabled,
                   fmt::format("pool {} has nfs_snapshot_support: false", volume.pool),
                   {{"pool", volume.pool}});
    }
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "snapshot");
    }
    for (const Attachment& attachment : volume.attachments) {
      // A reader would go on reading what is frozen now: that does no harm.
      if (attachment.access == AccessMode::kReadWrite) return InUse(volume, "snapshot");
    }
    if (volume.chain.size() >= kChainLengthMax) {
      return Error(Reason::kVolumeState,
                   fmt::format("volume {} has {} layers, the most there may be: delete a snapshot",
                               volume.id, volume.chain.size()),
                   {{"volume", volume.id}});
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Work> MakeCreateSnapshot(Core& core, CreateSnapshotRequest request,
                                         const std::string& operation_id) {
  return std::make_unique<CreateSnapshot>(core, std::move(request), operation_id);
}

}  // namespace cairn
