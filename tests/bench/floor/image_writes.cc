#include "tests/bench/floor/image_writes.h"

namespace cairn::bench {
namespace {

absl::Status NotHere() { return absl::UnimplementedError("a new image is only written"); }

// Keeps what is written.
class RecordingFile : public File {
 public:
  explicit RecordingFile(FileContent* content) : content_(*content) {}

  absl::Status WriteAt(int64_t offset, std::string_view data) override {
    content_.writes.push_back({offset, std::string(data)});
    return absl::OkStatus();
  }
  absl::Status Truncate(int64_t size_bytes) override {
    content_.size_bytes = size_bytes;
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadAt(int64_t, int64_t) override { return NotHere(); }
  absl::Status Allocate(int64_t, int64_t) override { return NotHere(); }
  absl::Status CloneFrom(File&) override { return NotHere(); }
  absl::StatusOr<int64_t> CopyRangeFrom(File&, int64_t, int64_t) override { return NotHere(); }
  absl::StatusOr<DataExtent> NextData(int64_t) override { return NotHere(); }
  absl::StatusOr<FileStat> Stat() override { return NotHere(); }
  absl::Status SetOwnerAndMode(uid_t, gid_t, mode_t) override { return NotHere(); }
  void StartSync(int64_t, int64_t) override {}
  absl::Status Sync() override { return NotHere(); }
  absl::StatusOr<bool> TryLockShared(int64_t, int64_t) override { return NotHere(); }
  absl::StatusOr<bool> IsLockedByOthers(int64_t, int64_t) override { return NotHere(); }

 private:
  FileContent& content_;
};

}  // namespace

absl::StatusOr<FileContent> ContentOfQcow2(const Qcow2CreateOptions& options) {
  FileContent content;
  RecordingFile file(&content);
  absl::Status status = CreateQcow2(file, options, CancelToken());
  if (!status.ok()) return status;
  return content;
}

}  // namespace cairn::bench
