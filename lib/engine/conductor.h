// Carries operations from their request to their end: admission, order, journal, steps, undo,
// recovery.
//
// An operation's life:
//   Submit -> Admit (memory) -> journalled QUEUED -> its locks are granted -> on the share's lane:
//   MakePlan -> journalled RUNNING with the plan -> each step -> journalled end with the records.
// Where nothing is ahead of it and its plan is quickly made (Work::PlansAtOnce) the first two entries
// are one, and what has no steps is journalled once, ended. What cannot be planned, or not in a moment,
// is journalled as QUEUED all the same, so that it fails, or waits, as an operation.
// The end of what only gave new files their names (IsFoundDone) need not be on the disk when the caller
// is told: a start after a power failure finds it again, and undoes none of it.
// Before the step at plan.no_return the journal says that it can only go forward. A failure before
// that undoes what was done, and the operation has FAILED: nothing has changed. After it there is no
// failure: the operation is parked, with the reason, and tried again with growing pauses and at every
// start, until the cause is gone or an administrator abandons it. So is an undo that fails, and what had
// begun when its share went away. Between the durable steps stand the fail points
// "<kind>.queued", ".planned", ".step<i>", ".disks<i>", ".crossed", ".settled", ".done" and ".ended".
//
// Thread-safe. Nothing here waits for a volume: an operation is a callback in the lock queue
// meanwhile.
#ifndef CAIRN_LIB_ENGINE_CONDUCTOR_H_
#define CAIRN_LIB_ENGINE_CONDUCTOR_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/engine/core.h"
#include "lib/engine/engine.h"
#include "lib/engine/live_operation.h"
#include "lib/engine/machines.h"
#include "lib/engine/operation_watchers.h"
#include "lib/exec/executor.h"
#include "lib/exec/lock_queue.h"
#include "lib/exec/timer.h"

namespace cairn {

class Conductor {
 public:
  Conductor(Core* core, Timer* timer);  // not owned, must outlive this
  ~Conductor();

  void Submit(Request request, Caller caller, OperationCallback done);
  void Cancel(const std::string& operation_id, OperationCallback done);
  void Report(const std::string& operation_id, ConsumerReport report, OperationCallback done);
  void Abandon(const std::string& operation_id, std::string reason, OperationCallback done);
  absl::StatusOr<OperationPtr> Get(const std::string& operation_id) const;
  OperationWatchers& watchers() { return watchers_; }
  LockQueue& locks() { return locks_; }
  Executor& control() { return control_; }
  // Answers those whose planning takes long, as on a share that does not answer: they are journalled
  // without their plan. To be called a few times a second.
  void QueueSlowPlans();

  // Merges, by an operation of its own, the layers of the volume that no snapshot needs, if nobody uses
  // it; later, where that cannot be now. To be called for volumes of which nobody knows, as at start.
  void MergeSurplus(const std::string& volume_id);
  // Whoever has queued for `locks`, and is no operation of this, tells those merges that hold them.
  void MakeMergesGiveWay(const std::vector<LockKey>& locks);

  // Start-up: queues what the journal has unfinished, in its order, before anything new.
  void TakeUpUnfinished();
  // Removes operations that had ended when `mark` was made.
  void SweepEnded(const RetentionMark& mark);

  // Calls `arrived` (once, with an error when it ends before) when the operation waits for its
  // content.
  using ReceiverFn = std::function<void(absl::StatusOr<ReceiveContentStep>)>;
  void OnReceiving(const std::string& operation_id, ReceiverFn arrived);
  void ShowReceived(const std::string& operation_id, int64_t done_bytes, int64_t total_bytes);
  // All content is there and durable: the operation goes on.
  void ContentComplete(const std::string& operation_id);

  // False: a thread is stuck in a question to a machine.
  bool Stop(absl::Duration grace);

 private:
  // A request on its way to the journal.
  struct Submission {
    Request request;
    Caller caller;
    std::string asked;  // the request as JSON, before anything is filled in
    OperationCallback done;
  };
  // What is to be planned before it is journalled. Whoever takes it out of kPlanning answers it.
  enum class AtOnceState {
    kPlanning,
    kJournalling,  // by its lane's thread, which has planned it
    kQueued,       // without its plan, which takes long
    kRefused,
  };
  struct AtOnce {
    std::shared_ptr<Submission> submission;
    LivePtr op;
    int tries_left = 0;
    MonotonicTime since;
    std::atomic<AtOnceState> state{AtOnceState::kPlanning};
    // Of what is queued: its entry in the journal, and the lane's thread. The second goes on.
    std::atomic<int> arrived{0};
    absl::Status handed;  // the lane's answer
  };
  // Of the surplus layers of one volume. What is kBegun is an operation, or about to be one.
  enum class MergeState { kBegun, kPostponed };
  struct Merge {
    MergeState state = MergeState::kPostponed;
    Timer::Id timer = 0;                          // of what was postponed last
    absl::Duration pause = absl::ZeroDuration();  // after the last failure
    int given_up = 0;                             // how many have not come to their end
  };
  enum class MergePause { kUntilFree, kGrowing };
  // kLeft: whoever brings what it waits for carries it on.
  enum class Outcome { kDone, kOtherThreads, kLeft };

  // Admission (conductor_submit.cc).
  bool AnswerFromRequestId(const std::shared_ptr<Submission>& submission);
  void AdmitAndJournal(std::shared_ptr<Submission> submission, int tries_left);
  void Validate(const std::shared_ptr<Submission>& submission, const LivePtr& op);
  void Journalled(const std::shared_ptr<Submission>& submission, const LivePtr& op);
  // For what holds its locks already (conductor_at_once.cc).
  void HandAtOnce(std::shared_ptr<Submission> submission, LivePtr op, int tries_left);
  void DropAtOnce(const std::shared_ptr<AtOnce>& begin, const absl::Status& why);
  void BeginAtOnce(const std::shared_ptr<AtOnce>& begin);
  absl::Status JournalAtOnce(LiveOperation& op);
  static bool BeginsWithFile(const Plan& plan);
  void BeginWithFile(const std::shared_ptr<AtOnce>& begin);
  void Retry(const AtOnce& begin, const absl::Status& why);
  bool Claim(const std::shared_ptr<AtOnce>& begin, AtOnceState state);
  void QueueInstead(const std::shared_ptr<AtOnce>& begin);
  void ArriveInQueue(const std::shared_ptr<AtOnce>& begin);
  void Answer(const std::shared_ptr<Submission>& submission, absl::StatusOr<OperationPtr> answer);
  static Transaction::Room RoomOf(OperationKind kind);
  absl::Status CheckShares(const LiveOperation& op) const;
  absl::Status CheckQueue(const std::string& volume_id, OperationKind kind) const;
  void Enqueue(const LivePtr& op, const std::vector<LockKey>& locks);
  void HoldUnreadable(const OperationPtr& record, const absl::Status& why);
  void AddLive(const LivePtr& op);
  void RemoveLive(const LiveOperation& op);

  // Carrying out (conductor_run.cc).
  void Dispatch(const LivePtr& op);
  absl::Status Hand(const LivePtr& op, Task task);
  void Counted(const std::function<void()>& work);
  void Execute(const LivePtr& op);
  absl::StatusOr<Outcome> Forward(LiveOperation& op);
  absl::Status PlanAndJournal(LiveOperation& op);
  absl::Status MakePlan(LiveOperation& op);
  void ShowPlan(LiveOperation& op);
  void Begin(LiveOperation& op, Transaction& records);
  static bool CrossesAtOnce(const LiveOperation& op);
  absl::StatusOr<Outcome> Steps(LiveOperation& op);
  absl::StatusOr<Outcome> AwaitContent(LiveOperation& op, const ReceiveContentStep& step);
  absl::Status Cross(LiveOperation& op);
  absl::Status Run(LiveOperation& op, const Step& step, bool cancellable,
                   bool synced_by_next = false);
  void Refused(const LivePtr& op, const absl::Status& why);
  void RefuseLater(const LivePtr& op, const absl::Status& why);

  // Ending (conductor_end.cc).
  void Fail(const LivePtr& op, const absl::Status& error);
  void End(const LivePtr& op);
  bool GoesOn(LiveOperation& op, const absl::Status& error);
  bool MayHaveEnded(const LiveOperation& op) const;
  absl::StatusOr<bool> HasWrittenMap(const LiveOperation& op) const;
  absl::Status OrOutage(const LiveOperation& op, const absl::Status& error) const;
  bool IsOutage(const LiveOperation& op, const absl::Status& error) const;
  absl::Status Undo(LiveOperation& op);
  void Conclude(const LivePtr& op);
  static void RecordEnd(OperationRecord& record, OperationState state, const absl::Status& verdict,
                        absl::Time now);
  static void LogEnd(const OperationRecord& ended, MonotonicTime since);

  // What cannot go on now (conductor_park.cc).
  void Park(const LivePtr& op, const absl::Status& why);
  absl::Duration NextPause(LiveOperation& op, const absl::Status& why) const;
  void Unpark(LiveOperation& op);
  bool AbandonIfAsked(const LivePtr& op);

  // Merges that nobody has asked for (conductor_merge.cc).
  void PostponeMerge(const std::string& volume_id, MergePause pause);
  void ForgetMerge(const std::string& volume_id);
  void FollowUp(const OperationRecord& ended, const std::vector<std::string>& volumes,
                bool gave_way);
  bool IsMergeAgain(const LiveOperation& op) const;
  bool IsAwaitedMerge(const LiveOperation& op) const;
  void GiveWayIfAwaited(LiveOperation& op) const;

  // Of both.
  void Resume(const LivePtr& op);  // on the control executor
  std::set<std::string> SharesOf(const LiveOperation& op) const;
  // What goes into the journal at once, and the volumes in it as they were.
  struct Entry {
    Transaction records;
    std::map<std::string, VolumePtr> before;
  };
  absl::StatusOr<Entry> MakeEntry(LiveOperation& op, const std::function<void(Transaction&)>& fill,
                                  const std::function<void(OperationRecord&)>& change = {}) const;
  void Account(const Entry& entry) const;
  absl::Status Commit(LiveOperation& op, const std::function<void(Transaction&)>& fill,
                      const std::function<void(OperationRecord&)>& change = {});
  absl::Status FailPoint(const LiveOperation& op, std::string_view place) const;
  StepContext ContextOf(LiveOperation& op, bool cancellable);
  void Show(LiveOperation& op, const std::function<void(OperationRecord&)>& change);
  void ShowAbandoned(LiveOperation& op, const absl::Status& why);
  void ShowProgress(LiveOperation& op, int64_t done_bytes, int64_t total_bytes);

  // Disks in use (conductor_disks.cc).
  bool ChangesThreads(LiveOperation& op, const Step& step);
  absl::StatusOr<std::optional<Outcome>> OnDisks(LiveOperation& op, const Step& step);
  absl::Status RecordDone(LiveOperation& op, const ChangeDisksStep& step);
  absl::Status Settle(LiveOperation& op);
  bool NothingChanged(const LiveOperation& op, const absl::Status& error) const;
  absl::Status GiveUp(LiveOperation& op, const absl::Status& error);
  absl::Status FinishDetached(LiveOperation& op, const ChangeDisksStep& step);
  absl::Status FinishMerge(LiveOperation& op, const std::string& share, const LayerMerge& merge);
  absl::Status FinishResize(LiveOperation& op, const std::string& share, const DiskResize& resize);
  absl::StatusOr<std::optional<Outcome>> AwaitConsumer(LiveOperation& op,
                                                       const ChangeDisksStep& step);
  // Carries on what waits for a consumer of that volume: it may have nobody to wait for any more.
  void WakeDetached(const std::string& volume_id);
  absl::StatusOr<std::optional<Outcome>> TakeReport(LiveOperation& op, const ChangeDisksStep& step);
  void AnswerAtEnd(LiveOperation& op);
  void AnswerReport(LiveOperation& op);
  void RejectReport(LiveOperation& op, const absl::Status& why);
  absl::Status LooksDone(LiveOperation& op, const ChangeDisksStep& step);
  absl::Status HasSize(const std::string& volume_id, const std::string& share,
                       const std::string& file, int64_t size_bytes) const;

  LivePtr FindLive(const std::string& id) const;
  bool stopping() const { return stopping_.load(); }

  Core* const core_;
  Timer* const timer_;
  LockQueue locks_;
  Executor control_;  // work that needs no share
  Machines machines_;
  OperationWatchers watchers_;
  std::atomic<bool> stopping_{false};

  mutable Mutex mutex_;
  std::map<std::string, LivePtr> live_ ABSL_GUARDED_BY(mutex_);
  std::multimap<std::string, std::string> by_volume_
      ABSL_GUARDED_BY(mutex_);  // volume -> operation
  std::map<std::string, std::vector<std::shared_ptr<Submission>>> by_request_id_
      ABSL_GUARDED_BY(mutex_);  // being journalled
  std::map<std::string, ReceiverFn> receivers_ ABSL_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<AtOnce>> planning_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Merge> merges_ ABSL_GUARDED_BY(mutex_);  // by volume
  int executing_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_CONDUCTOR_H_
