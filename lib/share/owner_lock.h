// One server a share: an advisory lock on `.cairn/owner` on the share itself, which NFS 4 carries
// between hosts, and which goes away with the process that holds it (on another host: with the lease
// of its client, 90 s by default). Who holds it is written inside, for people.
//
// To give up a lock on a dead NFS server hangs, even in a process that is killed (the kernel does it when
// the open file is closed for the last time, and waits for the answer). So that a dead share does not
// keep cairnd from ending, and the next one from starting, a small process of its own has the open
// file too, and closes it last: it ends when this one does.
//
// Calls are made by one thread at a time, and block on the share.
#ifndef CAIRN_LIB_SHARE_OWNER_LOCK_H_
#define CAIRN_LIB_SHARE_OWNER_LOCK_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "lib/os/unique_fd.h"

namespace cairn {

class OwnerLock {
 public:
  explicit OwnerLock(std::string directory) : directory_(std::move(directory)) {}
  ~OwnerLock() { Release(); }

  // Takes the lock, or makes sure that it is still held. SHARE_OWNED names host, process and time
  // of who has it. IMAGE_UNSAFE when its file, or the directory of it, is somebody else's link, FIFO or
  // the like, which is left as it is. UNIMPLEMENTED where the share has no locks: nothing keeps another server away.
  absl::Status Ensure();
  // Before the share is unmounted, or when its mount was lost.
  void Release();

 private:
  absl::Status Take();
  void StartKeeper();
  void ReplaceLostKeeper();

  const std::string directory_;
  UniqueFd file_;
  UniqueFd keeper_;  // a socket to the process that has the file too
  pid_t keeper_pid_ = -1;
};

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_OWNER_LOCK_H_
