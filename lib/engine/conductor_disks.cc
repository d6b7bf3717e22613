// The conductor and disks in use: steps that a hypervisor or a consumer carries out.
//
// Each changes something that cannot be taken back by touching files, so what became of it is
// journalled before anything else is done: the records follow it in the same transaction. Until its
// outcome is known the operation waits; it never guesses.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "lib/base/failpoint.h"
#include "lib/base/overloaded.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/engine/conductor.h"
#include "lib/image/image.h"

namespace cairn {
namespace {

// How often a job is begun that is gone, when it is looked at again, without having been done.
constexpr int kBeginsMax = 3;

// A job is looked at soon, then less often.
absl::Duration LookAgainAfter(int looks) {
  constexpr absl::Duration kFirst = absl::Milliseconds(10);
  constexpr absl::Duration kLongest = absl::Milliseconds(500);
  constexpr int kDoublingsMax = 6;
  return std::min(kLongest, kFirst * (1 << std::min(looks, kDoublingsMax)));
}

// The number of a step among those of its plan that a consumer may have to carry out.
int64_t ConsumerStepNumber(const Plan& plan, size_t step) {
  return std::count_if(plan.steps.begin(), plan.steps.begin() + static_cast<ptrdiff_t>(step) + 1,
                       [](const Step& s) { return std::holds_alternative<ChangeDisksStep>(s); });
}

const LayerMerge* MergeOf(const ChangeDisksStep& step) {
  return std::get_if<LayerMerge>(&step.instructions[0].change);
}

bool IsCommit(const ChangeDisksStep& step) {
  const LayerMerge* merge = MergeOf(step);
  return merge != nullptr && merge->direction == MergeDirection::kCommit;
}

}  // namespace

// To machines and to files belong different threads. True when it is on the wrong ones.
bool Conductor::ChangesThreads(LiveOperation& op, const Step& step) {
  bool reported = false;
  {
    MutexLock lock(&mutex_);
    reported = op.reported.has_value();
  }
  const bool on_disks = IsOnDisks(step) && !op.detached && !op.merged && !reported;
  return std::exchange(op.on_disks, on_disks) != on_disks;
}

// Nothing: the step is done.
absl::StatusOr<std::optional<Conductor::Outcome>> Conductor::OnDisks(LiveOperation& op,
                                                                     const Step& step) {
  const auto* change = std::get_if<ChangeDisksStep>(&step);
  if (change != nullptr && !op.on_disks) {
    if (!op.detached && !op.merged) return TakeReport(op, *change);
    RETURN_IF_ERROR(op.detached ? FinishDetached(op, *change) : LooksDone(op, *change));
    op.detached = op.merged = false;
    RETURN_IF_ERROR(RecordDone(op, *change));
    return std::nullopt;
  }
  if (op.looks == 0) {
    const bool stream = change != nullptr && MergeOf(*change) != nullptr && !IsCommit(*change);
    Show(op, [&](OperationRecord& record) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      record.step = DescribeStep(step);
      op.earlier_bytes = record.done_bytes;  // Show holds the mutex
      record.cancellable = record.cancellable || (stream && op.next_step == op.plan.no_return);
    });
  }
  Machines::Call call{
      .operation_id = op.id, .step = op.next_step, .cancel = {}, .asked = &op.asked};
  // A server that stops leaves jobs alone: the next start finds them.
  if (op.cancel_asked) call.cancel = op.cancel.token();
  ASSIGN_OR_RETURN(Machines::Answer answer, machines_.CarryOut(step, call));
  switch (answer.outcome) {
    case Machines::Outcome::kDone:
      op.looks = op.begins = 0;
      // Its word is not enough where a file is going to be removed for it.
      op.merged = change != nullptr && MergeOf(*change) != nullptr;
      if (op.merged) return Outcome::kOtherThreads;
      if (change != nullptr) RETURN_IF_ERROR(RecordDone(op, *change));
      return std::nullopt;
    case Machines::Outcome::kGoesOn:
      if (answer.job.begun && ++op.begins > kBeginsMax) {
        return Error(Reason::kHypervisorFailed,
                     fmt::format("{}: it ended {} times before it was done; the hypervisor's log "
                                 "may say why",
                                 DescribeStep(step), kBeginsMax),
                     {{"volume", op.volume_id}});
      }
      ShowProgress(op, answer.job.done_bytes, answer.job.total_bytes);
      timer_->RunAfter(LookAgainAfter(op.looks++),
                       [this, self = op.shared_from_this()] { Resume(self); });
      return Outcome::kLeft;
    case Machines::Outcome::kNeedsConsumer:
      return AwaitConsumer(op, *change);
    case Machines::Outcome::kDetached:
      break;
  }
  spdlog::info("operation={} volume={} was detached meanwhile: going on without its machine", op.id,
               op.volume_id);
  op.detached = true;
  op.lane = Lane::kBulk;
  return Outcome::kOtherThreads;
}

// The disks are as the step says: so are the records, at once and for good.
absl::Status Conductor::RecordDone(LiveOperation& op, const ChangeDisksStep& step) {
  RETURN_IF_ERROR(FailPoint(op, fmt::format("disks{}", op.next_step)));
  return Commit(
      op,
      [&](Transaction& records) {
        for (const DiskInstruction& each : step.instructions) RecordChange(*core_, each, records);
      },
      [&](OperationRecord& record) {
        record.state = OperationState::kRunning;
        record.next_step = static_cast<int64_t>(op.next_step) + 1;
        record.instructions.clear();
        record.cancellable = false;
      });
}

// What went before stands for itself: the rest may be given up.
absl::Status Conductor::Settle(LiveOperation& op) {
  RETURN_IF_ERROR(Commit(
      op, [](Transaction&) {},
      [&](OperationRecord& record) {
        record.no_return = false;
        record.next_step = static_cast<int64_t>(op.next_step);
        record.cancellable = true;
      }));
  op.crossed = false;
  op.settled = true;
  return FailPoint(op, "settled");
}

// After an error: whether the disks are certainly as before the step, so that all can be undone.
bool Conductor::NothingChanged(const LiveOperation& op, const absl::Status& error) const {
  if (!op.crossed || op.settled || op.next_step != op.plan.no_return) return false;
  if (op.next_step >= op.plan.steps.size()) return false;
  const auto* change = std::get_if<ChangeDisksStep>(&op.plan.steps[op.next_step]);
  // On files only where the records of the point of no return are taken back by Work::Failed.
  if (change == nullptr) {
    return op.plan.no_return == 0 && !op.changed && !op.recovered && !op.parked;
  }
  if (op.refused_by_consumer) return true;
  if (absl::IsUnavailable(error)) return !op.asked && !op.recovered;
  if (HasReason(error, Reason::kHypervisorMismatch)) return true;
  // A merge downward changes its base from its beginning on.
  return !IsCommit(*change) || !op.asked;
}

// From the point of no return back, for good: what is undone after this must not be begun again.
absl::Status Conductor::GiveUp(LiveOperation& op, const absl::Status& error) {
  RETURN_IF_ERROR(Commit(
      op, [](Transaction&) {},
      [&](OperationRecord& record) {
        record.no_return = false;
        record.error = error;
        record.instructions.clear();
        record.cancellable = false;
      }));
  op.crossed = false;
  return absl::OkStatus();
}

// ---- without the machine

// Nobody has the disk open any more, so the files can be brought to what the step was to achieve.
absl::Status Conductor::FinishDetached(LiveOperation& op, const ChangeDisksStep& step) {
  for (const DiskInstruction& instruction : step.instructions) {
    RETURN_IF_ERROR(std::visit(
        Overloaded{
            // Whatever was written last lies in the layer or, if it never was switched to, below it.
            [](const LayerSwitch&) { return absl::OkStatus(); },
            [&](const LayerMerge& merge) { return FinishMerge(op, step.share, merge); },
            [&](const DiskResize& resize) { return FinishResize(op, step.share, resize); },
            // Both files were the same when this step began; since then only the new one was written to.
            [](const DiskMove&) { return absl::OkStatus(); },
        },
        instruction.change));
  }
  return absl::OkStatus();
}

// The headers may say that it was done; whether all of it is on the files nobody knows. The file that
// was to go is still there.
absl::Status Conductor::FinishMerge(LiveOperation& op, const std::string& share,
                                    const LayerMerge& merge) {
  if (merge.direction == MergeDirection::kStream) {
    RETURN_IF_ERROR(Run(op, RepointStep{share, merge.top, merge.base, merge.base_format},
                        /*cancellable=*/false));
    return Error(Reason::kInterrupted,
                 "the machine was gone before the merge had ended, nothing has changed; repeat it",
                 {{"volume", op.volume_id}});
  }
  op.asked = true;
  RETURN_IF_ERROR(Run(op, CommitStep{share, merge.top, merge.base}, /*cancellable=*/false));
  return Run(op, RepointStep{share, merge.rebased, merge.backing_after, merge.backing_format_after},
             /*cancellable=*/false);
}

absl::Status Conductor::FinishResize(LiveOperation& op, const std::string& share,
                                     const DiskResize& resize) {
  VolumePtr volume = core_->catalog().FindVolume(op.volume_id);
  if (volume == nullptr) return absl::OkStatus();
  const bool raw = volume->chain.size() == 1 && volume->base_format == FileFormat::kRaw;
  return Run(op,
             GrowImageStep{share, resize.file, raw ? volume->format : VolumeFormat::kQcow2,
                           resize.size_bytes},
             /*cancellable=*/false);
}

// ---- by the consumer

absl::StatusOr<std::optional<Conductor::Outcome>> Conductor::AwaitConsumer(
    LiveOperation& op, const ChangeDisksStep& step) {
  const bool cancelling = op.cancel_asked;
  Unpark(op);
  RETURN_IF_ERROR(Commit(
      op, [](Transaction&) {},
      [&](OperationRecord& record) {
        record.state =
            cancelling ? OperationState::kCancelling : OperationState::kWaitingForConsumer;
        record.step = fmt::format("waiting for the consumer: {}", DescribeStep(step));
        record.instructions = step.instructions;
        record.consumer_step = ConsumerStepNumber(op.plan, op.next_step);
        // Not once the consumer has said that it had begun.
        record.cancellable = !cancelling && !op.asked && op.next_step == op.plan.no_return;
      }));
  spdlog::warn("operation={} volume={} waits for its consumer, step {}: {}", op.id, op.volume_id,
               ConsumerStepNumber(op.plan, op.next_step), DescribeStep(step));
  watchers_.Notify(op.Seen());
  if (cancelling) AnswerAtEnd(op);
  op.taken = false;
  bool reported = false;
  {
    MutexLock lock(&mutex_);
    reported = op.reported.has_value();
  }
  // What came between the last look and here did not see it as waiting.
  const bool go = reported || op.cancel_asked != cancelling || IsDetached(*core_, step);
  if (go && !op.taken.exchange(true)) Resume(op.shared_from_this());
  return Outcome::kLeft;
}

void Conductor::WakeDetached(const std::string& volume_id) {
  std::vector<LivePtr> live;
  {
    MutexLock lock(&mutex_);
    for (const auto& [id, op] : live_) live.push_back(op);
  }
  for (const LivePtr& op : live) {
    const OperationPtr seen = op->Seen();
    const bool waits =
        std::any_of(seen->instructions.begin(), seen->instructions.end(),
                    [&](const DiskInstruction& each) { return each.volume_id == volume_id; });
    if (waits && !op->taken.exchange(true)) Resume(op);
  }
}

void Conductor::Report(const std::string& operation_id, ConsumerReport report,
                       OperationCallback done) {
  const auto not_waiting = [&](std::string_view why) {
    return Error(Reason::kOperationNotWaiting, fmt::format("operation {} {}", operation_id, why),
                 {{"operation", operation_id}});
  };
  auto seen = Get(operation_id);
  if (!seen.ok()) return done(seen.status());
  const OperationRecord& record = **seen;
  if (record.consumer_step == 0) return done(not_waiting("does not wait for a consumer"));
  if (report.step > record.consumer_step) {
    return done(InvalidField(
        "step_number",
        fmt::format("there is no such step; {} is the last one asked for", record.consumer_step),
        std::to_string(report.step)));
  }
  LivePtr op = FindLive(operation_id);
  const bool asked = op != nullptr && !record.instructions.empty();
  if (!asked || report.step < record.consumer_step) {
    // Answered before: the same answer again is none.
    const bool was_done = report.step < record.consumer_step || record.error.ok();
    const bool same = was_done ? report.kind == ConsumerReport::Kind::kDone
                               : report.kind == ConsumerReport::Kind::kFailed;
    if (same) return done(seen);
    return done(not_waiting(fmt::format("does not wait for an answer to step {}", report.step)));
  }
  if (report.kind == ConsumerReport::Kind::kProgress) {
    ShowProgress(*op, report.done_bytes, report.total_bytes);
    return done(op->Seen());
  }
  bool answered = false;
  {
    MutexLock lock(&mutex_);
    answered = op->reported.has_value();
    if (!answered) op->reported = {std::move(report), done};
  }
  if (answered) return done(not_waiting("is being answered already"));
  if (!op->taken.exchange(true)) Resume(op);
}

// On the share's lane, where the files can be looked at.
absl::StatusOr<std::optional<Conductor::Outcome>> Conductor::TakeReport(
    LiveOperation& op, const ChangeDisksStep& step) {
  std::optional<LiveOperation::Reported> reported;
  {
    MutexLock lock(&mutex_);
    reported = std::exchange(op.reported, std::nullopt);
  }
  if (!reported.has_value()) return Outcome::kOtherThreads;
  const ConsumerReport& report = reported->report;
  if (report.kind == ConsumerReport::Kind::kFailed) {
    op.refused_by_consumer = !report.begun;
    op.asked = report.begun;
    op.answer = reported->accepted;
    if (report.begun) Show(op, [](OperationRecord& record) { record.cancellable = false; });
    if (op.cancel_asked && !report.begun) return op.cancel.token().Check();
    return Error(Reason::kHypervisorFailed,
                 fmt::format("the consumer did not carry it out: {}", report.message),
                 {{"volume", op.volume_id}});
  }
  if (absl::Status looked = LooksDone(op, step); !looked.ok()) {
    spdlog::warn("operation={} volume={} the consumer says it is done: {}", op.id, op.volume_id,
                 Describe(looked));
    auto waits = AwaitConsumer(op, step);
    reported->accepted(looked);
    return waits;
  }
  absl::Status recorded = RecordDone(op, step);
  reported->accepted(recorded.ok() ? absl::StatusOr<OperationPtr>(op.Seen()) : recorded);
  RETURN_IF_ERROR(recorded);
  return std::nullopt;
}

void Conductor::AnswerAtEnd(LiveOperation& op) {
  std::vector<OperationCallback> answers;
  {
    MutexLock lock(&mutex_);
    answers.swap(op.end_answers);
  }
  for (const OperationCallback& answer : answers) answer(op.Seen());
}

// A refusal was accepted: what follows from it is known now.
void Conductor::AnswerReport(LiveOperation& op) {
  if (op.answer) std::exchange(op.answer, nullptr)(op.Seen());
}

// The share went away before the answer could be checked: it is to be given again.
void Conductor::RejectReport(LiveOperation& op, const absl::Status& why) {
  std::optional<LiveOperation::Reported> reported;
  {
    MutexLock lock(&mutex_);
    reported = std::exchange(op.reported, std::nullopt);
  }
  if (reported.has_value()) reported->accepted(why);
}

// What can be seen on the files; the rest is the consumer's word.
absl::Status Conductor::LooksDone(LiveOperation& op, const ChangeDisksStep& step) {
  for (const DiskInstruction& instruction : step.instructions) {
    RETURN_IF_ERROR(std::visit(
        Overloaded{
            [&](const LayerSwitch& c) {
              return Run(op, CheckBackingStep{step.share, c.file, c.backing_file}, false);
            },
            [&](const LayerMerge& c) {
              return Run(op, CheckBackingStep{step.share, c.rebased, c.backing_after}, false);
            },
            [&](const DiskResize& c) {
              return HasSize(instruction.volume_id, step.share, c.file, c.size_bytes);
            },
            [&](const DiskMove& c) {
              VolumePtr volume = core_->catalog().FindVolume(instruction.volume_id);
              const int64_t size = volume == nullptr ? 0 : volume->size_bytes;
              return HasSize(instruction.volume_id, c.target_share, c.file, size);
            },
        },
        instruction.change));
  }
  return absl::OkStatus();
}

absl::Status Conductor::HasSize(const std::string& volume_id, const std::string& share,
                                const std::string& file, int64_t size_bytes) const {
  ASSIGN_OR_RETURN(VolumePtr volume, core_->Volume(volume_id));
  ASSIGN_OR_RETURN(std::string directory, core_->DirectoryOf(share));
  RETURN_IF_ERROR(core_->files().RefreshDirectory(directory));
  const FileFormat format = volume->chain.size() == 1 ? volume->base_format : FileFormat::kQcow2;
  ASSIGN_OR_RETURN(ImageInfo image, InspectImage(core_->files(), directory, file, format));
  if (image.virtual_size == size_bytes) return absl::OkStatus();
  return Error(
      Reason::kImageMismatch,
      fmt::format("{} has {} bytes, it should have {}", file, image.virtual_size, size_bytes),
      {{"file", file},
       {"expected", std::to_string(size_bytes)},
       {"found", std::to_string(image.virtual_size)}});
}

}  // namespace cairn
