// The conductor's last word: how an operation fails, is undone, parked and ended.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/engine/conductor.h"
#include "lib/engine/journal_request.h"

namespace cairn {
namespace {

constexpr absl::Duration kParkPeriod = absl::Seconds(2);

}  // namespace

void Conductor::Fail(const LivePtr& op, const absl::Status& error) {
  if (op->verdict.has_value()) return Park(op, error);  // it could not even be undone now
  // A stopping server interrupts what runs: the next start goes on with it.
  if (stopping() && !op->cancel_asked && absl::IsCancelled(error)) return;
  if (NothingChanged(*op, error)) {
    if (absl::Status given_up = GiveUp(*op, error); !given_up.ok()) return Park(op, given_up);
  } else if (MayPass(*op, error)) {
    return Park(op, error);
  }
  if (op->answer) std::exchange(op->answer, nullptr)(op->Seen());
  spdlog::warn("operation={} kind={} volume={} failed: {}", op->id, OperationKindName(op->kind),
               op->volume_id, Describe(error));
  op->verdict = error;
  op->undoing = op->planned && !op->crossed;
  End(op);
}

// It can only end; what is left to do is work on files.
void Conductor::End(const LivePtr& op) {
  if (std::exchange(op->on_disks, false)) return Dispatch(op);
  if (!op->undoing || Undo(*op)) {
    Conclude(op);
  } else {
    Park(op, *op->verdict);
  }
}

// Whether it goes on by waiting. What a machine that has been asked is to do, and what follows it, must
// be done: until its disk is detached only it knows whether it has.
bool Conductor::MayPass(const LiveOperation& op, const absl::Status& error) const {
  if (op.crossed && ChangesDisks(op.plan) && HasReason(error, Reason::kNoSpace)) {
    return !std::holds_alternative<ChangeDisksStep>(op.plan.steps[op.next_step]);
  }
  if (MayHaveEnded(op) && !HasReason(error, Reason::kNoSpace)) return true;
  if (!IsOutage(op, error)) return false;
  if (op.crossed) return true;
  return op.recovered && op.planned && !HasReason(error, Reason::kHypervisorUnavailable);
}

// Whether it may have been told as done before the machine failed: its end need not have been on the
// disk. Then each of its files is there, and is not to be taken back. (What is there needs no room.)
bool Conductor::MayHaveEnded(const LiveOperation& op) const {
  if (!op.recovered || !op.planned || !IsFoundDone(op.plan)) return false;
  return std::none_of(op.plan.steps.begin(), op.plan.steps.end(), [&](const Step& step) {
    const auto* made = std::get_if<MakeImageStep>(&step);
    if (made == nullptr) return false;
    auto directory = core_->DirectoryOf(made->share);
    return directory.ok() &&
           absl::IsNotFound(core_->files().Stat(*directory + "/" + made->file).status());
  });
}

// A dead server shows in many ways: as UNAVAILABLE, and on soft mounts as an I/O error after minutes.
bool Conductor::IsOutage(const LiveOperation& op, const absl::Status& error) const {
  if (absl::IsUnavailable(error) || HasReason(error, Reason::kShareOwned)) return true;
  for (const std::string& address : SharesOf(op)) {
    auto share = core_->ShareAt(address);
    if (share.ok() && !(*share)->CheckUsable().ok()) return true;
  }
  return false;
}

// False when the share is down meanwhile. Another error leaves something behind, which is logged
// and which the scan of the share reports.
bool Conductor::Undo(LiveOperation& op) {
  for (const Step& step : op.settled ? op.plan.undo_settled : op.plan.undo) {
    absl::Status status;
    if (IsOnDisks(step)) {
      if (!op.asked && !op.recovered) continue;  // the machine has nothing to undo
      status = machines_.CarryOut(step, {.operation_id = op.id, .cancel = {}, .asked = &op.asked})
                   .status();
    } else {
      status = Run(op, step, /*cancellable=*/false);
    }
    if (!status.ok() && IsOutage(op, status)) return false;
    if (!status.ok()) {
      spdlog::error("operation={} volume={} could not be undone wholly: {}", op.id, op.volume_id,
                    Describe(status));
    }
  }
  op.undoing = false;
  return true;
}

void Conductor::Park(const LivePtr& op, const absl::Status& why) {
  op->parked = true;
  const bool machine = HasReason(why, Reason::kHypervisorUnavailable);
  Show(*op, [&](OperationRecord& record) {
    record.step = fmt::format("waiting to go on: {}{}", why.ok() ? "" : ToStd(why.message()),
                              machine ? "; detach the volume if its machine is gone" : "");
  });
  timer_->RunAfter(kParkPeriod, [this, op] { Resume(op); });
}

void Conductor::RecordEnd(OperationRecord& record, const absl::Status& verdict, bool cancelled,
                          absl::Time now) {
  record.state = verdict.ok() ? OperationState::kSucceeded
                 : cancelled  ? OperationState::kCancelled
                              : OperationState::kFailed;
  record.error = verdict;
  record.cancellable = false;
  record.instructions.clear();
  record.end_time = now;
  record.step.clear();
  record.plan.clear();
  record.request = JournalAtEnd(record.request);
  if (verdict.ok() && record.total_bytes > 0) record.done_bytes = record.total_bytes;
}

void Conductor::Conclude(const LivePtr& op) {
  const absl::Status verdict = *op->verdict;
  const bool cancelled = absl::IsCancelled(verdict) && op->cancel_asked;
  const absl::Time now = core_->clock().Now();
  {
    MutexLock lock(&op->mutex);
    op->record.cancellable = false;
  }
  // Who sees the operation ended sees what it did, too. What the files and the journalled plan say
  // together need not be on the disk a second time before the caller is told.
  const bool found_again = verdict.ok() && op->planned && IsFoundDone(op->plan);
  const auto end = [&](OperationRecord& record) { RecordEnd(record, verdict, cancelled, now); };
  absl::Status committed = Commit(
      *op,
      [&](Transaction& records) {
        records.may_be_durable_later = found_again;
        if (verdict.ok()) {
          op->work->Succeeded(op->plan, records);
        } else {
          op->work->Failed(verdict, op->crossed, records);
        }
      },
      end);
  if (!committed.ok()) {
    spdlog::error("operation={} volume={} its end could not be recorded, trying again: {}", op->id,
                  op->volume_id, Describe(committed));
    timer_->RunAfter(kParkPeriod, [this, op] { Resume(op); });
    return;
  }
  if (absl::Status hit = FailPoint(*op, "ended"); !hit.ok()) spdlog::debug("{}", Describe(hit));
  if (op->lane == Lane::kBulk) {
    // Before the reservation goes back, so that the room it took is not seen as free.
    if (auto share = core_->ShareAt(op->work->HomeShare()); share.ok()) {
      (*share)->RefreshCapacity().IgnoreError();  // the next probe does it otherwise
    }
  }
  RemoveLive(*op);
  ReceiverFn arrived;
  {
    MutexLock lock(&mutex_);
    if (auto it = receivers_.find(op->id); it != receivers_.end()) {
      arrived = std::move(it->second);
      receivers_.erase(it);
    }
  }
  if (LockQueue::Ticket ticket = op->ticket; ticket != 0) locks_.Release(ticket);
  op->work.reset();  // gives back what it holds
  OperationPtr seen = op->Seen();
  LogEnd(*seen, op->since);
  if (arrived) arrived(verdict.ok() ? Error(Reason::kInternal, "no content was awaited") : verdict);
  if (verdict.ok() && op->kind == OperationKind::kDetachVolume) WakeDetached(op->volume_id);
  watchers_.Notify(seen);
  AnswerCancels(*op);
}

void Conductor::LogEnd(const OperationRecord& ended, MonotonicTime since) {
  spdlog::info("operation={} kind={} volume={} request_id={} peer={} state={} seconds={:.3f}",
               ended.id, OperationKindName(ended.kind), ended.volume_id, ended.request_id,
               ended.requested_by, OperationStateName(ended.state),
               absl::ToDoubleSeconds(MonotonicTime::Now() - since));
}

}  // namespace cairn
