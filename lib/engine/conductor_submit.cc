// The conductor's front: requests become journalled operations; cancel, look-up, start-up.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/engine/conductor.h"
#include "lib/engine/fields.h"
#include "lib/engine/journal_request.h"

namespace cairn {
namespace {

// A put may lose to another change of the same record; it is looked at anew then. Each time one of those that
// compete gets on, so as many tries are needed as there are of them.
constexpr int kAdmissionTries = 1000;

}  // namespace

Conductor::Conductor(Core* core, Timer* timer)
    : core_(core),
      timer_(timer),
      locks_(
          std::numeric_limits<int>::max()),  // CheckQueue bounds it before the journal is written
      control_({.name = "control", .threads = 2, .queue_max = 1 << 20}),
      machines_(core),
      watchers_(timer, [this](const std::string& id) { return Get(id); }) {}

Conductor::~Conductor() { Stop(absl::ZeroDuration()); }

void Conductor::Submit(Request request, Caller caller, OperationCallback done) {
  auto submission = std::make_shared<Submission>();
  submission->asked = RequestToJson(request);
  submission->request = std::move(request);
  submission->caller = std::move(caller);
  submission->done = std::move(done);
  if (stopping()) {
    submission->done(Error(Reason::kShuttingDown, "the server is stopping; try again"));
    return;
  }
  if (absl::Status checked = CheckRequestId(submission->caller.request_id); !checked.ok()) {
    submission->done(checked);
    return;
  }
  if (AnswerFromRequestId(submission)) return;
  AdmitAndJournal(std::move(submission), kAdmissionTries);
}

// True when the request id is known: the answer is the operation that it made, or comes when that
// is journalled. Whoever asks first is entered before the catalog is looked at: an operation that
// is journalled meanwhile is either still entered here or there already.
bool Conductor::AnswerFromRequestId(const std::shared_ptr<Submission>& submission) {
  const std::string& request_id = submission->caller.request_id;
  if (request_id.empty() || submission->caller.validate_only) return false;
  const auto reused = [&](const std::string& operation_id) {
    return Error(Reason::kRequestIdReused,
                 fmt::format("request_id \"{}\" was used for another request", request_id),
                 {{"request_id", request_id}, {"operation", operation_id}});
  };
  bool same = true;
  {
    MutexLock lock(&mutex_);
    auto& waiting = by_request_id_[request_id];
    const bool first = waiting.empty();
    if (!first) same = waiting.front()->asked == submission->asked;
    if (same) waiting.push_back(submission);
    if (same && !first) return true;
  }
  if (!same) {
    submission->done(reused(""));
    return true;
  }
  auto known = core_->catalog().FindOperationByRequest(request_id);
  if (known.ok() && *known == nullptr) return false;
  if (!known.ok()) {
    Answer(submission, known.status());
  } else if (WasAsked((*known)->request, submission->asked)) {
    Answer(submission, Get((*known)->id));
  } else {
    Answer(submission, reused((*known)->id));
  }
  return true;
}

void Conductor::Answer(const std::shared_ptr<Submission>& submission,
                       absl::StatusOr<OperationPtr> answer) {
  std::vector<std::shared_ptr<Submission>> all{submission};
  const std::string& request_id = submission->caller.request_id;
  if (!request_id.empty() && !submission->caller.validate_only) {
    MutexLock lock(&mutex_);
    auto it = by_request_id_.find(request_id);
    if (it != by_request_id_.end()) {
      all = std::move(it->second);
      by_request_id_.erase(it);
    }
  }
  for (const auto& waiting : all) waiting->done(answer);
}

absl::Status Conductor::CheckQueue(const std::string& volume_id, OperationKind kind) const {
  MutexLock lock(&mutex_);
  auto [begin, end] = by_volume_.equal_range(volume_id);
  for (auto it = begin; it != end; ++it) {
    const LiveOperation& other = *live_.at(it->second);
    if (other.kind != OperationKind::kDeleteVolume || kind == OperationKind::kDeleteVolume)
      continue;
    return Error(
        Reason::kVolumeState,
        fmt::format("volume {} is about to be deleted by operation {}", volume_id, other.id),
        {{"volume", volume_id}, {"state", "DELETING"}, {"operation", other.id}});
  }
  const auto waiting = std::distance(begin, end);
  if (waiting < core_->options().queue_depth_max) return absl::OkStatus();
  return Error(
      Reason::kQueueFull,
      fmt::format("{} operations wait for volume {} already; try again later", waiting, volume_id),
      {{"volume", volume_id}, {"waiting", std::to_string(waiting)}});
}

// What cannot be done now is refused rather than journalled: the caller knows at once.
absl::Status Conductor::CheckShares(const LiveOperation& op) const {
  for (const std::string& address : SharesOf(op)) {
    ASSIGN_OR_RETURN(Share * share, core_->ShareAt(address));
    RETURN_IF_ERROR(share->CheckUsable());
  }
  return absl::OkStatus();
}

// It is admitted. Files that it names are looked at where they would be later.
void Conductor::Validate(const std::shared_ptr<Submission>& submission, const LivePtr& op) {
  if (!op->work->NamesFiles()) return Answer(submission, OperationPtr());
  const auto answer = OnlyOnce<absl::Status>([this, submission](const absl::Status& checked) {
    if (!checked.ok()) return Answer(submission, checked);
    Answer(submission, OperationPtr());
  });
  Task task;
  task.run = [this, op, answer](const absl::Status& admitted) {
    if (!admitted.ok()) return answer(admitted);
    Counted([&] { answer(op->work->CheckFiles()); });
  };
  task.abandoned = answer;
  const absl::Status handed = Hand(op, std::move(task));
  if (!handed.ok()) answer(handed);
}

// On a full disk of the catalog there is still a way to make room, and what leads to it. Only how an
// operation begins is asked for: whatever has begun goes to its end.
Transaction::Room Conductor::RoomOf(OperationKind kind) {
  switch (kind) {
    case OperationKind::kDeleteVolume:
    case OperationKind::kDeleteSnapshot:
    case OperationKind::kDetachVolume:
      return Transaction::Room::kWithReserve;
    default:
      return Transaction::Room::kWithoutReserve;
  }
}

void Conductor::AdmitAndJournal(std::shared_ptr<Submission> submission, int tries_left) {
  if (stopping()) {
    return Answer(submission, Error(Reason::kShuttingDown, "the server is stopping; try again"));
  }
  const std::string id = NewId();
  // Each try starts from the request as it came: admission fills it in.
  auto op = std::make_shared<LiveOperation>();
  op->work = MakeWork(*core_, submission->request, id);
  auto admission = op->work->Admit();
  if (!admission.ok()) return Answer(submission, admission.status());
  if (!admission->same_operation.empty() && !submission->caller.validate_only) {
    auto same = Get(admission->same_operation);
    if (same.ok()) return Answer(submission, std::move(same));  // else it was swept long ago
  }
  op->id = id;
  op->kind = KindOf(submission->request);
  op->volume_id = admission->volume_id;
  // Before anything is made for it; what comes to be so meanwhile is found out by the commit.
  if (RoomOf(op->kind) == Transaction::Room::kWithoutReserve) {
    if (absl::Status room = core_->catalog().room(); !room.ok()) return Answer(submission, room);
  }
  if (!admission->immediate) {
    absl::Status room = CheckQueue(op->volume_id, op->kind);
    if (room.ok()) room = CheckShares(*op);
    if (!room.ok()) return Answer(submission, room);
  }
  if (submission->caller.validate_only) return Validate(submission, op);

  OperationRecord record;
  record.id = id;
  record.kind = op->kind;
  record.volume_id = admission->volume_id;
  record.target = admission->target;
  record.request_id = submission->caller.request_id;
  record.request = ToJournal(record.request_id.empty() ? "" : submission->asked,
                             op->work->request(), admission->locks);
  record.requested_by = submission->caller.requested_by;
  record.create_time = core_->clock().Now();
  record.cancellable = !admission->immediate;
  if (admission->immediate) {
    record.state = OperationState::kSucceeded;
    record.start_time = record.end_time = record.create_time;
    record.request = JournalAtEnd(record.request);
  }
  {
    MutexLock lock(&op->mutex);
    op->record = record;
  }
  if (!admission->immediate && op->work->PlansAtOnce() && SharesOf(*op).size() == 1) {
    if (auto ticket = locks_.TryAcquire(admission->locks); ticket.has_value()) {
      op->ticket = *ticket;
      op->journalled = false;
      op->admitted = std::move(admission->records);
      op->admitted.room = RoomOf(op->kind);
      return HandAtOnce(submission, op, tries_left);
    }
  }
  Transaction transaction = std::move(admission->records);
  transaction.put_operations.push_back(std::move(record));
  transaction.room = RoomOf(op->kind);
  core_->catalog().Commit(
      std::move(transaction), [this, submission, op, locks = admission->locks,
                               immediate = admission->immediate, tries_left](absl::Status status) {
        if (HasReason(status, Reason::kRevisionMismatch) && tries_left > 0) {
          return AdmitAndJournal(submission, tries_left - 1);
        }
        if (!status.ok()) {
          return Answer(submission, Annotate(status, "the operation could not be journalled"));
        }
        if (!immediate) Enqueue(op, locks);
        if (immediate && op->kind == OperationKind::kDetachVolume) WakeDetached(op->volume_id);
        Journalled(submission, op);
        if (immediate) FollowUp(*op->Seen(), {op->volume_id}, /*gave_way=*/false);
      });
}

void Conductor::Journalled(const std::shared_ptr<Submission>& submission, const LivePtr& op) {
  spdlog::info("operation={} kind={} volume={} request_id={} peer={} accepted", op->id,
               OperationKindName(op->kind), op->volume_id, submission->caller.request_id,
               submission->caller.requested_by);
  Answer(submission, Get(op->id));
}

// On the catalog's thread, so that operations stand in the queue in the journal's order.
void Conductor::Enqueue(const LivePtr& op, const std::vector<LockKey>& locks) {
  AddLive(op);
  // `taken` is true until the ticket is known, so that nobody ends the operation without giving it
  // back.
  op->taken = true;
  auto ticket = locks_.Acquire(locks, [this, op](LockQueue::Ticket) {
    op->granted = true;
    if (!op->taken.exchange(true)) Dispatch(op);
  });
  if (ticket.ok()) {
    op->ticket = *ticket;
  } else {
    op->verdict = ticket.status();
    return Resume(op);
  }
  if (!op->granted && op->kind != OperationKind::kMergeLayers) MakeMergesGiveWay(locks);
  op->taken = false;
  const bool go = op->granted || op->cancel.cancelled();
  if (!go || op->taken.exchange(true)) return;
  if (op->granted) return Dispatch(op);
  op->verdict = op->cancel.token().Check();
  Resume(op);
}

void Conductor::AddLive(const LivePtr& op) {
  MutexLock lock(&mutex_);
  live_[op->id] = op;
  by_volume_.emplace(op->volume_id, op->id);
}

void Conductor::RemoveLive(const LiveOperation& op) {
  MutexLock lock(&mutex_);
  live_.erase(op.id);
  auto [begin, end] = by_volume_.equal_range(op.volume_id);
  by_volume_.erase(std::find_if(begin, end, [&](const auto& e) { return e.second == op.id; }));
}

absl::StatusOr<OperationPtr> Conductor::Get(const std::string& operation_id) const {
  if (LivePtr live = FindLive(operation_id); live != nullptr) return live->Seen();
  ASSIGN_OR_RETURN(OperationPtr ended, core_->catalog().FindOperation(operation_id));
  if (ended != nullptr) return ended;
  std::string shown = operation_id.substr(0, 80);
  return Error(Reason::kOperationNotFound, fmt::format("there is no operation {}", shown),
               {{"operation", shown}});
}

LivePtr Conductor::FindLive(const std::string& id) const {
  MutexLock lock(&mutex_);
  auto it = live_.find(id);
  return it == live_.end() ? nullptr : it->second;
}

void Conductor::Cancel(const std::string& operation_id, OperationCallback done) {
  LivePtr op = FindLive(operation_id);
  if (op == nullptr) return done(Get(operation_id));
  bool cancellable = false;
  Show(*op, [&](OperationRecord& record) {
    cancellable = record.cancellable || record.state == OperationState::kCancelling;
    if (cancellable) record.state = OperationState::kCancelling;
  });
  if (!cancellable) {
    return done(
        Error(Reason::kOperationNotCancellable,
              fmt::format("operation {} is past the point where it could be undone; it will "
                          "be finished",
                          operation_id),
              {{"operation", operation_id}, {"volume", op->volume_id}}));
  }
  op->cancel_asked = true;
  op->cancel.Cancel();
  const bool by_consumer = !op->Seen()->instructions.empty();
  if (by_consumer) {
    MutexLock lock(&mutex_);
    op->end_answers.push_back(done);
  }
  // Waiting for its turn or for content: nobody else would carry it to its end.
  if (!op->taken.exchange(true)) {
    if (!op->planned && !op->verdict.has_value()) op->verdict = op->cancel.token().Check();
    Resume(op);
  }
  if (!by_consumer) done(op->Seen());
}

void Conductor::TakeUpUnfinished() {
  std::vector<OperationPtr> unfinished = core_->catalog().UnfinishedOperations();
  // What ran held its locks; what was queued stood behind.
  std::stable_partition(unfinished.begin(), unfinished.end(),
                        [](const OperationPtr& op) { return !op->plan.empty(); });
  for (const OperationPtr& record : unfinished) {
    auto journalled = FromJournal(record->kind, record->request);
    absl::StatusOr<Plan> plan = Plan{};
    if (!record->plan.empty()) plan = PlanFromJson(record->plan);
    if (!journalled.ok() || !plan.ok()) {
      HoldUnreadable(record, !journalled.ok() ? journalled.status() : plan.status());
      continue;
    }
    auto op = std::make_shared<LiveOperation>();
    op->id = record->id;
    op->kind = record->kind;
    op->volume_id = record->volume_id;
    op->work = MakeWork(*core_, std::move(journalled->request), record->id);
    op->recovered = true;
    if (!record->plan.empty()) {
      op->plan = *std::move(plan);
      op->planned = true;
      op->crossed = record->no_return;
      op->next_step = static_cast<size_t>(record->next_step);
      if (op->crossed) op->next_step = std::max(op->next_step, op->plan.no_return);
      op->settled = !op->crossed && op->next_step >= op->plan.settled;
    }
    if (record->state == OperationState::kCancelling) {
      op->cancel_asked = true;
      op->cancel.Cancel();
    }
    if (!record->error.ok()) {
      op->verdict = record->error;  // it was being undone
      op->undoing = !op->crossed;
    }
    {
      MutexLock lock(&op->mutex);
      op->record = *record;
      op->record.running_since = MonotonicTime::Now();
      // It may have been told as done: it is not undone any more because somebody asks for it.
      if (op->planned && IsFoundDone(op->plan)) op->record.cancellable = false;
    }
    spdlog::info("operation={} kind={} volume={} taken up after a restart ({})", op->id,
                 OperationKindName(op->kind), op->volume_id,
                 !op->planned  ? "had not begun"
                 : op->crossed ? "past the point of no return"
                               : "begun");
    Enqueue(op, std::move(journalled->locks));
  }
}

// What one operation was about to do cannot be read: its volume alone is held, until an administrator
// abandons the operation.
void Conductor::HoldUnreadable(const OperationPtr& record, const absl::Status& why) {
  auto op = std::make_shared<LiveOperation>();
  op->id = record->id;
  op->kind = record->kind;
  op->volume_id = record->volume_id;
  op->work = MakeUnreadable(*core_, record->id, record->volume_id, why);
  op->recovered = true;
  op->crossed = true;
  {
    MutexLock lock(&op->mutex);
    op->record = *record;
    op->record.cancellable = false;
  }
  spdlog::error("operation={} kind={} volume={} its journal cannot be read, the volume is held: {}",
                op->id, OperationKindName(op->kind), op->volume_id, Describe(why));
  Enqueue(op, {{op->volume_id, /*exclusive=*/true}});
}

void Conductor::SweepEnded(const RetentionMark& mark) {
  // Few at a time: whoever commits meanwhile waits for as many.
  ListQuery query{.filter = {}, .order_by = {}, .page_size = 200, .page_token = {}};
  do {
    auto page = core_->catalog().ListOperations(query);
    if (!page.ok()) {
      spdlog::error("sweeping ended operations: {}", Describe(page.status()));
      return;
    }
    Transaction transaction;
    for (const OperationPtr& op : page->items) {
      if (op->create_time > mark.created)
        page->next_page_token.clear();  // the rest is younger still
      if (Ended(op->state) && op->revision <= mark.revision)
        transaction.remove_operations.push_back(op->id);
    }
    if (!transaction.remove_operations.empty()) {
      spdlog::debug("sweeping {} ended operations", transaction.remove_operations.size());
      absl::Status swept = core_->catalog().CommitAndWait(std::move(transaction));
      if (!swept.ok()) spdlog::warn("sweeping ended operations: {}", Describe(swept));
    }
    query.page_token = page->next_page_token;
  } while (!query.page_token.empty());
}

}  // namespace cairn
