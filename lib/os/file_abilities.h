// What a file system does by itself, so that no data passes through this host.
#ifndef CAIRN_LIB_OS_FILE_ABILITIES_H_
#define CAIRN_LIB_OS_FILE_ABILITIES_H_

#include <string>

#include "absl/status/statusor.h"
#include "lib/os/file_system.h"

namespace cairn {

struct FileAbilities {
  bool clone = false;     // FICLONE; NFS 4.2 CLONE
  bool copy = false;      // copy_file_range; NFS 4.2 COPY
  bool allocate = false;  // fallocate; NFS 4.2 ALLOCATE
  bool seek = false;      // SEEK_DATA and SEEK_HOLE; NFS 4.2 SEEK
  bool operator==(const FileAbilities&) const = default;
};

// Every call is worth a try: where nobody has tried yet.
inline constexpr FileAbilities kTryAll{.clone = true, .copy = true, .allocate = true, .seek = true};

// Finds out by trying each on two small files, which must not exist and are removed again. After an
// error, such as a full share, it is not known.
absl::StatusOr<FileAbilities> TryAbilities(FileSystem& files, const std::string& path_a,
                                           const std::string& path_b);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_FILE_ABILITIES_H_
