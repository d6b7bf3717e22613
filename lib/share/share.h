// One share: where it is mounted, how it feels, how much room it has, and the lanes on which all work
// on its files runs. Thread-safe.
#ifndef CAIRN_LIB_SHARE_SHARE_H_
#define CAIRN_LIB_SHARE_SHARE_H_

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/cancel.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"
#include "lib/share/lanes.h"
#include "lib/share/mounter.h"
#include "lib/share/owner_lock.h"
#include "lib/share/share_health.h"
#include "lib/share/share_identity.h"
#include "lib/share/share_status.h"
#include "lib/share/shares_file.h"

namespace cairn {

struct ProbeOptions {
  absl::Duration period = absl::Seconds(5);   // between the end of a probe and the next
  absl::Duration timeout = absl::Seconds(2);  // a probe that takes longer: UNREACHABLE
};

class Share {
 public:
  using System = ShareSystem;
  Share(ShareSpec spec, MountOptions options, System system, ProbeOptions probe = {});
  // Ends what runs: stops a mount, waits for the lanes (unless Shutdown gave up on them before).
  ~Share();
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

  // The spec in force; stays valid, though not current, when the options change.
  const ShareSpec& spec() const;
  const std::string& address() const { return address_; }
  // Where its files are: the mount point, or the directory of file://.
  const std::string& directory() const { return directory_; }

  ShareStatus status() const { return health_->status(); }

  // OK, or UNAVAILABLE (SHARE_UNAVAILABLE) with share, since and last error. Cheap: no system call.
  absl::Status CheckUsable() const { return health_->CheckUsable(); }

  // Runs `task` on a lane. UNAVAILABLE at once when the share is not usable (unless
  // `even_if_down`). Just before the task runs, its thread looks at the share's root: when the share
  // became unusable meanwhile, or the directory of file:// is another one, the task is told
  // UNAVAILABLE instead; when the mount is lost (a file written now would land in the bare mount
  // point), the task is held until it is restored. With `even_if_down` that look is left out. When
  // the share is found dead, tasks that wait are told so, and those that hang are abandoned
  // (Task::abandoned).
  absl::Status Submit(Lane lane, Task task, bool even_if_down = false);

  // The same look, for a task that runs on other threads than this share's (between two shares); it is
  // told UNAVAILABLE in all these cases.
  Task Guarded(Task task) const;

  // Looks after the share; to be called several times a second, and cheap: begins a probe when one
  // is due, or when metadata work takes suspiciously long, and gives the verdict on one that does
  // not come back.
  void Tend();
  // Mounts if need be and probes, on the share's probe lane; then, or at the verdict on a probe that
  // hangs, calls `done` (which may be empty).
  void StartProbe(std::function<void(absl::Status)> done);
  // The same on this thread: blocking. While one probe runs (or hangs) another returns at once with
  // what is known, so that probes of a dead server take one thread, not all.
  absl::Status Probe();

  // Takes what lies there as the share from now on, whatever is recorded of it, and probes it; on the
  // probe lane. `done` gets what the probe found.
  void Accept(std::function<void(absl::Status)> done);

  // Asks for the physical figures again (blocking, one statvfs). To be called by work that really
  // allocated, before it gives its reservation back: until the next probe the figures would show
  // the room that it took as free.
  absl::Status RefreshCapacity();
  // Measures allocated_bytes by walking the share (blocking, for the quiet lane).
  absl::Status MeasureAllocated();
  // Keeps allocated_bytes up to date as work is done.
  void AddAllocated(int64_t delta_bytes) { health_->AddAllocated(delta_bytes); }

  void SetDraining(bool draining) { health_->SetDraining(draining); }
  bool draining() const { return health_->draining(); }
  // Options that hold from the next mount on; the address must be the same.
  void SetSpec(ShareSpec spec);
  // The pool no longer has it: mounts no more, gives up its lock and unmounts, on the probe lane. To be
  // called again and again until it returns true; the first failure, such as a consumer on this host
  // that still uses it, is logged.
  bool Retire();
  // Stops a mount that runs, then the lanes, and gives up the lock on the share. False when a thread
  // is stuck; its tasks must then be taken to run still, and what they use must stay.
  bool Shutdown(absl::Duration grace);
  // After a Shutdown that went well: unmounts (nothing to do for a directory). Blocking.
  absl::Status Unmount();

 private:
  absl::StatusOr<ProbeReport> Examine();
  absl::Status EnsureMounted();
  // What it can do by itself, when it is not known yet; a problem that leaves it usable in `report`.
  absl::Status ExamineWriting(ProbeReport& report);
  // With the lock on it: what is to be known of it, and left on it.
  absl::Status Settle(ProbeReport& report);
  // The last mark, when all work on it has ended.
  void LeaveMark(absl::Duration grace);
  void SetUnreachable(const absl::Status& error);
  Task Guarded(Task task, std::optional<Lane> lane) const;
  // Tasks that wait for the mount.
  bool HasHeld() const;
  void ReleaseHeld(const absl::Status& probed);

  const std::string address_;
  const std::string directory_;
  const bool is_directory_;  // taken as it is, never mounted
  const System system_;
  const ProbeOptions probe_options_;
  const std::shared_ptr<ShareHealth> health_;
  // Tasks that found the mount lost.
  struct Held {
    Mutex mutex;
    std::vector<std::pair<Lane, Task>> tasks ABSL_GUARDED_BY(mutex);
  };
  const std::shared_ptr<Held> held_ = std::make_shared<Held>();
  Mounter mounter_;
  OwnerLock owner_;                                         // used by probes, and after them
  ShareIdentity identity_;                                  // likewise
  std::atomic<ShareTerms> terms_{ShareTerms::kAsRecorded};  // of the next probe
  CancelSource stop_;
  Mutex measure_mutex_;  // one walk at a time
  mutable Mutex mutex_;
  // The last one holds; references to the earlier ones stay valid.
  std::deque<ShareSpec> specs_ ABSL_GUARDED_BY(mutex_);
  std::optional<MonotonicTime> probe_begun_ ABSL_GUARDED_BY(mutex_);  // while one runs
  bool probe_given_up_ ABSL_GUARDED_BY(mutex_) = false;               // the one that runs
  // When the last probe ended, or when one was begun that has not got to run yet.
  MonotonicTime probe_asked_ ABSL_GUARDED_BY(mutex_);
  enum class Retirement { kNone, kUnderWay, kFailed, kDone };
  Retirement retirement_ ABSL_GUARDED_BY(mutex_) = Retirement::kNone;
  Lanes lanes_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_SHARE_H_
