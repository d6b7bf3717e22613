#include "lib/os/file_abilities.h"

#include <memory>

#include "lib/base/size.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

// Clones come in whole blocks of the file system; none that we meet has larger ones.
constexpr int64_t kTrialBytes = 64 * kKiB;

// OK: it can; UNIMPLEMENTED: it cannot.
absl::StatusOr<bool> Can(const absl::Status& tried) {
  if (tried.ok()) return true;
  if (absl::IsUnimplemented(tried)) return false;
  return tried;
}

absl::StatusOr<FileAbilities> Try(FileSystem& files, const std::string& path_a,
                                  const std::string& path_b) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> a, files.Open(path_a, OpenMode::kCreate));
  ASSIGN_OR_RETURN(std::unique_ptr<File> b, files.Open(path_b, OpenMode::kCreate));
  FileAbilities abilities;
  ASSIGN_OR_RETURN(abilities.allocate, Can(a->Allocate(0, kTrialBytes)));
  RETURN_IF_ERROR(a->WriteAt(0, std::string(kTrialBytes, 'x')));
  RETURN_IF_ERROR(a->Truncate(3 * kTrialBytes));
  RETURN_IF_ERROR(a->Sync());
  ASSIGN_OR_RETURN(abilities.clone, Can(b->CloneFrom(*a)));
  RETURN_IF_ERROR(b->Truncate(0));
  auto copied = b->CopyRangeFrom(*a, 0, kTrialBytes);
  // Some kernels copy nothing instead of saying that they cannot.
  ASSIGN_OR_RETURN(const bool copies, Can(copied.status()));
  abilities.copy = copies && *copied > 0;
  // Where holes cannot be told, all of a file passes for data.
  ASSIGN_OR_RETURN(const DataExtent after, a->NextData(2 * kTrialBytes));
  abilities.seek = after.length == 0;
  return abilities;
}

}  // namespace

absl::StatusOr<FileAbilities> TryAbilities(FileSystem& files, const std::string& path_a,
                                           const std::string& path_b) {
  auto abilities = Try(files, path_a, path_b);
  for (const std::string& path : {path_a, path_b}) RETURN_IF_ERROR(files.Remove(path));
  return abilities;
}

}  // namespace cairn
