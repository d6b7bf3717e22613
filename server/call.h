// A call in hand, whatever its method: who asks, until when, how it ends, and its line in the log.
//
// A call is answered exactly once: by the service, by its cancellation or deadline, or by the
// server when it stops. They race on one flag; only the winner touches gRPC. The object outlives
// the call for whoever still holds it, such as a callback of the engine. Thread-safe.
#ifndef CAIRN_SERVER_CALL_H_
#define CAIRN_SERVER_CALL_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"
#include "server/log.h"

namespace cairn {

// What a call is. Changes and uploads are always logged, the others when debugging; only reads and
// changes can be too slow. Watches are ended as soon as the server stops: they would never end by
// themselves. Downloads and uploads each have a child process and its descriptors.
enum class CallKind { kRead, kChange, kWait, kStream, kWatch, kDownload, kUpload };

struct Method {
  std::string_view name;  // "VolumeService.GetVolume"
  CallKind kind = CallKind::kRead;
};

class CallTable;

class Call : public std::enable_shared_from_this<Call> {
 public:
  // `deadline`: of the caller; infinite when it has none.
  Call(Method method, std::string peer, MonotonicTime deadline);
  virtual ~Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const std::string& peer() const { return peer_; }
  MonotonicTime deadline() const { return deadline_; }
  CallKind kind() const { return method_.kind; }

  // Adds a value to the line in the log; a long one is cut.
  void Note(std::string_view key, std::string_view value);
  // The caller asked for the reply to be held: that long is not slow. False when so many calls are
  // held already that the rest of the places is for short ones.
  bool AllowHold(absl::Duration hold);

  // A message is under way to the caller or is awaited from it. Whoever does not move for too long
  // is ended; see CallTable::AbortStalled.
  void AwaitCaller();
  void CallerMoved();

  // `hook` runs if the call ends without the service's doing: to let go of what works for it. At
  // once if it has ended like that already.
  void OnAbandoned(std::function<void()> hook);
  bool open() const;

  // Ends the call from outside; false when it was answered already.
  bool Abort(const absl::Status& status);
  // The caller has cancelled, has gone, or its deadline has passed.
  void AbortByCaller();

 protected:
  // True for exactly one: who then sends the answer. Logs, and takes the call out of its table.
  // Drops the hook, which may refer back to this call.
  bool Claim(const absl::Status& status);
  // Sends an error; called by the winner.
  virtual void SendError(const absl::Status& status) = 0;

 private:
  friend class CallTable;
  enum class State { kOpen, kAnswered, kAbandoned };

  bool Close(State state, const absl::Status& status, std::function<void()>* hook);
  void Log(const absl::Status& status);

  const Method method_;
  const std::string peer_;
  const MonotonicTime deadline_;
  const MonotonicTime start_;
  CallTable* table_ = nullptr;  // not owned; set when it is added, before anybody else knows it
  mutable Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kOpen;
  absl::Duration hold_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  std::vector<LogField> notes_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> hook_ ABSL_GUARDED_BY(mutex_);
  MonotonicTime caller_awaited_since_ ABSL_GUARDED_BY(mutex_) = MonotonicTime::InfiniteFuture();
};

struct CallLimits {
  int calls_max = 1024;
  // Of downloads and uploads together; of one connection over TCP a quarter of them.
  int transfers_max = 64;
};

// The calls in hand: bounds their number, and ends them when the server stops. A call counts until it
// is answered: gRPC may tell only much later that the answer is out. Those that last, by their kind
// or because their reply is held, may take three quarters of the places: the rest is for short
// ones, so that waiting shuts nobody out. Thread-safe.
class CallTable {
 public:
  explicit CallTable(CallLimits limits) : limits_(limits) {}

  // TOO_MANY_CALLS when there are as many of its kind as may be.
  absl::Status Add(const std::shared_ptr<Call>& call);
  // Ends the calls whose caller has not moved for `limit`: that has taken no message, or sent none.
  void AbortStalled(absl::Duration limit);
  // Ends the calls of these kinds, and refuses those that come later: a stop is final.
  void Abort(const absl::Status& status, const std::vector<CallKind>& kinds);
  int size() const;

 private:
  friend class Call;
  struct Entry {
    std::weak_ptr<Call> call;
    bool lasts = false;
    bool transfers = false;
  };

  void Remove(const Call* call);
  // Counts a call as one that lasts; false when there are too many.
  bool Hold(const Call* call);
  absl::Status CheckTransfers(const std::string& peer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool RoomForLasting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CallLimits limits_;
  mutable Mutex mutex_;
  std::map<const Call*, Entry> calls_ ABSL_GUARDED_BY(mutex_);
  int lasting_ ABSL_GUARDED_BY(mutex_) = 0;
  int transfers_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, int> transfers_by_peer_ ABSL_GUARDED_BY(mutex_);
  std::map<CallKind, absl::Status> refused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_SERVER_CALL_H_
