#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/image.h"
#include "lib/image/image_lock.h"
#include "lib/image/new_file.h"
#include "lib/image/qcow2.h"

namespace cairn {
namespace {

// Copied by one copy_file_range. NFS commits each to the server's disk before the next begins, so
// they grow as long as they are quick, and stay small enough to be cancelled and to show progress.
constexpr int64_t kCopyRangeBytes = 128 * kMiB;
constexpr int64_t kCopyRangeMaxBytes = kGiB;
constexpr absl::Duration kQuickRange = absl::Milliseconds(500);
constexpr int64_t kCopyBufferBytes = 4 * kMiB;
// Zeros of this size are not written: the file systems we meet allocate in smaller blocks.
constexpr size_t kZeroBlockBytes = 64 * 1024;

class Copier {
 public:
  // None of these is owned.
  Copier(File* source, File* target, const FileStat& stat, const FileAbilities& abilities,
         const CancelToken* cancel, const ProgressFn* progress)
      : source_(source),
        target_(target),
        stat_(stat),
        abilities_(abilities),
        cancel_(cancel),
        progress_(progress),
        use_ranges_(abilities.copy) {}

  absl::Status Copy(bool allocate) {
    RETURN_IF_ERROR(cancel_->Check());
    // What is to be allocated really must not share blocks with the source, as a clone and, on some
    // servers, copy_file_range do: a write into shared blocks needs room that may not be there.
    if (allocate) {
      RETURN_IF_ERROR(AllocateRange(*target_, 0, stat_.size_bytes, abilities_, *cancel_, {}));
      use_ranges_ = false;
    } else {
      const absl::Status cloned = abilities_.clone
                                      ? target_->CloneFrom(*source_)
                                      : absl::UnimplementedError("the share cannot clone");
      if (!absl::IsUnimplemented(cloned)) {
        if (cloned.ok()) Report(stat_.size_bytes);
        return cloned;
      }
      // Sets the length, so that a hole at the end is kept.
      RETURN_IF_ERROR(target_->Truncate(stat_.size_bytes));
    }
    return CopyExtents();
  }

 private:
  absl::Status CopyExtents() {
    for (int64_t position = 0; position < stat_.size_bytes;) {
      ASSIGN_OR_RETURN(DataExtent extent, source_->NextData(position));
      if (extent.length == 0) break;
      const int64_t end = std::min(stat_.size_bytes, extent.offset + extent.length);
      // A share that does not tell its holes (NFSv3) calls the whole file data. Only reading can
      // find them.
      if (extent.offset == 0 && end == stat_.size_bytes && stat_.physical_bytes < end) {
        use_ranges_ = false;
      }
      position = std::max(position, extent.offset);
      while (position < end) {
        RETURN_IF_ERROR(cancel_->Check());
        ASSIGN_OR_RETURN(const int64_t copied, CopySome(position, end - position));
        target_->StartSync(position, copied);
        position += copied;
        Report(position);
      }
    }
    Report(stat_.size_bytes);
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> CopySome(int64_t offset, int64_t length) {
    if (use_ranges_) {
      const MonotonicTime begun = MonotonicTime::Now();
      auto copied = target_->CopyRangeFrom(*source_, offset, std::min(length, range_bytes_));
      if (MonotonicTime::Now() - begun < kQuickRange) {
        range_bytes_ = std::min(2 * range_bytes_, kCopyRangeMaxBytes);
      }
      if (!copied.ok() && !absl::IsUnimplemented(copied.status())) return copied;
      if (copied.ok() && *copied > 0) return copied;
      // Some kernels return 0 for what they cannot copy.
      use_ranges_ = false;
    }
    ASSIGN_OR_RETURN(const std::string data,
                     source_->ReadAt(offset, std::min(length, kCopyBufferBytes)));
    if (data.empty()) return Error(Reason::kIoError, "the source became shorter during the copy");
    RETURN_IF_ERROR(WriteWithoutZeros(offset, data));
    return static_cast<int64_t>(data.size());
  }

  // The target reads as zeros wherever it was not written.
  absl::Status WriteWithoutZeros(int64_t offset, std::string_view data) {
    auto is_zero = [data](size_t at) {
      return data.substr(at, kZeroBlockBytes).find_first_not_of('\0') == std::string_view::npos;
    };
    for (size_t at = 0; at < data.size();) {
      if (is_zero(at)) {
        at += kZeroBlockBytes;
        continue;
      }
      size_t end = at + kZeroBlockBytes;
      while (end < data.size() && !is_zero(end)) end += kZeroBlockBytes;
      RETURN_IF_ERROR(
          target_->WriteAt(offset + static_cast<int64_t>(at), data.substr(at, end - at)));
      at = end;
    }
    return absl::OkStatus();
  }

  void Report(int64_t done) {
    if (*progress_) (*progress_)(done, stat_.size_bytes);
  }

  File* const source_;
  File* const target_;
  const FileStat stat_;
  const FileAbilities abilities_;
  const CancelToken* const cancel_;
  const ProgressFn* const progress_;
  bool use_ranges_;
  int64_t range_bytes_ = kCopyRangeBytes;
};

std::string SourcePath(const CopyFileOptions& options) {
  return options.source_directory + "/" + options.source_name;
}

// `finish` brings the copy to what it is to be.
absl::Status CopyInto(FileSystem& files, File& source, const CopyFileOptions& options,
                      const CancelToken& cancel, const ProgressFn& progress,
                      const std::function<absl::Status(File&)>& finish) {
  ASSIGN_OR_RETURN(const FileStat stat, source.Stat());
  NewFileOptions file_options;
  file_options.directory = options.target_directory;
  file_options.name = options.target_name;
  file_options.temporary = options.temporary;
  file_options.permissions = options.permissions;
  file_options.owner_from = SourcePath(options);
  file_options.replace = options.replace;
  return MakeNewFile(files, file_options, [&](File& target) {
    RETURN_IF_ERROR(Copier(&source, &target, stat, options.abilities, &cancel, &progress)
                        .Copy(options.allocate));
    return finish(target);
  });
}

}  // namespace

absl::Status CopyImageFile(FileSystem& files, const CopyFileOptions& options,
                           const CancelToken& cancel, const ProgressFn& progress) {
  ASSIGN_OR_RETURN(auto source, files.Open(SourcePath(options), OpenMode::kRead));
  return CopyInto(files, *source, options, cancel, progress,
                  [](File&) { return absl::OkStatus(); });
}

absl::StatusOr<bool> CopyQcow2File(FileSystem& files, const CopyFileOptions& options,
                                   int64_t size_bytes, const CancelToken& cancel,
                                   const ProgressFn& progress) {
  ASSIGN_OR_RETURN(auto source, files.Open(SourcePath(options), OpenMode::kRead));
  ASSIGN_OR_RETURN(const bool whole, IsWholeQcow2(*source, size_bytes));
  if (!whole) return false;
  const absl::StatusOr<bool> written = IsOpenForWriting(*source);
  if (!written.ok() || *written) return false;
  RETURN_IF_ERROR(CopyInto(files, *source, options, cancel, progress,
                           [&](File& target) { return GrowQcow2(target, size_bytes); }));
  return true;
}

}  // namespace cairn
