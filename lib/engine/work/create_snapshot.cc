// CreateSnapshot: of one volume, or of several at one instant; of volumes in use through the machine
// that has them open.
#include <fmt/format.h>

#include <algorithm>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/chain/live_plans.h"
#include "lib/engine/fields.h"
#include "lib/engine/machines.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

// A guest's read may go through every layer, and qemu opens them all.
constexpr size_t kChainLengthMax = 256;
// libvirt refuses a longer chain when a machine starts (VIR_STORAGE_MAX_CHAIN_DEPTH is 200). One less:
// the deletion of a snapshot in use adds a layer for as long as it takes.
constexpr size_t kLibvirtChainLengthMax = 199;
constexpr size_t kMembersMax = 64;

class CreateSnapshot : public WorkOn<CreateSnapshotRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    RETURN_IF_ERROR(CheckFields());
    Admission admission;
    admission.volume_id = r().volume_id;
    admission.target = r().snapshot_id;
    if (SnapshotPtr same = core_.catalog().FindSnapshot(r().snapshot_id); same != nullptr) {
      RETURN_IF_ERROR(CheckSame(*same));
      admission.immediate = true;
      admission.same_operation = same->created_by;
      return admission;
    }
    for (const SnapshotGroupMember& member : Members()) {
      ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(member.volume_id));
      RETURN_IF_ERROR(Check(*volume));
      if (core_.catalog().FindSnapshot(member.snapshot_id) != nullptr) {
        return Error(Reason::kSnapshotExists,
                     fmt::format("snapshot {} exists already", member.snapshot_id),
                     {{"snapshot", member.snapshot_id}});
      }
      admission.locks.push_back({member.volume_id, true});
      SnapshotRecord record;
      record.id = member.snapshot_id;
      record.volume_id = member.volume_id;
      record.name = r().name;
      record.labels = r().labels;
      record.state = SnapshotState::kCreating;
      record.size_bytes = volume->size_bytes;
      record.layer = LayerFileName(member.volume_id, member.snapshot_id);
      record.group_id = r().group_id;
      record.temporary = r().temporary;
      record.created_by = operation_id_;
      record.create_time = record.update_time = core_.clock().Now();
      admission.records.put_snapshots.push_back(std::move(record));
    }
    RETURN_IF_ERROR(CheckOneMachine().status());
    return admission;
  }

  std::string HomeShare() const override { return ShareOf(r().volume_id); }

  std::set<std::string> OtherShares() const override {
    std::set<std::string> shares;
    for (const SnapshotGroupMember& member : r().more) {
      shares.insert(ShareOf(member.volume_id));
    }
    return shares;
  }

  bool PlansAtOnce() const override { return true; }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(auto attachments, CheckOneMachine());
    std::vector<SnapshotMember> members;
    for (const SnapshotGroupMember& each : Members()) {
      ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(each.volume_id));
      RETURN_IF_ERROR(Check(*volume));
      SnapshotMember& member = members.emplace_back();
      member.attachment_id = attachments[volume->id];
      ASSIGN_OR_RETURN(member.view,
                       core_.ReadView(*volume, member.attachment_id.empty() ? Core::Use::kNoWriter
                                                                            : Core::Use::kAny));
      ASSIGN_OR_RETURN(std::string directory, core_.DirectoryOf(volume->share));
      const std::string layer = LayerFileName(volume->id, each.snapshot_id);
      if (core_.files().Stat(directory + "/" + layer).ok()) {
        return Error(Reason::kFileExists,
                     fmt::format("{} is on {} already, and the catalog does not know it", layer,
                                 volume->share),
                     {{"volume", volume->id}, {"file", layer}, {"share", volume->share}});
      }
      member.snapshot_id = each.snapshot_id;
      if (!member.attachment_id.empty()) in_use_.insert(volume->id);
    }
    return PlanCreateSnapshots(members, r().quiesce, operation_id_);
  }

  void Began(Transaction& records) override {
    for (const SnapshotGroupMember& member : Members()) {
      ChangeVolume(member.volume_id, records,
                   [&](VolumeRecord& v) { v.current_operation = operation_id_; });
      ChangeSnapshot(member.snapshot_id, records, [&](SnapshotRecord& s) {
        s.created_in_use = in_use_.count(member.volume_id) != 0;
        s.quiesced = s.created_in_use && r().quiesce;
      });
    }
  }

  void Succeeded(const Plan&, Transaction& records) override {
    // It may have waited in the queue: the instant is now, and chain order and time order agree.
    const absl::Time now = core_.clock().Now();
    for (const SnapshotGroupMember& member : Members()) {
      VolumePtr volume = core_.catalog().FindVolume(member.volume_id);
      if (volume == nullptr) continue;
      const std::string layer = LayerFileName(member.volume_id, member.snapshot_id);
      // A machine that switched to the layer has put it into the record already.
      std::vector<std::string> chain = volume->chain;
      if (chain.empty() || chain.back() != layer) chain.push_back(layer);
      ChangeSnapshot(member.snapshot_id, records, [&](SnapshotRecord& s) {
        s.state = SnapshotState::kAvailable;
        s.size_bytes = volume->size_bytes;
        s.file = chain.size() > 1 ? chain[chain.size() - 2] : "";
        s.create_time = now;
      });
      ChangeVolume(member.volume_id, records, [&](VolumeRecord& v) {
        v.active_file = layer;
        v.chain = std::move(chain);
        Settle(v);
        core_.Measure(v);
      });
    }
  }

  void Failed(const absl::Status&, Transaction& records) override {
    for (const SnapshotGroupMember& member : Members()) {
      records.remove_snapshots.push_back(member.snapshot_id);
      ChangeVolume(member.volume_id, records, [&](VolumeRecord& v) {
        if (v.current_operation == operation_id_) v.current_operation.clear();
      });
    }
  }

  // Whether a map names the new layer, nobody knows, unless its machine has switched to it: then the
  // record has it, as a layer that no snapshot needs.
  void Abandoned(const absl::Status& error, Transaction& records) override {
    Failed(error, records);
    for (const SnapshotGroupMember& member : Members()) {
      const std::string layer = LayerFileName(member.volume_id, member.snapshot_id);
      ChangeVolume(member.volume_id, records, [&](VolumeRecord& v) {
        if (v.active_file != layer) Disable(v, "a snapshot of it", error);
      });
    }
  }

 private:
  // All of them, the request's own volume first.
  std::vector<SnapshotGroupMember> Members() const {
    std::vector<SnapshotGroupMember> members{{r().volume_id, r().snapshot_id}};
    members.insert(members.end(), r().more.begin(), r().more.end());
    return members;
  }

  absl::Status CheckFields() {
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    ASSIGN_OR_RETURN(r().snapshot_id, IdOrNew("snapshot_id", r().snapshot_id));
    if (r().more.size() >= kMembersMax) {
      return InvalidField("additional_volumes",
                          fmt::format("must hold at most {} volumes", kMembersMax - 1));
    }
    std::set<std::string> volumes{r().volume_id};
    std::set<std::string> snapshots{r().snapshot_id};
    for (SnapshotGroupMember& member : r().more) {
      ASSIGN_OR_RETURN(member.volume_id, ParseId("additional_volumes.volume_id", member.volume_id));
      ASSIGN_OR_RETURN(member.snapshot_id,
                       IdOrNew("additional_volumes.snapshot_id", member.snapshot_id));
      if (!volumes.insert(member.volume_id).second) {
        return InvalidField("additional_volumes.volume_id", "is named twice", member.volume_id);
      }
      if (!snapshots.insert(member.snapshot_id).second) {
        return InvalidField("additional_volumes.snapshot_id", "is named twice", member.snapshot_id);
      }
    }
    if (!r().group_id.empty()) {
      ASSIGN_OR_RETURN(r().group_id, ParseId("group_id", r().group_id));
    } else if (!r().more.empty()) {
      r().group_id = NewId();
    }
    RETURN_IF_ERROR(CheckText("name", r().name));
    return CheckLabels(r().labels);
  }

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
    ASSIGN_OR_RETURN(const std::optional<Attachment> writer, WriterOf(volume));
    const bool by_libvirt =
        writer.has_value() && writer->hypervisor.kind == HypervisorAddress::Kind::kLibvirt;
    if (volume.chain.size() < (by_libvirt ? kLibvirtChainLengthMax : kChainLengthMax)) {
      return absl::OkStatus();
    }
    return Error(Reason::kVolumeState,
                 fmt::format("volume {} has {} layers, the most there may be{}: delete a snapshot",
                             volume.id, volume.chain.size(), by_libvirt ? " with libvirt" : ""),
                 {{"volume", volume.id}});
  }

  // Readers go on reading what is frozen now: that does no harm.
  absl::StatusOr<std::optional<Attachment>> WriterOf(const VolumeRecord& volume) const {
    const bool written =
        std::any_of(volume.attachments.begin(), volume.attachments.end(),
                    [](const Attachment& a) { return a.access == AccessMode::kReadWrite; });
    if (!written) return std::nullopt;
    return LiveUse(volume, "snapshot");
  }

  // Which volume is in use through which attachment. The instant is one only within one machine.
  absl::StatusOr<std::map<std::string, std::string>> CheckOneMachine() const {
    std::map<std::string, std::string> attachments;
    std::optional<Attachment> first;
    for (const SnapshotGroupMember& member : Members()) {
      ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(member.volume_id));
      ASSIGN_OR_RETURN(std::optional<Attachment> writer, WriterOf(*volume));
      if (!writer.has_value()) continue;
      attachments[volume->id] = writer->id;
      if (!first.has_value()) first = writer;
      const HypervisorAddress& one = first->hypervisor;
      const HypervisorAddress& other = writer->hypervisor;
      if (one.kind == other.kind && one.address == other.address && one.domain == other.domain &&
          first->instance_id == writer->instance_id) {
        continue;
      }
      return Error(
          Reason::kVolumeInUse,
          fmt::format("volume {} is in use by instance {}, volume {} by {}: a group in "
                      "use must belong to one machine",
                      first->volume_id, first->instance_id, volume->id, writer->instance_id),
          {{"volume", volume->id}, {"attachment", writer->id}});
    }
    return attachments;
  }

  std::set<std::string> in_use_;
};

}  // namespace

std::unique_ptr<Work> MakeCreateSnapshot(Core& core, CreateSnapshotRequest request,
                                         const std::string& operation_id) {
  return std::make_unique<CreateSnapshot>(core, std::move(request), operation_id);
}

}  // namespace cairn
