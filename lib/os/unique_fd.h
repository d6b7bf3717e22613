// A file descriptor that is closed once.
#ifndef CAIRN_LIB_OS_UNIQUE_FD_H_
#define CAIRN_LIB_OS_UNIQUE_FD_H_

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace cairn {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Whoever gets it closes it.
  int Release() { return std::exchange(fd_, -1); }
  // Never repeated on EINTR: Linux has given the number up by then.
  void Reset() {
    if (valid()) close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// Calls `call` again while a signal interrupts it.
template <typename Call>
auto RetryOnEintr(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

}  // namespace cairn

#endif  // CAIRN_LIB_OS_UNIQUE_FD_H_
