// The conductor's back: how an operation is carried out.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "lib/base/failpoint.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/engine/conductor.h"
#include "lib/engine/surplus_layers.h"

namespace cairn {
namespace {

constexpr absl::Duration kNoticePeriod = absl::Milliseconds(200);

}  // namespace

absl::Status Conductor::FailPoint(const LiveOperation& op, std::string_view place) const {
  return HitFailPoint(
      fmt::format("{}.{}", absl::AsciiStrToLower(std::string(OperationKindName(op.kind))), place));
}

// Changes the record that users see, and tells who watches.
void Conductor::Show(LiveOperation& op, const std::function<void(OperationRecord&)>& change) {
  OperationPtr seen;
  {
    MutexLock lock(&op.mutex);
    change(op.record);
    op.last_notice = MonotonicTime::Now();
    seen = std::make_shared<const OperationRecord>(op.record);
  }
  watchers_.Notify(seen);
}

// Commits changes of records together with the operation's own record; again when a record has
// changed meanwhile (a name or label may be updated at any time). What `change` makes of the
// operation's record is seen once it is durable, not before.
absl::Status Conductor::Commit(LiveOperation& op, const std::function<void(Transaction&)>& fill,
                               const std::function<void(OperationRecord&)>& change) {
  constexpr int kTries = 100;
  absl::Status status;
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(Entry entry, MakeEntry(op, fill, change));
    status = core_->catalog().CommitAndWait(std::move(entry.records));
    if (status.ok()) Account(entry);
    if (!HasReason(status, Reason::kRevisionMismatch)) break;
    if (!op.journalled) break;  // it is to be admitted anew
  }
  if (status.ok() && change) {
    MutexLock lock(&op.mutex);
    change(op.record);
  }
  return status;
}

absl::StatusOr<Conductor::Entry> Conductor::MakeEntry(
    LiveOperation& op, const std::function<void(Transaction&)>& fill,
    const std::function<void(OperationRecord&)>& change) const {
  Entry entry;
  fill(entry.records);
  for (VolumeRecord& volume : entry.records.put_volumes) {
    volume.surplus_layers = SurplusLayers(core_->catalog(), volume, entry.records);
  }
  if (!op.journalled) entry.records.room = RoomOf(op.kind);
  OperationPtr present;
  if (op.journalled) {
    ASSIGN_OR_RETURN(present, core_->catalog().FindOperation(op.id));
  }
  {
    MutexLock lock(&op.mutex);
    if (present != nullptr) op.record.revision = present->revision;
    entry.records.put_operations.push_back(op.record);
  }
  if (change) change(entry.records.put_operations.back());
  entry.before[op.volume_id] = nullptr;
  for (const VolumeRecord& volume : entry.records.put_volumes) entry.before[volume.id] = nullptr;
  for (auto& [id, volume] : entry.before) volume = core_->catalog().FindVolume(id);
  return entry;
}

void Conductor::Account(const Entry& entry) const {
  for (const auto& [id, volume] : entry.before) {
    core_->Account(volume, core_->catalog().FindVolume(id));
  }
}

// To the threads on which it belongs.
absl::Status Conductor::Hand(const LivePtr& op, Task task) {
  if (op->on_disks) return machines_.executor().Submit(std::move(task));
  const std::set<std::string> addresses = SharesOf(*op);
  if (addresses.empty()) return control_.Submit(std::move(task));
  if (addresses.size() == 1) {
    ASSIGN_OR_RETURN(Share * share, core_->ShareAt(*addresses.begin()));
    return share->Submit(op->lane, std::move(task));
  }
  for (const std::string& address : addresses) {
    ASSIGN_OR_RETURN(Share * share, core_->ShareAt(address));
    RETURN_IF_ERROR(share->CheckUsable());
    task = share->Guarded(std::move(task));
  }
  return core_->Between(addresses).Submit(std::move(task));
}

// Those that it works on: as far as is known before it is planned, then as planned.
std::set<std::string> Conductor::SharesOf(const LiveOperation& op) const {
  std::set<std::string> addresses = op.planned ? cairn::SharesOf(op.plan) : std::set<std::string>();
  addresses.insert(op.work->HomeShare());
  if (!op.planned) addresses.merge(op.work->OtherShares());
  addresses.erase("");
  return addresses;
}

void Conductor::Dispatch(const LivePtr& op) {
  if (stopping()) return;  // the journal has it
  Task task;
  task.run = [this, op](const absl::Status& admitted) {
    if (stopping() || HasReason(admitted, Reason::kShuttingDown)) return;
    if (admitted.ok()) return Counted([&] { Execute(op); });
    Refused(op, admitted);
  };
  task.abandoned = [this, op](const absl::Status& why) { ShowAbandoned(*op, why); };
  absl::Status handed = Hand(op, std::move(task));
  if (handed.ok() || HasReason(handed, Reason::kShuttingDown)) return;
  RefuseLater(op, handed);
}

// Not on this thread, which may be the catalog's: to fail is to commit.
void Conductor::RefuseLater(const LivePtr& op, const absl::Status& why) {
  control_
      .Submit({.run =
                   [this, op, why](const absl::Status& admitted) {
                     if (admitted.ok()) Refused(op, why);
                   }})
      .IgnoreError();  // refused only while stopping: the journal has it
}

// Its share, or its share's lane, does not take it now. What had begun waits for it; the rest fails.
// Touches no file, since it runs on threads that must not hang.
void Conductor::Refused(const LivePtr& op, const absl::Status& why) {
  RejectReport(*op, why);
  if (op->verdict.has_value() || op->planned) return Park(op, why);
  Fail(op, why);
}

void Conductor::Resume(const LivePtr& op) {
  control_
      .Submit({.run =
                   [this, op](const absl::Status& admitted) {
                     if (!admitted.ok()) return;
                     const bool touches_no_file = !op->planned || op->abandoned;
                     if (op->verdict.has_value() && touches_no_file) return Conclude(op);
                     Dispatch(op);
                   }})
      .IgnoreError();  // refused only while stopping: the journal has it
}

// A stopping server waits for it.
void Conductor::Counted(const std::function<void()>& work) {
  {
    MutexLock lock(&mutex_);
    ++executing_;
  }
  work();
  MutexLock lock(&mutex_);
  --executing_;
}

void Conductor::Execute(const LivePtr& op) {
  if (op->verdict.has_value()) return End(op);
  auto outcome = Forward(*op);
  if (!outcome.ok()) {
    Fail(op, outcome.status());
  } else if (*outcome == Outcome::kDone) {
    op->verdict = absl::OkStatus();
    End(op);
  } else if (*outcome == Outcome::kOtherThreads) {
    Dispatch(op);
  }
}

absl::StatusOr<Conductor::Outcome> Conductor::Forward(LiveOperation& op) {
  if (!op.planned) {
    RETURN_IF_ERROR(op.cancel.token().Check());
    if (op.recovered && op.kind == OperationKind::kImportVolume) {
      return Error(Reason::kInterrupted, "the server was restarted before the content had come");
    }
    RETURN_IF_ERROR(PlanAndJournal(op));
  }
  const bool bulk = std::any_of(op.plan.steps.begin(), op.plan.steps.end(), IsBulk);
  if (bulk && op.lane == Lane::kFast) {
    op.lane = Lane::kBulk;
    return Outcome::kOtherThreads;
  }
  return Steps(op);
}

absl::Status Conductor::PlanAndJournal(LiveOperation& op) {
  RETURN_IF_ERROR(MakePlan(op));
  ShowPlan(op);
  // A cancel that came while this was planned: from here on it could not be told any more.
  RETURN_IF_ERROR(op.cancel.token().Check());
  RETURN_IF_ERROR(Commit(op, [&](Transaction& records) { Begin(op, records); }));
  op.planned = true;
  op.crossed = CrossesAtOnce(op);
  return FailPoint(op, "planned");
}

bool Conductor::CrossesAtOnce(const LiveOperation& op) {
  return op.plan.no_return == 0 && !op.plan.steps.empty();
}

// What becomes durable together with the plan: of what was not journalled before, all that it brings.
void Conductor::Begin(LiveOperation& op, Transaction& records) {
  records = op.admitted;
  op.work->Began(records);
  if (CrossesAtOnce(op)) op.work->Crossed(op.plan, records);
}

absl::Status Conductor::MakePlan(LiveOperation& op) {
  RETURN_IF_ERROR(FailPoint(op, "queued"));
  auto plan = op.work->MakePlan();
  if (absl::IsNotFound(plan.status()) || absl::IsDataLoss(plan.status())) {
    return OrOutage(op, plan.status());
  }
  RETURN_IF_ERROR(plan.status());
  op.plan = *std::move(plan);
  return absl::OkStatus();
}

void Conductor::ShowPlan(LiveOperation& op) {
  const bool crosses_at_once = CrossesAtOnce(op);
  Show(op, [&](OperationRecord& record) {
    record.state =
        record.state == OperationState::kCancelling ? record.state : OperationState::kRunning;
    record.start_time = core_->clock().Now();
    record.running_since = MonotonicTime::Now();
    record.plan = PlanToJson(op.plan);
    record.no_return = crosses_at_once;
    record.cancellable = !crosses_at_once;
  });
}

absl::StatusOr<Conductor::Outcome> Conductor::Steps(LiveOperation& op) {
  for (; op.next_step < op.plan.steps.size(); ++op.next_step) {
    const Step& step = op.plan.steps[op.next_step];
    if (ChangesThreads(op, step)) return Outcome::kOtherThreads;
    if (op.crossed && op.next_step == op.plan.settled) RETURN_IF_ERROR(Settle(op));
    if (!op.crossed && op.next_step == op.plan.no_return) RETURN_IF_ERROR(Cross(op));
    GiveWayIfAwaited(op);
    if (!op.crossed) RETURN_IF_ERROR(op.cancel.token().Check());
    if (op.looks == 0) RETURN_IF_ERROR(FailPoint(op, fmt::format("step{}", op.next_step)));
    if (IsOnDisks(step)) {
      ASSIGN_OR_RETURN(std::optional<Outcome> outcome, OnDisks(op, step));
      if (outcome.has_value()) return *outcome;
      Unpark(op);
      continue;
    }
    if (const auto* receive = std::get_if<ReceiveContentStep>(&step);
        receive != nullptr && !op.content_complete) {
      if (op.recovered) {
        return Error(Reason::kInterrupted, "the server was restarted before the content had come");
      }
      return AwaitContent(op, *receive);
    }
    RETURN_IF_ERROR(
        Run(op, step, /*cancellable=*/!op.crossed, IsSyncedByNext(op.plan, op.next_step)));
    Unpark(op);
  }
  RETURN_IF_ERROR(FailPoint(op, "done"));
  return Outcome::kDone;
}

// Leaves the thread: whoever brings the content, or cancels, carries the operation on.
absl::StatusOr<Conductor::Outcome> Conductor::AwaitContent(LiveOperation& op,
                                                           const ReceiveContentStep& step) {
  Show(op, [&](OperationRecord& record) { record.step = DescribeStep(step); });
  ReceiverFn arrived;
  {
    MutexLock lock(&mutex_);
    op.receiving = step;
    if (auto it = receivers_.find(op.id); it != receivers_.end()) {
      arrived = std::move(it->second);
      receivers_.erase(it);
    }
  }
  op.taken = false;
  // A cancel between the last check and here did not see it as waiting.
  if (op.cancel.cancelled() && !op.taken.exchange(true)) {
    if (arrived) arrived(op.cancel.token().Check());
    return op.cancel.token().Check();
  }
  if (arrived) arrived(step);
  return Outcome::kLeft;
}

absl::Status Conductor::Cross(LiveOperation& op) {
  bool cancelled = false;
  Show(op, [&](OperationRecord& record) {
    cancelled = record.state == OperationState::kCancelling;
    if (cancelled) return;
    record.no_return = true;
    record.cancellable = false;
  });
  if (cancelled) return op.cancel.token().Check();
  if (absl::Status status = Commit(op, [&](Transaction& t) { op.work->Crossed(op.plan, t); });
      !status.ok()) {
    Show(op, [](OperationRecord& record) {
      record.no_return = false;
      record.cancellable = true;
    });
    return status;
  }
  op.crossed = true;
  return FailPoint(op, "crossed");
}

StepContext Conductor::ContextOf(LiveOperation& op, bool cancellable) {
  StepContext context;
  context.files = &core_->files();
  context.tool = &core_->tool();
  context.directory_of = [this](const std::string& share) { return core_->DirectoryOf(share); };
  context.abilities_of = [this](const std::string& share) { return core_->AbilitiesOf(share); };
  std::string pool_name;
  if (VolumePtr volume = core_->catalog().FindVolume(op.volume_id); volume != nullptr) {
    pool_name = volume->pool;
  } else if (!op.admitted.put_volumes.empty()) {
    pool_name = op.admitted.put_volumes.front().pool;
  }
  auto pool = core_->PoolNamed(pool_name);
  if (pool.ok()) {
    context.permissions = core_->PermissionsOf(**pool);
    context.preallocate_metadata = (*pool)->options().qcow2_preallocation_metadata;
  }
  context.operation_id = op.id;
  if (cancellable) context.cancel = op.cancel.token();
  context.progress = [this, &op](int64_t done, int64_t total) { ShowProgress(op, done, total); };
  return context;
}

void Conductor::ShowAbandoned(LiveOperation& op, const absl::Status& why) {
  Show(op, [&](OperationRecord& record) {
    record.step =
        fmt::format("waiting for the share, which may come back: {}", ToStd(why.message()));
  });
}

void Conductor::ShowProgress(LiveOperation& op, int64_t done, int64_t total) {
  OperationPtr seen;
  {
    MutexLock lock(&op.mutex);
    op.record.done_bytes = op.earlier_bytes + done;
    op.record.total_bytes = op.earlier_bytes + total;
    const MonotonicTime now = MonotonicTime::Now();
    if (now - op.last_notice < kNoticePeriod) return;
    op.last_notice = now;
    seen = std::make_shared<const OperationRecord>(op.record);
  }
  watchers_.Notify(seen);
}

absl::Status Conductor::Run(LiveOperation& op, const Step& step, bool cancellable,
                            bool synced_by_next) {
  Show(op, [&](OperationRecord& record) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    record.step = DescribeStep(step);
    op.earlier_bytes = record.done_bytes;  // Show holds the mutex
  });
  StepContext context = ContextOf(op, cancellable);
  context.synced_by_next = synced_by_next;
  context.prepared =
      !op.undoing && &step == &op.plan.steps[op.next_step] && IsPrepared(op.plan, op.next_step);
  context.again = op.recovered || op.parked || op.undoing || IsMergeAgain(op);
  op.changed = false;
  context.changed = &op.changed;
  absl::Status status = RunStep(step, context);
  return status.ok() || absl::IsUnavailable(status) ? status : OrOutage(op, status);
}

// What a step misses may be all of its share: an outage then, not the loss of a file.
absl::Status Conductor::OrOutage(const LiveOperation& op, const absl::Status& error) const {
  for (const std::string& address : SharesOf(op)) {
    auto share = core_->ShareAt(address);
    if (!share.ok()) continue;
    (*share)->RefreshCapacity().IgnoreError();  // the share keeps its own state
    if (absl::Status usable = (*share)->CheckUsable(); !usable.ok()) {
      return Annotate(usable, std::string(error.message()));
    }
  }
  return error;
}

void Conductor::OnReceiving(const std::string& operation_id, ReceiverFn arrived) {
  LivePtr op = FindLive(operation_id);
  std::optional<ReceiveContentStep> step;
  bool busy = false;
  {
    MutexLock lock(&mutex_);
    if (live_.count(operation_id) == 0) {
      op = nullptr;
    } else if (std::exchange(op->has_sender, true)) {
      busy = true;
    } else if (op->receiving.has_value()) {
      step = op->receiving;
    } else {
      receivers_[operation_id] = std::move(arrived);
      return;
    }
  }
  if (step.has_value()) return arrived(*step);
  if (busy) {
    return arrived(Error(Reason::kQueueFull, "another stream is uploading this volume",
                         {{"operation", operation_id}, {"volume", op->volume_id}}));
  }
  auto ended = Get(operation_id);
  arrived(!ended.ok()            ? ended.status()
          : (*ended)->error.ok() ? Error(Reason::kInternal, "the operation awaits no content")
                                 : (*ended)->error);
}

void Conductor::ShowReceived(const std::string& operation_id, int64_t done, int64_t total) {
  if (LivePtr op = FindLive(operation_id); op != nullptr) ShowProgress(*op, done, total);
}

void Conductor::ContentComplete(const std::string& operation_id) {
  LivePtr op = FindLive(operation_id);
  if (op == nullptr) return;
  op->content_complete = true;
  if (!op->taken.exchange(true)) Resume(op);
}

bool Conductor::Stop(absl::Duration grace) {
  const auto idle_until = [this](MonotonicTime until) {
    while (MonotonicTime::Now() < until) {
      {
        MutexLock lock(&mutex_);
        if (executing_ == 0) return;
      }
      absl::SleepFor(absl::Milliseconds(5));
    }
  };
  if (stopping_.exchange(true)) return true;
  idle_until(MonotonicTime::Now() + grace);
  std::vector<LivePtr> left;
  {
    MutexLock lock(&mutex_);
    for (const auto& [id, op] : live_) left.push_back(op);
  }
  for (const LivePtr& op : left) op->cancel.Cancel();
  core_->catalog().AnswerDoubts();
  constexpr absl::Duration kInterruptTime = absl::Seconds(5);  // a child gets 2 s before SIGKILL
  idle_until(MonotonicTime::Now() + kInterruptTime);
  // The catalog answers in order: after this, no answer to an earlier submission is on its way
  // here.
  core_->catalog().CommitAndWait({}).IgnoreError();
  control_.Shutdown(absl::Seconds(1));
  constexpr absl::Duration kMachineGrace = absl::Seconds(2);
  return machines_.executor().Shutdown(kMachineGrace);
}

}  // namespace cairn
