// The locks by which QEMU's programs keep out of one another's way on an image file: shared locks
// on single bytes that say what an open file is used for and what others must not do meanwhile.
//
// They are QEMU's (block/file-posix.c, "image locking"), so that a file that a machine, or any tool
// of QEMU's, has open is not changed under it, and the other way round. Thread-safe.
#ifndef CAIRN_LIB_IMAGE_IMAGE_LOCK_H_
#define CAIRN_LIB_IMAGE_IMAGE_LOCK_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/os/file_system.h"

namespace cairn {

// Takes the locks of one who reads, writes and resizes a file, and lets nobody else write or resize
// it, until the file is closed. UNIMPLEMENTED when somebody has it open in a way that excludes
// this, and where the file system has no locks.
//
// A merge takes them on the layer too, as `qemu-img commit` does: a machine that reads a raw base
// as a backing file does not object to writes there, but it does on the layer.
absl::Status LockImage(File& file);

// Whether an operation failed because another process, a machine or a tool of QEMU's, has an image of
// it locked (VOLUME_IN_USE, as a volume with consumers, but said by a tool). That passes when that
// process ends; one of a server that was killed, and that hangs on a share, does some day.
bool IsLockedByAnother(const absl::Status& status);

// Whether a program of QEMU's has the file open for writing, for which qemu-img would refuse to read
// it. UNIMPLEMENTED where the file system has no locks.
absl::StatusOr<bool> IsOpenForWriting(File& file);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_IMAGE_LOCK_H_
