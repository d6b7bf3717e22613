// The kernel's mount table, read from /proc/self/mountinfo (proc(5)): no child process.
#ifndef CAIRN_LIB_OS_MOUNT_TABLE_H_
#define CAIRN_LIB_OS_MOUNT_TABLE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace cairn {

struct MountEntry {
  std::string mount_point;  // octal escapes undone
  std::string source;       // "host:/export" for NFS
  std::string type;         // "nfs4"
  std::string options;      // the super block's and the mount's, joined by a comma
};

class MountTable {
 public:
  virtual ~MountTable() = default;
  virtual absl::StatusOr<std::vector<MountEntry>> Read() = 0;

  // The real one; never deleted.
  static MountTable* Posix();
};

// Parses the text of mountinfo; a line of another form is skipped.
std::vector<MountEntry> ParseMountInfo(std::string_view text);

// The last (uppermost) entry on that mount point.
std::optional<MountEntry> FindMount(const std::vector<MountEntry>& entries,
                                    std::string_view mount_point);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_MOUNT_TABLE_H_
