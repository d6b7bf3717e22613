// Whether a file is really gone, for decisions that cannot be taken back.
#ifndef CAIRN_LIB_OS_ABSENCE_H_
#define CAIRN_LIB_OS_ABSENCE_H_

#include <string>

#include "absl/status/statusor.h"
#include "lib/os/file_system.h"

namespace cairn {

// True when `directory` holds no `name`. One "no such file" is not believed: an NFS client may
// remember a name as absent for a minute, and a failing server may say so in error. The directory is
// asked for anew, and its listing must agree. Costs a listing when the file seems to be gone, and one
// look-up when it is there. Blocking.
absl::StatusOr<bool> IsAbsent(FileSystem& files, const std::string& directory,
                              const std::string& name);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_ABSENCE_H_
