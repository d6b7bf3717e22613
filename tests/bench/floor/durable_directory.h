// New files that a power failure cannot take away again, by the fewest system calls.
//
// Thread-safe.
#ifndef CAIRN_TESTS_BENCH_FLOOR_DURABLE_DIRECTORY_H_
#define CAIRN_TESTS_BENCH_FLOOR_DURABLE_DIRECTORY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/os/unique_fd.h"
#include "tests/bench/floor/image_writes.h"

namespace cairn::bench {

class DurableDirectory {
 public:
  static absl::StatusOr<DurableDirectory> Open(const std::string& path);

  // open, ftruncate where the file is larger than what is written, a pwrite for each run of bytes,
  // fsync, close, rename. The file's content is durable; its name is after Sync.
  absl::Status Publish(const std::string& name, const FileContent& content) const;

  // fsync of the directory.
  absl::Status Sync() const;

 private:
  DurableDirectory(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  UniqueFd fd_;
  std::string path_;
};

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_FLOOR_DURABLE_DIRECTORY_H_
