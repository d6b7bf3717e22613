// An operation that has not ended, with what it needs while it runs.
#ifndef CAIRN_LIB_ENGINE_LIVE_OPERATION_H_
#define CAIRN_LIB_ENGINE_LIVE_OPERATION_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/cancel.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"
#include "lib/catalog/records.h"
#include "lib/chain/plan.h"
#include "lib/engine/work.h"
#include "lib/exec/lock_queue.h"
#include "lib/share/share.h"

namespace cairn {

struct LiveOperation : std::enable_shared_from_this<LiveOperation> {
  // Never changes.
  std::string id;
  OperationKind kind = OperationKind::kCreateVolume;
  std::string volume_id;
  const MonotonicTime since = MonotonicTime::Now();

  // Only the thread that carries it out touches these; one does at a time, because it is dispatched
  // again only after it was left.
  std::unique_ptr<Work> work;
  bool journalled = true;  // else it is planned before its first entry in the journal,
  Transaction admitted;    // with which this appears
  Plan plan;
  bool planned = false;
  size_t next_step = 0;
  bool crossed = false;    // the point of no return is behind
  bool recovered = false;  // taken up after a restart
  bool parked = false;     // a step failed and is tried again, or will be
  int tries = 0;           // of the step at hand that failed
  bool changed = false;    // the step at hand may have changed what cannot be brought back
  bool settled = false;    // Plan::settled is reached
  Lane lane = Lane::kFast;
  // Of steps on disks in use.
  bool on_disks = false;             // it belongs to the threads that ask machines
  bool detached = false;             // the step at hand is to be done without the machine
  bool merged = false;               // the machine says so, the headers are still to be looked at
  bool asked = false;                // a machine may have been told to change something
  bool refused_by_consumer = false;  // it said that it did nothing
  int looks = 0;                     // at the job at hand, so far
  int begins = 0;                    // of the job at hand
  // Set once it can only end: undone first if `undoing`, then recorded with this error (OK:
  // success).
  std::optional<absl::Status> verdict;
  bool abandoned = false;    // the verdict is an administrator's: nothing is undone
  OperationCallback answer;  // of a consumer's report, once the journal has what it said
  bool undoing = false;

  // Set when it waits for content; guarded by the conductor's mutex.
  std::optional<ReceiveContentStep> receiving;
  bool has_sender = false;  // also guarded by it
  // A consumer's answer that has not been looked at; also guarded by it.
  struct Reported {
    ConsumerReport report;
    OperationCallback accepted;
  };
  std::optional<Reported> reported;
  // Who asked to cancel what waits for its consumer, or to abandon it: told once that is durable. Also
  // guarded by it.
  std::vector<OperationCallback> end_answers;
  // Why an administrator wants it abandoned. Also guarded by it.
  std::optional<std::string> abandon_reason;

  CancelSource cancel;
  std::atomic<bool> cancel_asked{false};  // by a user; a stopping server also uses `cancel`
  std::atomic<bool> content_complete{false};
  // Whoever sets it to true carries it on: from the lock queue or from a wait for content, but only
  // one.
  std::atomic<bool> taken{false};
  std::atomic<bool> granted{false};  // its locks are
  std::atomic<LockQueue::Ticket> ticket{0};

  mutable Mutex mutex;
  // As users see it, with live progress.
  OperationRecord record ABSL_GUARDED_BY(mutex);
  int64_t earlier_bytes ABSL_GUARDED_BY(mutex) = 0;  // of the steps before this one
  MonotonicTime last_notice ABSL_GUARDED_BY(mutex);

  OperationPtr Seen() const {
    MutexLock lock(&mutex);
    return std::make_shared<const OperationRecord>(record);
  }
};

using LivePtr = std::shared_ptr<LiveOperation>;

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_LIVE_OPERATION_H_
