// One image file on a share: looked at, created, grown. Dispatches over qcow2 and raw.
//
// All functions block on the share; call them from its executor. Paths are "<directory>/<name>".
#ifndef CAIRN_LIB_IMAGE_IMAGE_H_
#define CAIRN_LIB_IMAGE_IMAGE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/base/format.h"
#include "lib/os/file_abilities.h"
#include "lib/os/file_system.h"

namespace cairn {

// What one file is, by the format that the caller recorded for it. Nothing is probed.
struct ImageInfo {
  FileFormat format = FileFormat::kRaw;
  int64_t virtual_size = 0;    // raw: the apparent size
  int64_t physical_bytes = 0;  // what it takes on the share
  int64_t file_bytes = 0;      // apparent size of the file
  uint64_t links = 1;          // how many names the file has
  std::string backing_file;    // empty: none
  std::string backing_format;  // "raw", "qcow2"; empty: not recorded in the header
  bool dirty = false;
  bool open_for_writing = false;    // in a program of QEMU's; known only when it was asked for
  uint32_t internal_snapshots = 0;  // QEMU's own, kept within the file
  uint32_t bitmaps = 0;             // persistent dirty bitmaps of QEMU's
};

// Reads a file's header natively. A qcow2 with an external data file, encryption, or a backing name
// that is not a bare name is refused with IMAGE_UNSAFE before any other tool sees it; a header that
// names itself is CHAIN_CORRUPT. A file recorded as raw is never looked into. QEMU's locks are looked at
// when `locks` says so: on NFS that is a request more.
enum class LookAtLocks { kNo, kYes };
absl::StatusOr<ImageInfo> InspectImage(FileSystem& files, const std::string& directory,
                                       const std::string& name, FileFormat format,
                                       LookAtLocks locks = LookAtLocks::kNo);

// IMAGE_MISMATCH when a file that somebody says is qcow2 does not even begin as one: what they said is
// wrong, not the file. Anything may be raw.
absl::Status CheckSaidFormat(FileSystem& files, const std::string& directory,
                             const std::string& name, FileFormat said);

// Who may use new files (nas_secure_file_permissions, nas_secure_file_operations).
struct FilePermissions {
  mode_t mode = 0660;             // or 0666
  bool owner_of_backing = false;  // take owner and group of the file below
};

struct CreateImageOptions {
  VolumeFormat format = VolumeFormat::kQcow2;
  int64_t size_bytes = 0;
  bool preallocate_metadata = true;  // qcow2 without backing file
  std::string backing_file;          // bare name; only with kQcow2
  std::string backing_format;
  FilePermissions permissions;
  FileAbilities abilities = kTryAll;  // of the share
  bool sync_directory = true;         // false: the caller does, before it says that the name lasts
  // Called when all is there but the name; what it returns as an error is the end. Empty: nothing is.
  std::function<absl::Status()> before_name;
};
// Makes `<directory>/<temporary>`, fsyncs it and renames it to `<directory>/<name>` (fsyncing the
// directory): the name appears complete or not at all. FILE_EXISTS
// when something has the name. Thick: really allocated, by fallocate or, where the share cannot, by writing
// zeros, with progress. On failure the temporary file is removed.
absl::Status CreateImage(FileSystem& files, const std::string& directory, const std::string& name,
                         const std::string& temporary, const CreateImageOptions& options,
                         const CancelToken& cancel, const ProgressFn& progress);

// Grows an image to `size_bytes`; equal or larger than asked already: nothing to do. Thick raw: the
// new range is really allocated; when that fails the file gets its old size back. UNIMPLEMENTED: it is left to
// ImageTool::Resize, as is taking it back.
absl::Status GrowImage(FileSystem& files, const std::string& directory, const std::string& name,
                       VolumeFormat format, int64_t size_bytes, const CancelToken& cancel,
                       const ProgressFn& progress, const FileAbilities& abilities = kTryAll);

// Takes back a growth that nobody has used yet: the image gets its former size again. What lies
// beyond is not looked at. Not larger than `size_bytes`: nothing to do.
absl::Status UngrowImage(FileSystem& files, const std::string& directory, const std::string& name,
                         FileFormat format, int64_t size_bytes);

// Copies one file byte for byte (holes stay holes): by FICLONE, else by copy_file_range, else by
// reading and writing, whichever the share is able to do. The destination appears under its name only when it is complete and durable.
struct CopyFileOptions {
  std::string source_directory;
  std::string source_name;
  std::string target_directory;
  std::string target_name;
  std::string temporary;  // in the target directory
  FilePermissions permissions;
  bool allocate = false;              // thick: allocate the whole target
  FileAbilities abilities = kTryAll;  // of the target's share
  bool replace = false;               // a file that has the name; else FILE_EXISTS
};
absl::Status CopyImageFile(FileSystem& files, const CopyFileOptions& options,
                           const CancelToken& cancel, const ProgressFn& progress);

// A volume of `size_bytes` as the copy of a qcow2 file, made as by CopyImageFile and grown before
// it gets its name. False, and nothing is made, when a copy of the file would be no such volume
// (IsWholeQcow2), or when it may be open for writing: then it is qemu-img that must read it, or
// refuse to.
absl::StatusOr<bool> CopyQcow2File(FileSystem& files, const CopyFileOptions& options,
                                   int64_t size_bytes, const CancelToken& cancel,
                                   const ProgressFn& progress);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_IMAGE_H_
