// The conductor's short way: what nothing is ahead of, and what is quickly planned, is journalled once
// with its plan, or with its end.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/catalog/commit_outcome.h"
#include "lib/engine/conductor.h"

namespace cairn {

// `op` holds its locks, and nobody knows of it yet.
void Conductor::HandAtOnce(std::shared_ptr<Submission> submission, LivePtr op, int tries_left) {
  auto begin = std::make_shared<AtOnce>();
  begin->submission = std::move(submission);
  begin->op = op;
  begin->tries_left = tries_left;
  begin->since = MonotonicTime::Now();
  op->taken = op->granted = true;
  {
    MutexLock lock(&mutex_);
    planning_.insert(begin);
  }
  Task task;
  task.run = [this, begin](const absl::Status& admitted) {
    if (!admitted.ok()) return DropAtOnce(begin, admitted);
    Counted([&] { BeginAtOnce(begin); });
  };
  task.abandoned = [this, begin](const absl::Status& why) {
    if (Claim(begin, AtOnceState::kRefused)) return Answer(begin->submission, why);
    ShowAbandoned(*begin->op, why);
  };
  absl::Status handed = Hand(op, std::move(task));
  if (!handed.ok()) DropAtOnce(begin, handed);
}

// False when somebody else has.
bool Conductor::Claim(const std::shared_ptr<AtOnce>& begin, AtOnceState state) {
  AtOnceState planning = AtOnceState::kPlanning;
  if (!begin->state.compare_exchange_strong(planning, state)) return false;
  MutexLock lock(&mutex_);
  planning_.erase(begin);
  return true;
}

// The lane does not do it.
void Conductor::DropAtOnce(const std::shared_ptr<AtOnce>& begin, const absl::Status& why) {
  const bool own = Claim(begin, AtOnceState::kRefused);
  if (begin->state == AtOnceState::kQueued) {
    begin->handed = why;
    return ArriveInQueue(begin);
  }
  locks_.Release(begin->op->ticket);
  if (own) Answer(begin->submission, why);
}

void Conductor::BeginAtOnce(const std::shared_ptr<AtOnce>& begin) {
  const LivePtr& op = begin->op;
  const absl::Status planned = MakePlan(*op);
  if (stopping()) {
    return DropAtOnce(begin, Error(Reason::kShuttingDown, "the server is stopping; try again"));
  }
  if (!Claim(begin, AtOnceState::kJournalling)) return DropAtOnce(begin, absl::OkStatus());
  op->planned = planned.ok();
  op->crossed = op->planned && CrossesAtOnce(*op);
  if (op->planned) ShowPlan(*op);
  if (op->planned && BeginsWithFile(op->plan)) return BeginWithFile(begin);
  const bool ends = op->planned && op->plan.steps.empty();
  const absl::Status journalled =
      op->planned ? JournalAtOnce(*op)
                  : Commit(*op, [&](Transaction& records) { records = op->admitted; });
  if (!journalled.ok()) return Retry(*begin, journalled);
  op->journalled = true;
  op->admitted = {};
  if (ends) {
    locks_.Release(op->ticket);
    op->work.reset();  // gives back what it holds
    Answer(begin->submission, Get(op->id));
    LogEnd(*op->Seen(), op->since);
    return FollowUp(*op->Seen(), {op->volume_id}, /*gave_way=*/false);
  }
  AddLive(op);
  Journalled(begin->submission, op);
  if (op->planned) {
    if (absl::Status hit = FailPoint(*op, "planned"); !hit.ok()) return Fail(op, hit);
  }
  Execute(op);
}

// It could not be journalled, and nothing of it is left.
void Conductor::Retry(const AtOnce& begin, const absl::Status& why) {
  locks_.Release(begin.op->ticket);
  if (HasReason(why, Reason::kRevisionMismatch) && begin.tries_left > 0) {
    return AdmitAndJournal(begin.submission, begin.tries_left - 1);
  }
  Answer(begin.submission, Annotate(why, "the operation could not be journalled"));
}

void Conductor::QueueSlowPlans() {
  constexpr absl::Duration kPatience = absl::Milliseconds(200);
  const MonotonicTime now = MonotonicTime::Now();
  std::vector<std::shared_ptr<AtOnce>> slow;
  {
    MutexLock lock(&mutex_);
    for (const auto& begin : planning_) {
      if (now - begin->since >= kPatience) slow.push_back(begin);
    }
  }
  for (const auto& begin : slow) {
    if (Claim(begin, AtOnceState::kQueued)) QueueInstead(begin);
  }
}

// Its lane's thread may still be planning it, and goes on with it when it comes back.
void Conductor::QueueInstead(const std::shared_ptr<AtOnce>& begin) {
  Transaction records = begin->op->admitted;
  records.put_operations.push_back(*begin->op->Seen());
  core_->catalog().Commit(std::move(records), [this, begin](const absl::Status& status) {
    // The thread, which may hang as long as its share, finds nothing to do any more.
    if (!status.ok()) return Retry(*begin, status);
    AddLive(begin->op);
    Journalled(begin->submission, begin->op);
    ArriveInQueue(begin);
  });
}

void Conductor::ArriveInQueue(const std::shared_ptr<AtOnce>& begin) {
  if (begin->arrived.fetch_add(1) == 0) return;
  const LivePtr& op = begin->op;
  op->journalled = true;
  op->admitted = {};
  begin->handed.ok() ? Dispatch(op) : RefuseLater(op, begin->handed);
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
void Conductor::BeginWithFile(const std::shared_ptr<AtOnce>& begin) {
  const LivePtr& op = begin->op;
  auto entry = MakeEntry(*op, [&](Transaction& records) { Begin(*op, records); });
  if (!entry.ok()) return Retry(*begin, entry.status());
  AddLive(op);  // or a scan of the share would take its file for one that was left behind
  auto outcome = std::make_shared<CommitOutcome>();
  core_->catalog().Commit(std::move(entry->records), [this, begin, outcome](absl::Status status) {
    const bool journalled = status.ok();
    outcome->Set(std::move(status));  // first, as the file waits for it
    // No line in the log: that of its end, in a moment, says all.
    if (journalled) Answer(begin->submission, Get(begin->op->id));
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
    return Retry(*begin, status);
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
    RecordEnd(record, OperationState::kSucceeded, absl::OkStatus(), now);
  };
  return Commit(
      op,
      [&](Transaction& records) {
        Begin(op, records);
        if (ends) op.work->Succeeded(op.plan, records);
      },
      ends ? std::function<void(OperationRecord&)>(end) : nullptr);
}

}  // namespace cairn
