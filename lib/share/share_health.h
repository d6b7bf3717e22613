// The state of one share and its figures: what probes find, what work adds, what readers see.
//
// Apart from Share because a thread that hangs on a dead server may outlive its Share: such a
// thread holds this object, and nothing else, alive. Thread-safe; no call blocks on a file.
#ifndef CAIRN_LIB_SHARE_SHARE_HEALTH_H_
#define CAIRN_LIB_SHARE_SHARE_HEALTH_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/os/file_system.h"
#include "lib/share/share_status.h"

namespace cairn {

// The directory that is a share's root: another one means that something else lies there now.
struct ShareRoot {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const ShareRoot&) const = default;
};

// What a probe that went well found.
struct ProbeReport {
  FileSystemStat space;
  ShareRoot root;
  absl::Duration latency;
  std::string mount_options;
  std::string nfs_version;
  std::optional<FileAbilities> abilities;  // when they were tried by this probe
  std::string identity;
  std::string problem;  // it works, but: DEGRADED
};

class ShareHealth {
 public:
  explicit ShareHealth(std::string address);

  ShareStatus status() const;
  // OK, or SHARE_UNAVAILABLE (when that is the error, SHARE_OWNED, SHARE_REPLACED or CATALOG_OLDER) with
  // share, state, since and last_error.
  absl::Status CheckUsable() const;
  // As of the last good probe.
  std::optional<ShareRoot> root() const;

  void SetOnline(const ProbeReport& report);
  void SetUnreachable(const absl::Status& error);
  // The mount was lost. A share that was not usable anyway stays what it was: a dead server would
  // otherwise change state twice at every probe.
  void SetMountLost();
  void SetDraining(bool draining);
  bool draining() const;  // also while it is not shown so

  void SetSpace(const FileSystemStat& space);
  void AddAllocated(int64_t delta_bytes);

  // A measurement by walking takes a while, and work goes on meanwhile. `Mark` before the walk;
  // `SetMeasured` after it takes the figure over when nothing was added or removed in between, or
  // when `force`; a forced figure counts what was added meanwhile on top, so that it errs to the
  // full side until the next measurement.
  struct Mark {
    int64_t changes = 0;
    int64_t grown_bytes = 0;
  };
  Mark mark() const;
  bool SetMeasured(const Mark& since, int64_t measured_bytes, bool force);

 private:
  struct Change;
  ShareState Shown() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // After a change of health_ or draining_: moves status_.state along, and tells what to log.
  Change Refresh() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Log(const Change& change) const;

  const std::string address_;
  mutable Mutex mutex_;
  ShareState health_ ABSL_GUARDED_BY(mutex_) = ShareState::kMounting;  // never kDraining
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  ShareStatus status_ ABSL_GUARDED_BY(mutex_);
  Reason reason_ ABSL_GUARDED_BY(mutex_) = Reason::kShareUnavailable;  // of not being usable
  std::optional<ShareRoot> root_ ABSL_GUARDED_BY(mutex_);
  Mark mark_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_SHARE_HEALTH_H_
