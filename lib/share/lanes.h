// The threads of one share. All work on its files runs here, so that a server that stops answering
// holds up these threads and no others. Thread-safe.
#ifndef CAIRN_LIB_SHARE_LANES_H_
#define CAIRN_LIB_SHARE_LANES_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/exec/executor.h"

namespace cairn {

enum class Lane {
  kFast,     // metadata: headers, maps, names
  kBulk,     // data
  kQuiet,    // at low priority: measuring, comparing with the catalog
  kClosing,  // ending what was given up, which may hang as long as the share does
};

// Most of the time they wait for a sync, and syncs of several at a time are cheaper. More than this
// Linux's NFS client does not have under way to one server either (nfs.max_session_slots). A thread
// starts when there is something for it to do.
inline constexpr int kFastThreads = 64;

class Lanes {
 public:
  explicit Lanes(const std::string& address);

  // QUEUE_FULL, SHUTTING_DOWN.
  absl::Status Submit(Lane lane, Task task);
  // On a lane of its own, so that it runs when all others hang.
  absl::Status SubmitProbe(Task task);

  // The share has stopped answering: whoever waits for a lane is told `why`, on another thread, but
  // for the closing lane, whose work must be done some day. What hangs in the kernel hangs on.
  void Abandon(const absl::Status& why);
  // The same but for the probe lane: a probe has come back, and those behind it need not be told.
  void AbandonWork(const absl::Status& why);

  // On the thread of those who tell of an outage.
  void Tell(std::function<void()> tell);

  // How long the oldest task of the fast lane has been running: metadata work takes milliseconds.
  absl::Duration longest_fast_run() const { return fast_.stats().longest_run; }

  // False when a thread is stuck.
  bool Shutdown(absl::Duration grace);

 private:
  Executor fast_;
  Executor bulk_;
  Executor quiet_;
  Executor closing_;
  Executor probe_;
  Executor
      telling_;  // who is told of an outage does its own work then, such as writing the journal
};

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_LANES_H_
