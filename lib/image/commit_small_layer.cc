#include <optional>

#include "lib/base/status.h"
#include "lib/image/image_lock.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_commit.h"

namespace cairn {

absl::Status CommitSmallLayer(FileSystem& files, const std::string& directory,
                              const std::string& layer, const std::string& base,
                              const CancelToken& cancel, const ProgressFn& progress) {
  ASSIGN_OR_RETURN(auto layer_file, files.Open(directory + "/" + layer, OpenMode::kRead));
  ASSIGN_OR_RETURN(const FileStat stat, layer_file->Stat());
  if (stat.physical_bytes > 2 * kNativeCommitBytesMax) {
    return absl::UnimplementedError("the layer is not small");  // its tables tell, at more cost
  }
  ASSIGN_OR_RETURN(auto base_file, files.Open(directory + "/" + base, OpenMode::kReadWrite));
  // The locks first: what is read before may be another's half of a change.
  RETURN_IF_ERROR(LockImage(*layer_file));
  RETURN_IF_ERROR(LockImage(*base_file));
  ASSIGN_OR_RETURN(const Qcow2Header header, ReadQcow2Header(*layer_file));
  const std::optional<FileFormat> format = FileFormatFromName(header.backing_format);
  if (header.backing_file != base || !format.has_value()) {
    return absl::UnimplementedError("the layer does not say that it lies on this file");
  }
  return CommitQcow2(*layer_file, *base_file, *format, cancel, progress);
}

}  // namespace cairn
