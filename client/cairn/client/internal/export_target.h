// Where a download to a path goes. A regular file is written under the name "<path>.part" and takes
// the path's place when it is whole. What cannot be replaced without being lost, such as a device
// or a FIFO, is written itself. Belongs to one thread.
//
//   auto target = ExportTarget::Open(path, stop);
//   if (!target.ok()) return target.status();
//   ... write to (*target)->fd() ...
//   return (*target)->Publish();
#ifndef CAIRN_CLIENT_INTERNAL_EXPORT_TARGET_H_
#define CAIRN_CLIENT_INTERNAL_EXPORT_TARGET_H_

#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cairn::client::internal {

class ExportTarget {
 public:
  // A symbolic link stands for what it leads to. FAILED_PRECONDITION for a directory, a socket, and
  // a part that somebody else is writing. A FIFO is waited for until it has a reader, or until
  // `stop` is requested: CANCELLED.
  static absl::StatusOr<std::unique_ptr<ExportTarget>> Open(const std::string& path,
                                                            const std::stop_token& stop);
  // Removes the part if it was not published.
  ~ExportTarget();
  ExportTarget(const ExportTarget&) = delete;
  ExportTarget& operator=(const ExportTarget&) = delete;

  int fd() const { return fd_; }
  // One byte after the other; there are no offsets to write at.
  bool sequential() const { return sequential_; }

  // All of it is written: syncs it, and gives a part its name.
  absl::Status Publish();

 private:
  explicit ExportTarget(std::string path) : path_(std::move(path)) {}

  absl::Status OpenInPlace(unsigned mode, const std::stop_token& stop);
  absl::Status OpenPart();

  std::string path_;
  std::string part_;  // empty: the path itself is written
  int fd_ = -1;
  bool sequential_ = false;
};

}  // namespace cairn::client::internal

#endif  // CAIRN_CLIENT_INTERNAL_EXPORT_TARGET_H_
