// The conductor's short way: what nothing is ahead of, and what is quickly planned, is journalled once
// with its plan, or with its end.
#include <fmt/format.h>

#include <utility>

#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/engine/conductor.h"

namespace cairn {

// `op` holds its locks, and nobody knows of it yet.
void Conductor::HandAtOnce(const std::shared_ptr<Submission>& submission, const LivePtr& op,
                           int tries_left) {
  Task task;
  task.run = [this, submission, op, tries_left](const absl::Status& admitted) {
    if (!admitted.ok()) return DropAtOnce(submission, op, admitted);
    Counted([&] { BeginAtOnce(submission, op, tries_left); });
  };
  task.abandoned = [this, submission, op](const absl::Status& why) {
    if (!op->answered.exchange(true)) return Answer(submission, why);
    ShowAbandoned(*op, why);
  };
  absl::Status handed = Hand(op, std::move(task));
  if (!handed.ok()) DropAtOnce(submission, op, handed);
}

void Conductor::DropAtOnce(const std::shared_ptr<Submission>& submission, const LivePtr& op,
                           const absl::Status& why) {
  locks_.Release(op->ticket);
  if (!op->answered.exchange(true)) Answer(submission, why);
}

void Conductor::BeginAtOnce(const std::shared_ptr<Submission>& submission, const LivePtr& op,
                            int tries_left) {
  const absl::Status planned = MakePlan(*op);
  if (stopping()) {
    return DropAtOnce(submission, op,
                      Error(Reason::kShuttingDown, "the server is stopping; try again"));
  }
  if (op->answered.exchange(true)) return locks_.Release(op->ticket);
  const bool ends = planned.ok() && op->plan.steps.empty();
  const absl::Status journalled =
      planned.ok() ? JournalAtOnce(*op)
                   : Commit(*op, [&](Transaction& records) { records = op->admitted; });
  if (!journalled.ok()) {
    locks_.Release(op->ticket);
    if (HasReason(journalled, Reason::kRevisionMismatch) && tries_left > 0) {
      return AdmitAndJournal(submission, tries_left - 1);
    }
    return Answer(submission, Annotate(journalled, "the operation could not be journalled"));
  }
  op->journalled = true;
  op->admitted = {};
  if (ends) {
    locks_.Release(op->ticket);
    op->work.reset();  // gives back what it holds
    Journalled(submission, op);
    return LogEnd(*op->Seen());
  }
  op->taken = op->granted = true;
  op->planned = planned.ok();
  op->crossed = op->planned && CrossesAtOnce(*op);
  AddLive(op);
  Journalled(submission, op);
  if (op->planned) {
    if (absl::Status hit = FailPoint(*op, "planned"); !hit.ok()) return Fail(op, hit);
  }
  Execute(op);
}

absl::Status Conductor::JournalAtOnce(LiveOperation& op) {
  const bool ends = op.plan.steps.empty();
  const absl::Time now = core_->clock().Now();
  const auto end = [&](OperationRecord& record) {
    RecordEnd(record, absl::OkStatus(), /*cancelled=*/false, now);
  };
  return Commit(
      op,
      [&](Transaction& records) {
        records = op.admitted;
        Begin(op, records);
        if (ends) op.work->Succeeded(op.plan, records);
      },
      ends ? std::function<void(OperationRecord&)>(end) : nullptr);
}

}  // namespace cairn
