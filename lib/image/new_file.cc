#include "lib/image/new_file.h"

#include <algorithm>
#include <memory>

#include "lib/base/size.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

// One system call each, between two looks at the cancel token.
constexpr int64_t kAllocateBytes = kGiB;
constexpr int64_t kZeroBytes = 4 * kMiB;

absl::Status WriteZeros(File& file, int64_t offset, int64_t length, const CancelToken& cancel,
                        const ProgressFn& progress) {
  const std::string zeros(static_cast<size_t>(std::min(length, kZeroBytes)), '\0');
  for (int64_t done = 0; done < length;) {
    RETURN_IF_ERROR(cancel.Check());
    const int64_t now = std::min(length - done, kZeroBytes);
    RETURN_IF_ERROR(
        file.WriteAt(offset + done, std::string_view(zeros).substr(0, static_cast<size_t>(now))));
    done += now;
    if (progress) progress(done, length);
  }
  return absl::OkStatus();
}

absl::Status SetPermissions(FileSystem& files, File& file, const NewFileOptions& options) {
  constexpr auto kKeepUser = static_cast<uid_t>(-1);
  constexpr auto kKeepGroup = static_cast<gid_t>(-1);
  uid_t uid = kKeepUser;
  gid_t gid = kKeepGroup;
  if (options.permissions.owner_of_backing && !options.owner_from.empty()) {
    ASSIGN_OR_RETURN(const FileStat like, files.Stat(options.owner_from));
    ASSIGN_OR_RETURN(const FileStat mine, file.Stat());
    // A server without privileges may keep an owner but not set it, not even to the same.
    if (like.uid != mine.uid) uid = like.uid;
    if (like.gid != mine.gid) gid = like.gid;
  }
  return file.SetOwnerAndMode(uid, gid, options.permissions.mode);
}

absl::Status WriteTemporary(FileSystem& files, const std::string& path,
                            const NewFileOptions& options,
                            const std::function<absl::Status(File&)>& write) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kCreateNew));
  RETURN_IF_ERROR(write(*file));
  RETURN_IF_ERROR(SetPermissions(files, *file, options));
  return file->Sync();
}

}  // namespace

absl::Status AllocateRange(File& file, int64_t offset, int64_t length,
                           const FileAbilities& abilities, const CancelToken& cancel,
                           const ProgressFn& progress) {
  if (!abilities.allocate) return WriteZeros(file, offset, length, cancel, progress);
  for (int64_t done = 0; done < length;) {
    RETURN_IF_ERROR(cancel.Check());
    const int64_t now = std::min(length - done, kAllocateBytes);
    const absl::Status allocated = file.Allocate(offset + done, now);
    if (done == 0 && absl::IsUnimplemented(allocated)) {
      return WriteZeros(file, offset, length, cancel, progress);
    }
    RETURN_IF_ERROR(allocated);
    done += now;
    if (progress) progress(done, length);
  }
  return absl::OkStatus();
}

absl::Status MakeNewFile(FileSystem& files, const NewFileOptions& options,
                         const std::function<absl::Status(File&)>& write) {
  const std::string temporary = options.directory + "/" + options.temporary;
  const std::string path = options.directory + "/" + options.name;
  absl::Status status = WriteTemporary(files, temporary, options, write);
  if (status.ok() && options.before_name) status = options.before_name();
  if (status.ok()) {
    status = options.replace ? files.Rename(temporary, path) : files.RenameNew(temporary, path);
  }
  if (!status.ok()) {
    // The first error is the one to tell; a leftover temporary is found and removed at recovery.
    files.Remove(temporary).IgnoreError();
    return status;
  }
  if (options.sync_directory) status = files.SyncDirectory(options.directory);
  // Whether the name lasts is unknown now. The caller is told that there is no such file.
  if (!status.ok()) files.Remove(path).IgnoreError();
  return status;
}

}  // namespace cairn
