// One server to a catalog: a lock on a file beside it, held until this is destroyed or the process
// ends, however it ends.
#ifndef CAIRN_LIB_CATALOG_PROCESS_LOCK_H_
#define CAIRN_LIB_CATALOG_PROCESS_LOCK_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace cairn {

class ProcessLock {
 public:
  // FAILED_PRECONDITION while another has it, in this process or in another. The file,
  // "<path>.lock", stays: one that was removed could be locked twice.
  static absl::StatusOr<ProcessLock> Take(const std::string& path);

  ProcessLock(ProcessLock&& other) : fd_(std::exchange(other.fd_, -1)) {}
  ProcessLock& operator=(ProcessLock&&) = delete;
  ~ProcessLock();

 private:
  explicit ProcessLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_PROCESS_LOCK_H_
