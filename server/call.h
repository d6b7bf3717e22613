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

// What a call is. Changes are always logged, the others when debugging; only reads and changes can
// be too slow. Watches are ended as soon as the server stops: they would never end by themselves.
enum class CallKind { kRead, kChange, kWait, kStream, kWatch };

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
  // The caller asked for the reply to be held: that long is not slow.
  void AllowHold(absl::Duration hold);

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
};

// The calls in hand: bounds their number, and ends them when the server stops. A call counts until it
// is answered: gRPC may tell only much later that the answer is out. Thread-safe.
class CallTable {
 public:
  explicit CallTable(int calls_max) : calls_max_(calls_max) {}

  // TOO_MANY_CALLS when there are as many as may be.
  absl::Status Add(const std::shared_ptr<Call>& call);
  // Ends the calls of these kinds, and refuses those that come later: a stop is final.
  void Abort(const absl::Status& status, const std::vector<CallKind>& kinds);
  int size() const;

 private:
  friend class Call;
  void Remove(const Call* call);

  const int calls_max_;
  mutable Mutex mutex_;
  std::map<const Call*, std::weak_ptr<Call>> calls_ ABSL_GUARDED_BY(mutex_);
  std::map<CallKind, absl::Status> refused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_SERVER_CALL_H_
