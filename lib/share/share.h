// One share: where it is mounted, how it feels, how much room it has, and the executors on which
// all work on its files runs (a fast lane for metadata, a narrow one for bulk data). Thread-safe.
#ifndef CAIRN_LIB_SHARE_SHARE_H_
#define CAIRN_LIB_SHARE_SHARE_H_

#include <atomic>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/cancel.h"
#include "lib/base/mutex.h"
#include "lib/exec/executor.h"
#include "lib/share/mounter.h"
#include "lib/share/share_health.h"
#include "lib/share/share_status.h"
#include "lib/share/shares_file.h"

namespace cairn {

enum class Lane { kFast, kBulk };

class Share {
 public:
  using System = ShareSystem;
  Share(ShareSpec spec, MountOptions options, System system);
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
  // `even_if_down`). Just before the task runs, its thread looks at the share's root: when the
  // share became unusable meanwhile, or another file system lies there (the mount is lost: a file
  // written now would land in the bare mount point), the task is told UNAVAILABLE instead. With
  // `even_if_down` that look is left out.
  absl::Status Submit(Lane lane, Task task, bool even_if_down = false);

  // Mounts if need be and probes: blocking, called from the share's own lane by the pool's timer.
  // Sets the state and the physical figures. While one probe runs (or hangs) another returns at
  // once with what is known, so that probes of a dead server take one thread of its lane, not all.
  absl::Status Probe();
  // Asks for the physical figures again (blocking, one statvfs). To be called by work that really
  // allocated, before it gives its reservation back: until the next probe the figures would show
  // the room that it took as free.
  absl::Status RefreshCapacity();
  // Measures allocated_bytes by walking the share (blocking, low priority).
  absl::Status MeasureAllocated();
  // Keeps allocated_bytes up to date as work is done.
  void AddAllocated(int64_t delta_bytes) { health_->AddAllocated(delta_bytes); }

  void SetDraining(bool draining) { health_->SetDraining(draining); }
  // Options that hold from the next mount on; the address must be the same.
  void SetSpec(ShareSpec spec);
  // Stops a mount that runs, then both lanes. False when a thread is stuck; its tasks must then be
  // taken to run still, and what they use must stay.
  bool Shutdown(absl::Duration grace);

 private:
  absl::StatusOr<ProbeReport> Examine();
  absl::Status EnsureMounted();
  absl::Status CheckWritable();

  const std::string address_;
  const std::string directory_;
  const bool is_directory_;  // taken as it is, never mounted
  const System system_;
  const std::shared_ptr<ShareHealth> health_;
  Mounter mounter_;
  std::atomic<bool> probing_{false};
  CancelSource stop_;
  Mutex measure_mutex_;  // one walk at a time
  mutable Mutex mutex_;
  // The last one holds; references to the earlier ones stay valid.
  std::deque<ShareSpec> specs_ ABSL_GUARDED_BY(mutex_);
  Executor fast_;
  Executor bulk_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_SHARE_H_
