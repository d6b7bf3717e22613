#include "lib/engine/machines.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>

#include "lib/base/overloaded.h"
#include "lib/base/status.h"
#include "lib/chain/info_map.h"

namespace cairn {
namespace {

constexpr int kMachineThreads = 8;
constexpr absl::Duration kPatience = absl::Milliseconds(200);

DiskRef RefOf(const Attachment& attachment) {
  return {attachment.hypervisor.disk, attachment.volume_id};
}

std::string MoveJob(const Machines::Call& call) {
  return fmt::format("cairn-{}-move", call.operation_id);
}

bool MachineIsGone(const absl::Status& status) {
  auto details = GetErrorDetails(status);
  return details.has_value() && details->reason == Reason::kHypervisorUnavailable &&
         details->metadata.count("gone") != 0;
}

absl::Status Detached(const std::string& volume_id) {
  return Error(
      Reason::kInterrupted,
      fmt::format("volume {} was detached before its machine had done it; repeat it", volume_id),
      {{"volume", volume_id}});
}

Machines::Answer AnswerOf(Machines::Outcome outcome) { return {outcome, {}}; }

}  // namespace

std::optional<Attachment> FindAttachment(const Core& core, const std::string& volume_id,
                                         const std::string& attachment_id) {
  VolumePtr volume = core.catalog().FindVolume(volume_id);
  if (volume == nullptr) return std::nullopt;
  for (const Attachment& attachment : volume->attachments) {
    if (attachment.id == attachment_id) return attachment;
  }
  return std::nullopt;
}

bool IsDetached(const Core& core, const ChangeDisksStep& step) {
  return std::none_of(step.instructions.begin(), step.instructions.end(),
                      [&](const DiskInstruction& each) {
                        // What a consumer was to move may be here or there: only it knows.
                        const auto* move = std::get_if<DiskMove>(&each.change);
                        return (move != nullptr && move->by_consumer) ||
                               FindAttachment(core, each.volume_id, each.attachment_id).has_value();
                      });
}

absl::StatusOr<std::optional<Attachment>> LiveUse(const VolumeRecord& volume,
                                                  std::string_view attempted) {
  if (volume.attachments.empty()) return std::nullopt;
  const Attachment& attachment = volume.attachments[0];
  if (attachment.access == AccessMode::kReadWrite &&
      attachment.hypervisor.kind != HypervisorAddress::Kind::kNone) {
    return std::optional(attachment);
  }
  return InUse(volume, attempted);
}

Machines::Machines(Core* core)
    : core_(core),
      executor_({.name = "machines", .threads = kMachineThreads, .queue_max = 1 << 20}) {}

absl::StatusOr<Machines::Answer> Machines::CarryOut(const Step& step, const Call& call) {
  auto answer = std::visit(Overloaded{
                               [&](const CheckDiskStep& s) { return CheckDisk(s); },
                               [&](const CheckClosedStep& s) { return CheckClosed(s); },
                               [&](const ChangeDisksStep& s) { return Change(s, call); },
                               [&](const MirrorDiskStep& s) { return Mirror(s, call); },
                               [&](const StopMirrorStep& s) { return StopMirror(s, call); },
                               [](const auto&) -> absl::StatusOr<Answer> {
                                 return Error(Reason::kInternal,
                                              "a step on files is nothing to ask a machine");
                               },
                           },
                           step);
  if (answer.ok()) return answer;
  return Annotate(answer.status(), DescribeStep(step));
}

absl::StatusOr<std::unique_ptr<Hypervisor>> Machines::Connect(const Attachment& attachment) const {
  auto connected = core_->options().connect_hypervisor(attachment.hypervisor);
  if (connected.ok()) return connected;
  return Annotate(connected.status(), fmt::format("attachment {}", attachment.id),
                  {{"volume", attachment.volume_id}, {"attachment", attachment.id}});
}

absl::StatusOr<Machines::Answer> Machines::CheckDisk(const CheckDiskStep& step) {
  auto attachment = FindAttachment(*core_, step.volume_id, step.attachment_id);
  if (!attachment.has_value() ||
      attachment->hypervisor.kind == HypervisorAddress::Kind::kAssisted) {
    return AnswerOf(Outcome::kDone);
  }
  ASSIGN_OR_RETURN(auto hypervisor, Connect(*attachment));
  ASSIGN_OR_RETURN(DiskState disk, hypervisor->Look(RefOf(*attachment)));
  if (disk.files == step.files && disk.size_bytes == step.size_bytes) {
    return AnswerOf(Outcome::kDone);
  }
  return Error(Reason::kHypervisorMismatch,
               fmt::format("the hypervisor at {} has {} open ({} bytes), recorded is {} ({} bytes)",
                           attachment->hypervisor.address, fmt::join(disk.files, " on "),
                           disk.size_bytes, fmt::join(step.files, " on "), step.size_bytes),
               {{"volume", step.volume_id},
                {"attachment", step.attachment_id},
                {"address", attachment->hypervisor.address},
                {"disk", attachment->hypervisor.disk}});
}

// The machine lives and has no such disk; a job of an operation may still be at its files.
absl::StatusOr<Machines::Answer> Machines::NothingAtWork(const std::string& volume_id) const {
  VolumePtr volume = core_->catalog().FindVolume(volume_id);
  if (volume == nullptr || volume->current_operation.empty()) return AnswerOf(Outcome::kDone);
  return Error(Reason::kVolumeInUse,
               fmt::format("operation {} is at work on volume {} through its machine; wait for it, "
                           "or cancel it",
                           volume->current_operation, volume_id),
               {{"volume", volume_id}, {"operation", volume->current_operation}});
}

// Whoever says that it has closed the disk is believed unless its machine says otherwise.
absl::StatusOr<Machines::Answer> Machines::CheckClosed(const CheckClosedStep& step) {
  auto attachment = FindAttachment(*core_, step.volume_id, step.attachment_id);
  if (!attachment.has_value()) return AnswerOf(Outcome::kDone);
  const HypervisorAddress& address = attachment->hypervisor;
  if (address.kind != HypervisorAddress::Kind::kQmp &&
      address.kind != HypervisorAddress::Kind::kLibvirt) {
    return AnswerOf(Outcome::kDone);
  }
  auto hypervisor = Connect(*attachment);
  if (MachineIsGone(hypervisor.status())) return AnswerOf(Outcome::kDone);
  if (!hypervisor.ok()) {
    return Annotate(hypervisor.status(), "say force when it is certain that nobody has it open");
  }
  auto disk = (*hypervisor)->Look(RefOf(*attachment));
  if (MachineIsGone(disk.status())) return AnswerOf(Outcome::kDone);
  if (HasReason(disk.status(), Reason::kHypervisorMismatch)) return NothingAtWork(step.volume_id);
  RETURN_IF_ERROR(disk.status());
  if (disk->files.empty() || !IsChainFileName(step.volume_id, disk->files[0])) {
    return NothingAtWork(step.volume_id);
  }
  return Error(Reason::kVolumeInUse,
               fmt::format("the hypervisor at {} has {} open; close the disk first, or say force",
                           address.address, disk->files[0]),
               {{"volume", step.volume_id},
                {"attachment", step.attachment_id},
                {"instance", attachment->instance_id},
                {"host", attachment->host}});
}

absl::StatusOr<Machines::Answer> Machines::Change(const ChangeDisksStep& step, const Call& call) {
  std::vector<Hypervisor::DiskSwitch> switches;
  std::optional<Attachment> machine;
  const DiskChange* change = nullptr;
  for (const DiskInstruction& instruction : step.instructions) {
    auto attachment = FindAttachment(*core_, instruction.volume_id, instruction.attachment_id);
    if (!attachment.has_value()) {
      // What a consumer was to move may be here or there: only it knows.
      const auto* move = std::get_if<DiskMove>(&instruction.change);
      if (move != nullptr && move->by_consumer) return AnswerOf(Outcome::kNeedsConsumer);
      continue;
    }
    if (attachment->hypervisor.kind == HypervisorAddress::Kind::kAssisted) {
      return AnswerOf(Outcome::kNeedsConsumer);
    }
    machine = attachment;
    change = &instruction.change;
    if (const auto* to = std::get_if<LayerSwitch>(&instruction.change)) {
      switches.push_back({RefOf(*attachment), *to});
    }
  }
  if (!machine.has_value()) return AnswerOf(Outcome::kDetached);
  if (const auto* merge = std::get_if<LayerMerge>(change)) return Merge(*machine, *merge, call);
  ASSIGN_OR_RETURN(auto hypervisor, Connect(*machine));
  *call.asked = true;
  if (!switches.empty()) {
    RETURN_IF_ERROR(hypervisor->SwitchToLayers(switches));
  } else if (const auto* resize = std::get_if<DiskResize>(change)) {
    RETURN_IF_ERROR(hypervisor->Resize(RefOf(*machine), *resize));
  } else if (const auto* move = std::get_if<DiskMove>(change)) {
    ASSIGN_OR_RETURN(std::string directory, TargetDirectory(*hypervisor, *machine, *move));
    RETURN_IF_ERROR(hypervisor->FinishMirror(RefOf(*machine), *move, directory, MoveJob(call)));
  }
  return AnswerOf(Outcome::kDone);
}

absl::StatusOr<Machines::Answer> Machines::Merge(const Attachment& attachment,
                                                 const LayerMerge& merge, const Call& call) {
  const std::string job = fmt::format("cairn-{}-{}", call.operation_id, call.step);
  const DiskRef disk = RefOf(attachment);
  ASSIGN_OR_RETURN(auto hypervisor, Connect(attachment));
  if (merge.direction == MergeDirection::kStream && call.cancel.cancelled()) {
    RETURN_IF_ERROR(hypervisor->CancelJob(disk, job));
    ASSIGN_OR_RETURN(DiskState open, hypervisor->Look(disk));
    if (std::find(open.files.begin(), open.files.end(), merge.base) != open.files.end()) {
      return call.cancel.Check();
    }
    return AnswerOf(Outcome::kDone);
  }
  *call.asked = true;
  ASSIGN_OR_RETURN(JobState state, hypervisor->Merge(disk, merge, job, kPatience));
  return Answer{state.phase == JobState::Phase::kDone ? Outcome::kDone : Outcome::kGoesOn, state};
}

// Where the machine has the other share: beside the one that it has the disk on, if it mounts shares
// as Cairn does; else where Cairn has it.
absl::StatusOr<std::string> Machines::TargetDirectory(Hypervisor& hypervisor,
                                                      const Attachment& attachment,
                                                      const DiskMove& move) const {
  ASSIGN_OR_RETURN(VolumePtr volume, core_->Volume(attachment.volume_id));
  ASSIGN_OR_RETURN(Share * source, core_->ShareOf(*volume));
  ASSIGN_OR_RETURN(Share * target, core_->ShareAt(move.target_share));
  ASSIGN_OR_RETURN(DiskState disk, hypervisor.Look(RefOf(attachment)));
  const std::filesystem::path there(disk.directory);
  const std::filesystem::path here(source->directory());
  const std::filesystem::path wanted(target->directory());
  const bool both_mounted = !source->spec().is_directory() && !target->spec().is_directory();
  if (both_mounted && there.filename() == here.filename()) {
    return (there.parent_path() / wanted.filename()).string();
  }
  return wanted.string();
}

absl::StatusOr<Machines::Answer> Machines::Mirror(const MirrorDiskStep& step, const Call& call) {
  const DiskInstruction& instruction = step.instructions[0];
  auto attachment = FindAttachment(*core_, instruction.volume_id, instruction.attachment_id);
  if (!attachment.has_value()) return Detached(instruction.volume_id);
  RETURN_IF_ERROR(call.cancel.Check());
  const auto& move = std::get<DiskMove>(instruction.change);
  ASSIGN_OR_RETURN(auto hypervisor, Connect(*attachment));
  ASSIGN_OR_RETURN(std::string directory, TargetDirectory(*hypervisor, *attachment, move));
  *call.asked = true;
  ASSIGN_OR_RETURN(JobState state, hypervisor->Mirror(RefOf(*attachment), move, directory,
                                                      MoveJob(call), kPatience));
  return Answer{state.phase == JobState::Phase::kRunning ? Outcome::kGoesOn : Outcome::kDone,
                state};
}

absl::StatusOr<Machines::Answer> Machines::StopMirror(const StopMirrorStep& step,
                                                      const Call& call) {
  const DiskInstruction& instruction = step.instructions[0];
  auto attachment = FindAttachment(*core_, instruction.volume_id, instruction.attachment_id);
  if (!attachment.has_value() ||
      attachment->hypervisor.kind == HypervisorAddress::Kind::kAssisted) {
    return AnswerOf(Outcome::kDone);
  }
  ASSIGN_OR_RETURN(auto hypervisor, Connect(*attachment));
  RETURN_IF_ERROR(hypervisor->CancelJob(RefOf(*attachment), MoveJob(call)));
  return AnswerOf(Outcome::kDone);
}

namespace {

void RecordMerge(const Core& core, const LayerMerge& merge, VolumeRecord& volume,
                 Transaction& records) {
  const bool down = merge.direction == MergeDirection::kCommit;
  const std::string& gone = down ? merge.top : merge.base;
  if (!down && !volume.chain.empty() && volume.chain[0] == gone) {
    volume.base_format = FileFormat::kQcow2;
  }
  std::erase(volume.chain, gone);
  for (const SnapshotPtr& snapshot : core.catalog().SnapshotsOf(volume.id)) {
    SnapshotRecord changed = *snapshot;
    // Merged down, what lay on it lies on the file below; merged up, what was made for the snapshot
    // below is the file that it went into.
    if (down && changed.file == gone) changed.file = merge.base;
    if (!down && changed.layer == gone) changed.layer = merge.top;
    if (changed.file == snapshot->file && changed.layer == snapshot->layer) continue;
    changed.update_time = core.clock().Now();
    records.put_snapshots.push_back(std::move(changed));
  }
}

}  // namespace

void RecordChange(const Core& core, const DiskInstruction& instruction, Transaction& records) {
  VolumePtr present = core.catalog().FindVolume(instruction.volume_id);
  if (present == nullptr) return;
  VolumeRecord volume = *present;
  std::visit(Overloaded{
                 [&](const LayerSwitch& c) {
                   if (volume.active_file == c.file) return;
                   volume.active_file = c.file;
                   volume.chain.push_back(c.file);
                 },
                 [&](const LayerMerge& c) { RecordMerge(core, c, volume, records); },
                 [&](const DiskResize& c) { volume.size_bytes = c.size_bytes; },
                 [&](const DiskMove& c) { volume.share = c.target_share; },
             },
             instruction.change);
  volume.update_time = core.clock().Now();
  records.put_volumes.push_back(std::move(volume));
}

}  // namespace cairn
