// The conductor's last word: how an operation fails, is undone and ended.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/engine/conductor.h"
#include "lib/engine/journal_request.h"
#include "lib/image/image_lock.h"
#include "lib/os/absence.h"

namespace cairn {
namespace {

// What had the name of a new file already is somebody else's, and stays.
Step WithoutStrangers(const Step& step, const absl::Status& verdict) {
  const auto* remove = std::get_if<RemoveFilesStep>(&step);
  if (remove == nullptr || !HasReason(verdict, Reason::kFileExists)) return step;
  const auto details = GetErrorDetails(verdict);
  const auto in_the_way = details->metadata.find("to");
  if (in_the_way == details->metadata.end()) return step;
  RemoveFilesStep rest = *remove;
  std::erase_if(rest.files,
                [&](const std::string& file) { return in_the_way->second.ends_with("/" + file); });
  return rest;
}

}  // namespace

void Conductor::Fail(const LivePtr& op, const absl::Status& error) {
  if (op->verdict.has_value()) return Park(op, error);
  // A stopping server interrupts what runs: the next start goes on with it.
  if (stopping() && !op->cancel_asked && absl::IsCancelled(error)) return;
  if (NothingChanged(*op, error)) {
    if (absl::Status given_up = GiveUp(*op, error); !given_up.ok()) return Park(op, given_up);
  } else if (GoesOn(*op, error)) {
    return Park(op, error);
  }
  spdlog::warn("operation={} kind={} volume={} failed: {}", op->id, OperationKindName(op->kind),
               op->volume_id, Describe(error));
  op->verdict =
      absl::IsCancelled(error) && IsAwaitedMerge(*op)
          ? Error(Reason::kCancelled, "it gave way to another operation, and comes again later")
          : error;
  op->undoing = op->planned && !op->crossed;
  AnswerReport(*op);
  End(op);
}

// It can only end; what is left to do is work on files.
void Conductor::End(const LivePtr& op) {
  if (std::exchange(op->on_disks, false)) return Dispatch(op);
  if (op->undoing) {
    if (absl::Status undone = Undo(*op); !undone.ok()) return Park(op, undone);
  }
  Conclude(op);
}

// Whether it goes on, later, rather than be undone.
bool Conductor::GoesOn(LiveOperation& op, const absl::Status& error) {
  if (op.crossed) return true;
  // What is on the share is not what this plan is about: to undo it could harm it.
  if (HasReason(error, Reason::kCatalogOlder)) return true;
  if (MayHaveEnded(op) && !HasReason(error, Reason::kNoSpace)) return true;
  if (op.planned) {
    const absl::StatusOr<bool> written = HasWrittenMap(op);
    if (!written.ok()) return true;  // it is to be looked at again
    if (*written) {
      op.crossed = true;
      Show(op, [](OperationRecord& record) { record.cancellable = false; });
      return true;
    }
  }
  if (!op.recovered || !op.planned) return false;
  // A tool of the server that is gone may hold the image until it has ended.
  if (IsLockedByAnother(error)) return true;
  return IsOutage(op, error) && !HasReason(error, Reason::kHypervisorUnavailable);
}

// Whether a plan that only gives new files their names has come so far that the map names them, although
// its last step failed: to take the map back could need room that there is not, to go on needs none.
absl::StatusOr<bool> Conductor::HasWrittenMap(const LiveOperation& op) const {
  if (!IsFoundDone(op.plan)) return false;
  const auto* write = std::get_if<WriteMapStep>(&op.plan.steps.back());
  if (write == nullptr || op.next_step + 1 < op.plan.steps.size()) return false;
  ASSIGN_OR_RETURN(const std::string directory, core_->DirectoryOf(write->share));
  auto present = ReadInfoMap(core_->files(), directory, write->volume_id);
  if (HasReason(present.status(), Reason::kMapCorrupt)) return false;
  RETURN_IF_ERROR(present.status());
  return present->has_value() && **present == write->map;
}

// Whether it may have been told as done before the machine failed: its end need not have been on the
// disk. Then each of its files is there, and is not to be taken back. (What is there needs no room.)
bool Conductor::MayHaveEnded(const LiveOperation& op) const {
  if (!op.recovered || !op.planned || !IsFoundDone(op.plan)) return false;
  return std::none_of(op.plan.steps.begin(), op.plan.steps.end(), [&](const Step& step) {
    const auto* made = std::get_if<MakeImageStep>(&step);
    if (made == nullptr) return false;
    auto directory = core_->DirectoryOf(made->share);
    if (!directory.ok()) return false;
    return IsAbsent(core_->files(), *directory, made->file).value_or(false);
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

// Each step can be done again: after an error all of it is, later.
absl::Status Conductor::Undo(LiveOperation& op) {
  for (const Step& step : op.settled ? op.plan.undo_settled : op.plan.undo) {
    if (IsOnDisks(step)) {
      if (!op.asked && !op.recovered) continue;  // the machine has nothing to undo
      RETURN_IF_ERROR(
          machines_.CarryOut(step, {.operation_id = op.id, .cancel = {}, .asked = &op.asked})
              .status());
    } else {
      RETURN_IF_ERROR(Run(op, op.verdict.has_value() ? WithoutStrangers(step, *op.verdict) : step,
                          /*cancellable=*/false));
    }
  }
  op.undoing = false;
  return absl::OkStatus();
}

void Conductor::RecordEnd(OperationRecord& record, OperationState state,
                          const absl::Status& verdict, absl::Time now) {
  record.state = state;
  record.error = verdict;
  record.parked = absl::OkStatus();
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
  const OperationState state = verdict.ok()    ? OperationState::kSucceeded
                               : op->abandoned ? OperationState::kAbandoned
                               : absl::IsCancelled(verdict) && op->cancel_asked
                                   ? OperationState::kCancelled
                                   : OperationState::kFailed;
  const absl::Time now = core_->clock().Now();
  {
    MutexLock lock(&op->mutex);
    op->record.cancellable = false;
  }
  // Who sees the operation ended sees what it did, too. What the files and the journalled plan say
  // together need not be on the disk a second time before the caller is told.
  const bool found_again = verdict.ok() && op->planned && IsFoundDone(op->plan);
  const auto end = [&](OperationRecord& record) { RecordEnd(record, state, verdict, now); };
  std::vector<std::string> changed;
  absl::Status committed = Commit(
      *op,
      [&](Transaction& records) {
        records.may_be_durable_later = found_again;
        if (verdict.ok()) {
          op->work->Succeeded(op->plan, records);
        } else if (op->abandoned) {
          op->work->Abandoned(verdict, records);
        } else {
          op->work->Failed(verdict, records);
        }
        changed = {op->volume_id};
        for (const VolumeRecord& volume : records.put_volumes) {
          if (volume.id != op->volume_id) changed.push_back(volume.id);
        }
      },
      end);
  if (!committed.ok()) {
    spdlog::error("operation={} volume={} its end could not be recorded, trying again: {}", op->id,
                  op->volume_id, Describe(committed));
    timer_->RunAfter(NextPause(*op, committed), [this, op] { Resume(op); });
    return;
  }
  if (absl::Status hit = FailPoint(*op, "ended"); !hit.ok()) spdlog::debug("{}", Describe(hit));
  if (op->lane == Lane::kBulk && !op->abandoned) {
    // Before the reservation goes back, so that the room it took is not seen as free.
    if (auto share = core_->ShareAt(op->work->HomeShare()); share.ok()) {
      (*share)->RefreshCapacity().IgnoreError();  // the next probe does it otherwise
    }
  }
  RemoveLive(*op);
  const bool gave_way = state == OperationState::kCancelled && IsAwaitedMerge(*op);
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
  AnswerAtEnd(*op);
  FollowUp(*seen, changed, gave_way);
}

void Conductor::LogEnd(const OperationRecord& ended, MonotonicTime since) {
  spdlog::info("operation={} kind={} volume={} request_id={} peer={} state={} seconds={:.3f}",
               ended.id, OperationKindName(ended.kind), ended.volume_id, ended.request_id,
               ended.requested_by, OperationStateName(ended.state),
               absl::ToDoubleSeconds(MonotonicTime::Now() - since));
}

}  // namespace cairn
