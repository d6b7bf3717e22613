// The conductor's short way: what nothing is ahead of, and what is quickly planned, is journalled once
// with its plan, or with its end.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/catalog/commit_outcome.h"
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
  op->taken = op->granted = true;
  op->planned = planned.ok();
  op->crossed = op->planned && CrossesAtOnce(*op);
  if (op->planned && BeginsWithFile(op->plan)) return BeginWithFile(submission, op, tries_left);
  const bool ends = planned.ok() && op->plan.steps.empty();
  const absl::Status journalled =
      planned.ok() ? JournalAtOnce(*op)
                   : Commit(*op, [&](Transaction& records) { records = op->admitted; });
  if (!journalled.ok()) return Retry(submission, op, journalled, tries_left);
  op->journalled = true;
  op->admitted = {};
  if (ends) {
    locks_.Release(op->ticket);
    op->work.reset();  // gives back what it holds
    Journalled(submission, op);
    return LogEnd(*op->Seen());
  }
  AddLive(op);
  Journalled(submission, op);
  if (op->planned) {
    if (absl::Status hit = FailPoint(*op, "planned"); !hit.ok()) return Fail(op, hit);
  }
  Execute(op);
}

// It could not be journalled, and nothing of it is left.
void Conductor::Retry(const std::shared_ptr<Submission>& submission, const LivePtr& op,
                      const absl::Status& why, int tries_left) {
  locks_.Release(op->ticket);
  if (HasReason(why, Reason::kRevisionMismatch) && tries_left > 0) {
    return AdmitAndJournal(submission, tries_left - 1);
  }
  Answer(submission, Annotate(why, "the operation could not be journalled"));
}

// A new file under a temporary name means nothing: it may come into being while its plan is on its
// way to the disk. What moves data has other threads.
bool Conductor::BeginsWithFile(const Plan& plan) {
  return !plan.steps.empty() && std::holds_alternative<MakeImageStep>(plan.steps.front()) &&
         plan.no_return > 0 && plan.settled > 0 &&
         std::none_of(plan.steps.begin(), plan.steps.end(), IsBulk);
}

// The file gets its name when the plan is durable. The caller is answered then, too, whatever the
// share does meanwhile.
void Conductor::BeginWithFile(const std::shared_ptr<Submission>& submission, const LivePtr& op,
                              int tries_left) {
  auto entry = MakeEntry(*op, [&](Transaction& records) {
    records = op->admitted;
    Begin(*op, records);
  });
  if (!entry.ok()) return Retry(submission, op, entry.status(), tries_left);
  AddLive(op);  // or a scan of the share would take its file for one that was left behind
  auto outcome = std::make_shared<CommitOutcome>();
  core_->catalog().Commit(std::move(entry->records),
                          [this, submission, op, outcome](absl::Status status) {
                            if (status.ok()) Journalled(submission, op);
                            outcome->Set(std::move(status));
                          });
  std::optional<absl::Status> journalled;
  const auto await = [&]() -> absl::Status {
    if (!journalled.has_value()) journalled = outcome->Wait();
    return *journalled;
  };
  StepContext context = ContextOf(*op, /*cancellable=*/true);
  context.synced_by_next = IsSyncedByNext(op->plan, 0);
  context.before_name = [&]() -> absl::Status {
    RETURN_IF_ERROR(await());
    RETURN_IF_ERROR(FailPoint(*op, "planned"));
    return FailPoint(*op, "step0");
  };
  const absl::Status made = RunStep(op->plan.steps.front(), context);
  if (absl::Status status = await(); !status.ok()) {
    RemoveLive(*op);
    return Retry(submission, op, status, tries_left);
  }
  op->journalled = true;
  op->admitted = {};
  Account(*entry);
  if (!made.ok()) return Fail(op, made);
  op->next_step = 1;
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
