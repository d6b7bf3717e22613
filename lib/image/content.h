// The content of an image, as the guest sees it, read or written by ranges: for export and import.
//
// Served by a child `qemu-nbd` on a UNIX socket in a private directory, spoken to through libnbd,
// so that every feature of qcow2 (chains, compression) is read by its own implementation. Blocking;
// use one session from one thread at a time.
#ifndef CAIRN_LIB_IMAGE_CONTENT_H_
#define CAIRN_LIB_IMAGE_CONTENT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/format.h"
#include "lib/os/process.h"

namespace cairn {

// A run of content that is zeros (known without reading) or not.
struct ContentExtent {
  int64_t length = 0;
  bool zero = false;
};

class ImageContent {
 public:
  virtual ~ImageContent() = default;  // closes without flushing
  virtual int64_t size_bytes() const = 0;
  // The run that begins at `offset`, at most `length_max` long.
  virtual absl::StatusOr<ContentExtent> ExtentAt(int64_t offset, int64_t length_max) = 0;
  virtual absl::StatusOr<std::string> Read(int64_t offset, int64_t length) = 0;
  virtual absl::Status Write(int64_t offset, std::string_view data) = 0;
  virtual absl::Status WriteZeros(int64_t offset, int64_t length) = 0;
  // Everything written is durable, and the image is closed.
  virtual absl::Status FlushAndClose() = 0;
};

struct OpenContentOptions {
  std::string path;
  FileFormat format = FileFormat::kRaw;
  bool writable = false;
  bool keep_allocated = false;  // thick: WriteZeros gives no room back to the share
};
absl::StatusOr<std::unique_ptr<ImageContent>> OpenImageContent(ProcessRunner* processes,
                                                               const OpenContentOptions& options);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_CONTENT_H_
