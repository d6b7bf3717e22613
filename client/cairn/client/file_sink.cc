#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "cairn/client/internal/file_error.h"
#include "cairn/client/transfer.h"

namespace cairn::client {
namespace {

constexpr size_t kZeroBlock = 64 << 10;

class FileSink : public ContentSink {
 public:
  FileSink(int fd, bool sequential) : fd_(fd), sequential_(sequential) {}

  absl::Status Begin(int64_t size_bytes, int64_t offset, int64_t length_bytes) override {
    if (sequential_) return absl::OkStatus();
    struct stat info = {};
    if (fstat(fd_, &info) != 0) return internal::FileError("cannot look at the file");
    // A device has its size, and what it holds must be overwritten.
    regular_ = S_ISREG(info.st_mode);
    if (!regular_) return CheckRoom(offset + length_bytes);
    old_bytes_ = info.st_size;
    if (ftruncate(fd_, size_bytes) != 0) return internal::FileError("cannot set the file's size");
    return absl::OkStatus();
  }

  absl::Status WriteData(int64_t offset, std::string_view data) override {
    while (!data.empty()) {
      const ssize_t written = sequential_ ? write(fd_, data.data(), data.size())
                                          : pwrite(fd_, data.data(), data.size(), offset);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return internal::FileError("cannot write to the file");
      data.remove_prefix(static_cast<size_t>(written));
      offset += written;
    }
    return absl::OkStatus();
  }

  absl::Status WriteZeros(int64_t offset, int64_t length_bytes) override {
    if (!sequential_) {
      // Beyond what the file held before there is a hole already.
      if (regular_ && offset >= old_bytes_) return absl::OkStatus();
      if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length_bytes) == 0)
        return absl::OkStatus();
    }
    static constexpr char kZeros[kZeroBlock] = {};
    while (length_bytes > 0) {
      const auto part = std::min<int64_t>(length_bytes, kZeroBlock);
      const absl::Status status =
          WriteData(offset, std::string_view(kZeros, static_cast<size_t>(part)));
      if (!status.ok()) return status;
      offset += part;
      length_bytes -= part;
    }
    return absl::OkStatus();
  }

 private:
  // Before the first byte is overwritten.
  absl::Status CheckRoom(int64_t end) const {
    const off_t device_bytes = lseek(fd_, 0, SEEK_END);
    if (device_bytes < 0) return internal::FileError("cannot find the size of the device");
    if (device_bytes >= end) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("the device has ", device_bytes, " bytes; ", end, " are needed"));
  }

  const int fd_;
  const bool sequential_;
  bool regular_ = false;
  int64_t old_bytes_ = 0;
};

}  // namespace

std::unique_ptr<ContentSink> NewFileSink(int fd, bool sequential) {
  return std::make_unique<FileSink>(fd, sequential);
}

}  // namespace cairn::client
