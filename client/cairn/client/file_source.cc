#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cairn/client/internal/file_error.h"
#include "cairn/client/transfer.h"

namespace cairn::client {
namespace {

// As much as the server sends in a piece by default, and well below the limit of 2 MiB.
constexpr int64_t kPieceBytes = 1 << 20;

bool IsZero(std::string_view data) {
  // Equal to itself shifted by one byte, and the first byte is zero.
  return data[0] == 0 && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0;
}

// Reads until the buffer is full or the file ends.
absl::StatusOr<std::string> ReadFully(int fd, int64_t length_bytes) {
  std::string data(static_cast<size_t>(length_bytes), '\0');
  size_t filled = 0;
  while (filled < data.size()) {
    const ssize_t got = read(fd, data.data() + filled, data.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return internal::FileError("cannot read the content");
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  data.resize(filled);
  return data;
}

ContentPiece ToPiece(std::string&& data) {
  if (!data.empty() && IsZero(data)) return {.zero_length = static_cast<int64_t>(data.size())};
  return {.data = std::move(data)};
}

class PipeSource : public ContentSource {
 public:
  explicit PipeSource(int fd) : fd_(fd) {}
  int64_t size_bytes() const override { return 0; }
  absl::StatusOr<ContentPiece> Next() override {
    auto data = ReadFully(fd_, kPieceBytes);
    if (!data.ok()) return data.status();
    begun_ = begun_ || !data->empty();
    return ToPiece(*std::move(data));
  }
  absl::Status Rewind() override {
    if (!begun_) return absl::OkStatus();
    return absl::FailedPreconditionError("what comes through a pipe cannot be sent again");
  }

 private:
  const int fd_;
  bool begun_ = false;
};

class FileSource : public ContentSource {
 public:
  FileSource(int fd, int64_t size_bytes) : fd_(fd), size_bytes_(size_bytes) {}
  int64_t size_bytes() const override { return size_bytes_; }

  absl::StatusOr<ContentPiece> Next() override {
    if (position_ >= size_bytes_) return ContentPiece();
    if (position_ >= data_end_) {
      const int64_t hole = FindData();
      if (hole > 0) {
        position_ += hole;
        return ContentPiece{.zero_length = hole};
      }
    }
    if (lseek(fd_, position_, SEEK_SET) < 0) return internal::FileError("cannot seek");
    auto data = ReadFully(fd_, std::min(kPieceBytes, data_end_ - position_));
    if (!data.ok()) return data.status();
    if (data->empty()) return absl::DataLossError("the file became shorter while it was read");
    position_ += static_cast<int64_t>(data->size());
    return ToPiece(*std::move(data));
  }

  absl::Status Rewind() override {
    position_ = 0;
    data_end_ = 0;
    return absl::OkStatus();
  }

 private:
  // The length of the hole at position_; sets data_end_ to where the data after it ends. Where
  // holes cannot be asked for (a device, an old file system) all is data.
  int64_t FindData() {
    const off_t data = lseek(fd_, position_, SEEK_DATA);
    if (data < 0) {
      const bool only_hole_follows = errno == ENXIO;
      data_end_ = size_bytes_;
      return only_hole_follows ? size_bytes_ - position_ : 0;
    }
    const off_t end = lseek(fd_, data, SEEK_HOLE);
    data_end_ = end < 0 ? size_bytes_ : std::min<int64_t>(end, size_bytes_);
    return std::min<int64_t>(data, size_bytes_) - position_;
  }

  const int fd_;
  const int64_t size_bytes_;
  int64_t position_ = 0;
  int64_t data_end_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ContentSource>> NewFileSource(int fd) {
  struct stat info = {};
  if (fstat(fd, &info) != 0) return internal::FileError("cannot look at the content");
  if (S_ISDIR(info.st_mode)) return absl::FailedPreconditionError("the content is a directory");
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) return std::make_unique<PipeSource>(fd);
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0) return internal::FileError("cannot find the size of the content");
  return std::make_unique<FileSource>(fd, end);
}

}  // namespace cairn::client
