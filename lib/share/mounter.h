// Mounting one NFS share on its mount point, and telling whether it is mounted there.
#ifndef CAIRN_LIB_SHARE_MOUNTER_H_
#define CAIRN_LIB_SHARE_MOUNTER_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/cancel.h"
#include "lib/base/mutex.h"
#include "lib/os/file_system.h"
#include "lib/os/mount_table.h"
#include "lib/os/process.h"

namespace cairn {

struct MountOptions {
  std::string mount_point_base;
  std::string nfs_mount_options;  // the pool's; a share's own follow and win
  int attempts = 3;               // at least one, whatever the value
  absl::Duration attempt_pause = absl::Seconds(1);
  absl::Duration attempt_timeout = absl::Seconds(30);
};

class ShareRegistry;

// The parts of the system that a share uses; not owned, must outlive it.
struct ShareSystem {
  FileSystem* files = nullptr;
  ProcessRunner* processes = nullptr;
  MountTable* mounts = nullptr;
  ShareRegistry* registry = nullptr;  // null: each share is taken as it is
};

// Mount and Unmount are called by one thread at a time; Stop and Find may be called at any time.
class Mounter {
 public:
  Mounter(std::string source, std::string directory, MountOptions options, ShareSystem system);

  // The kernel's entry for the share on its mount point; nothing when nothing is mounted there.
  // SHARE_UNAVAILABLE when something else is.
  absl::StatusOr<std::optional<MountEntry>> Find() const;

  // Creates the mount point and mounts: several attempts with a pause between, all on this thread.
  // OK means that the kernel's table shows the share, whatever mount(8) said.
  absl::Status Mount(const std::string& share_options);

  // Unmounts, if it is mounted: never by force, since data that has not reached the server would be
  // lost. TOOL_FAILED, with umount's words, when something still uses it.
  absl::Status Unmount();

  // Ends a running Mount soon (its child is stopped); later ones fail at once.
  void Stop();

 private:
  absl::Status MountOnce(const std::string& share_options);
  bool Pause();  // false when stopped

  const std::string source_;
  const std::string directory_;
  const MountOptions options_;
  const ShareSystem system_;
  Mutex mutex_;
  CondVar stopped_;
  CancelSource stop_;
};

// The pool's options followed by a share's own, which win: an option of the pool's that the share also
// gives is left out, since mount.nfs refuses a version that is given twice.
std::string MergeMountOptions(std::string_view pool_options, std::string_view share_options);

// The value of `vers=` in mount options as the kernel shows them; empty when there is none.
std::string NfsVersionOf(std::string_view mount_options);

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_MOUNTER_H_
