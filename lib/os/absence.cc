#include "lib/os/absence.h"

#include <algorithm>

#include "lib/base/status.h"

namespace cairn {

absl::StatusOr<bool> IsAbsent(FileSystem& files, const std::string& directory,
                              const std::string& name) {
  const std::string path = directory + "/" + name;
  absl::Status found = files.Stat(path).status();
  if (found.ok()) return false;
  if (!absl::IsNotFound(found)) return found;
  RETURN_IF_ERROR(files.RefreshDirectory(directory));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  if (std::find(names.begin(), names.end(), name) == names.end()) return true;
  // It is there after all, or has come since: what is wrong with it shows now.
  RETURN_IF_ERROR(files.Stat(path).status());
  return false;
}

}  // namespace cairn
