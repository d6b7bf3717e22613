// The work on image data that qcow2's semantics make delicate, by qemu-img: to convert, and to commit
// what is not small and plain (see qcow2_commit.h).
//
// Formats are always given, for the file and for all that lies below it (the recorded backing
// formats are checked natively by the caller first). Blocking; thread-safe.
#ifndef CAIRN_LIB_IMAGE_IMAGE_TOOL_H_
#define CAIRN_LIB_IMAGE_IMAGE_TOOL_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/base/format.h"
#include "lib/os/process.h"

namespace cairn {

struct ConvertOptions {
  std::string source_path;
  FileFormat source_format = FileFormat::kRaw;
  std::string target_path;
  VolumeFormat target_format = VolumeFormat::kQcow2;
  bool preallocate_metadata = false;
  // Virtual size of the result; at least the source's. The rest reads as zeros.
  int64_t size_bytes = 0;
};

class ImageTool {
 public:
  virtual ~ImageTool() = default;
  // Merges the qcow2 file `name` into its backing file (`qemu-img commit -d`). The backing file
  // grows to the layer's size when it is smaller. Killed half-way it can be run again. NO_SPACE
  // when the share is full. `total_bytes` of progress is what the layer holds.
  virtual absl::Status Commit(const std::string& directory, const std::string& name,
                              const CancelToken& cancel, const ProgressFn& progress) = 0;
  // Gives back the clusters of the qcow2 file `name` that nothing uses any more, as a write that was
  // cut short leaves them (`qemu-img check -r leaks`). Reads all its mapping tables.
  virtual absl::Status RepairLeaks(const std::string& directory, const std::string& name,
                                   const CancelToken& cancel) = 0;
  // Changes the virtual size of the qcow2 file `name` (`qemu-img resize`), and makes that durable. Where it
  // becomes smaller the rest is gone.
  virtual absl::Status Resize(const std::string& directory, const std::string& name,
                              int64_t size_bytes, const CancelToken& cancel) = 0;
  // Writes the content of a file and all below it into a new file and fsyncs that. The target must
  // not exist or is overwritten; on failure the caller removes it.
  virtual absl::Status Convert(const ConvertOptions& options, const CancelToken& cancel,
                               const ProgressFn& progress) = 0;
  // How many bytes committing `name` into `base` would newly allocate there, at most (from the two
  // files' maps). The files may be open elsewhere; what is written meanwhile may or may not count.
  virtual absl::StatusOr<int64_t> MeasureCommit(const std::string& directory,
                                                const std::string& name, const std::string& base,
                                                FileFormat base_format,
                                                const CancelToken& cancel) = 0;
  // "7.2.22"; TOOL_MISSING names the Debian package when qemu-img is not there.
  virtual absl::StatusOr<std::string> Version() = 0;
};

// For a tool of QEMU's: 4 GiB, and the cache of mapping tables of each file of the longest chain, which takes
// up to 32 MiB of addresses (qemu's docs/qcow2-cache.txt), of memory what is used of it.
inline constexpr int64_t kToolAddressSpaceBytes = (int64_t{4} << 30) + 300 * (int64_t{36} << 20);

struct QemuImageToolOptions {
  // Limits of one child; they bound what a hostile image can cost.
  int64_t address_space_bytes = kToolAddressSpaceBytes;
  int64_t cpu_seconds = 0;  // 0: none, as a 10 TiB copy may take hours
};

std::unique_ptr<ImageTool> MakeQemuImageTool(ProcessRunner* processes,
                                             QemuImageToolOptions options);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_IMAGE_TOOL_H_
