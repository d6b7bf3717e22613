#include "lib/image/image.h"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/image_lock.h"
#include "lib/image/new_file.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_layout.h"

namespace cairn {
namespace {

// What another tool would follow without asking is refused here, before one sees the file.
absl::Status CheckHeaderIsSafe(const Qcow2Header& header, const std::string& name) {
  auto unsafe = [](std::string_view problem) {
    return Error(Reason::kImageUnsafe, fmt::format("the image has {}", problem));
  };
  if (header.has_external_data_file() || !header.data_file.empty()) {
    return unsafe("an external data file");
  }
  if (header.crypt_method != 0) return unsafe("encryption of its own");
  if (!header.backing_format.empty() && !FileFormatFromName(header.backing_format).has_value()) {
    return unsafe("a backing file that is neither raw nor qcow2");
  }
  if (header.backing_file.empty()) return absl::OkStatus();
  if (header.backing_file == name) {
    return Error(Reason::kChainCorrupt, "the image names itself as its backing file");
  }
  return CheckBackingName(header.backing_file);
}

absl::StatusOr<ImageInfo> Inspect(File& file, const std::string& name, FileFormat format) {
  ImageInfo info;
  info.format = format;
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  info.file_bytes = stat.size_bytes;
  info.physical_bytes = stat.physical_bytes;
  info.links = stat.links;
  if (format == FileFormat::kRaw) {
    info.virtual_size = stat.size_bytes;
    return info;
  }
  ASSIGN_OR_RETURN(Qcow2Header header, ReadQcow2Header(file));
  RETURN_IF_ERROR(CheckHeaderIsSafe(header, name));
  info.virtual_size = header.virtual_size;
  info.backing_file = std::move(header.backing_file);
  info.backing_format = std::move(header.backing_format);
  info.internal_snapshots = header.snapshot_count;
  info.bitmaps = header.bitmap_count;
  info.dirty = (header.incompatible_features & 1) != 0;
  return info;
}

// A layer smaller than the file below it hides that file's end. Growing the layer's header alone
// would let the guest see it, where it must see zeros.
absl::Status CheckBackingIsNotLarger(FileSystem& files, const std::string& directory,
                                     const ImageInfo& info) {
  if (info.backing_file.empty()) return absl::OkStatus();
  const auto format = FileFormatFromName(info.backing_format);
  if (!format.has_value()) {
    return Error(Reason::kImageUnsafe, "the backing file's format is not recorded");
  }
  ASSIGN_OR_RETURN(const ImageInfo backing,
                   InspectImage(files, directory, info.backing_file, *format));
  if (backing.virtual_size <= info.virtual_size) return absl::OkStatus();
  return Error(Reason::kImageMismatch,
               fmt::format("the backing file {} is larger ({} bytes) than its layer ({} bytes)",
                           info.backing_file, backing.virtual_size, info.virtual_size));
}

absl::Status GrowThick(File& file, int64_t old_size_bytes, int64_t size_bytes,
                       const FileAbilities& abilities, const CancelToken& cancel,
                       const ProgressFn& progress) {
  const absl::Status status =
      AllocateRange(file, old_size_bytes, size_bytes - old_size_bytes, abilities, cancel, progress);
  // The first error is the one to tell; a longer file does no harm and is grown again at a retry.
  if (!status.ok()) file.Truncate(old_size_bytes).IgnoreError();
  return status;
}

absl::Status Grow(FileSystem& files, const std::string& directory, const std::string& name,
                  File& file, VolumeFormat format, int64_t size_bytes,
                  const FileAbilities& abilities, const CancelToken& cancel,
                  const ProgressFn& progress) {
  ASSIGN_OR_RETURN(const ImageInfo info, Inspect(file, name, BaseFileFormat(format)));
  if (info.virtual_size >= size_bytes) return absl::OkStatus();
  switch (format) {
    case VolumeFormat::kQcow2:
      RETURN_IF_ERROR(CheckBackingIsNotLarger(files, directory, info));
      return GrowQcow2(file, size_bytes);
    case VolumeFormat::kRawSparse:
      return file.Truncate(size_bytes);
    case VolumeFormat::kRawThick:
      return GrowThick(file, info.virtual_size, size_bytes, abilities, cancel, progress);
  }
  return InvalidField("format", "is not a volume format");
}

}  // namespace

absl::StatusOr<ImageInfo> InspectImage(FileSystem& files, const std::string& directory,
                                       const std::string& name, FileFormat format,
                                       LookAtLocks locks) {
  const std::string path = directory + "/" + name;
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kRead));
  absl::StatusOr<ImageInfo> info = Inspect(*file, name, format);
  if (info.ok() && locks == LookAtLocks::kYes) {
    const absl::StatusOr<bool> open = IsOpenForWriting(*file);
    if (open.ok()) {
      info->open_for_writing = *open;
    } else if (!absl::IsUnimplemented(open.status())) {
      info = open.status();
    }
  }
  if (!info.ok()) return Annotate(info.status(), path, {{"path", path}, {"file", name}});
  return info;
}

absl::Status CheckSaidFormat(FileSystem& files, const std::string& directory,
                             const std::string& name, FileFormat said) {
  if (said != FileFormat::kQcow2) return absl::OkStatus();
  const std::string path = directory + "/" + name;
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const std::string begin, file->ReadAt(qcow2::kMagicAt, sizeof(qcow2::kMagic)));
  if (begin.size() == sizeof(qcow2::kMagic) &&
      qcow2::Load32(begin, qcow2::kMagicAt) == qcow2::kMagic) {
    return absl::OkStatus();
  }
  return Error(Reason::kImageMismatch,
               fmt::format("{} is no qcow2 image; if its content is that of a disk as it is, its "
                           "format is raw",
                           path),
               {{"file", name}, {"path", path}, {"expected", "qcow2"}, {"found", "no qcow2"}});
}

absl::Status GrowImage(FileSystem& files, const std::string& directory, const std::string& name,
                       VolumeFormat format, int64_t size_bytes, const CancelToken& cancel,
                       const ProgressFn& progress, const FileAbilities& abilities) {
  RETURN_IF_ERROR(CheckVolumeSize("size_bytes", size_bytes));
  RETURN_IF_ERROR(cancel.Check());
  const std::string path = directory + "/" + name;
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kReadWrite));
  RETURN_IF_ERROR(
      Annotate(Grow(files, directory, name, *file, format, size_bytes, abilities, cancel, progress),
               path, {{"path", path}, {"file", name}}));
  // Also when there was nothing to do: an earlier try may have ended just before this.
  return file->Sync();
}

absl::Status UngrowImage(FileSystem& files, const std::string& directory, const std::string& name,
                         FileFormat format, int64_t size_bytes) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                   files.Open(directory + "/" + name, OpenMode::kReadWrite));
  if (format == FileFormat::kQcow2) {
    RETURN_IF_ERROR(UngrowQcow2(*file, size_bytes));
  } else {
    ASSIGN_OR_RETURN(FileStat stat, file->Stat());
    if (stat.size_bytes > size_bytes) RETURN_IF_ERROR(file->Truncate(size_bytes));
  }
  return file->Sync();
}

}  // namespace cairn
