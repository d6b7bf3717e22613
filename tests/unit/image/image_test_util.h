// What the tests of lib/image share: the real qemu tools as judges, random inputs that can be
// replayed, and a file in memory.
#ifndef CAIRN_TESTS_UNIT_IMAGE_IMAGE_TEST_UTIL_H_
#define CAIRN_TESTS_UNIT_IMAGE_IMAGE_TEST_UTIL_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "lib/image/qcow2.h"
#include "lib/os/file_system.h"

namespace cairn::testing {

// Seeded from CAIRN_TEST_SEED when that is set; the seed is recorded as a property of the test.
class Random {
 public:
  Random();
  uint64_t seed() const { return seed_; }
  // Uniform in [low, high].
  int64_t Between(int64_t low, int64_t high);
  // Few bits as likely as many: sizes of every order of magnitude. A multiple of `unit`.
  int64_t Size(int64_t low, int64_t high, int64_t unit);
  template <typename T>
  const T& OneOf(const std::vector<T>& values) {
    return values[static_cast<size_t>(Between(0, static_cast<int64_t>(values.size()) - 1))];
  }

 private:
  uint64_t seed_;
  std::mt19937_64 engine_;
};
// In a test's scope: every failure names the seed.
#define CAIRN_TRACE_SEED(random) \
  SCOPED_TRACE("replay with CAIRN_TEST_SEED=" + std::to_string((random).seed()))

struct ToolResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};
ToolResult RunTool(const std::vector<std::string>& argv, const std::string& directory = "");
// Fails the test when the tool fails.
std::string MustRun(const std::vector<std::string>& argv, const std::string& directory = "");

// qemu-img check: 0 clean, 3 leaked clusters only, else broken.
int CheckImage(const std::string& path);
nlohmann::json ImageInfoOf(const std::string& path, const std::string& format = "qcow2");
// True when the two read the same. A shorter one must be followed by zeros in the other.
bool SameContent(const std::string& path_a, const std::string& format_a, const std::string& path_b,
                 const std::string& format_b);
// One qemu-io run with these commands.
void QemuIo(const std::string& path, const std::string& format,
            const std::vector<std::string>& commands);
// Patterns at random places of the image, some of them at its ends.
void WriteRandomData(Random& random, const std::string& path, const std::string& format,
                     int64_t size_bytes, int writes);

absl::Status CreateAt(const std::string& path, const Qcow2CreateOptions& options);
absl::Status GrowAt(const std::string& path, int64_t size_bytes);

// A File over a string, for hostile content. Grows to 64 MiB at most.
class MemoryFile : public File {
 public:
  explicit MemoryFile(std::string content) : content_(std::move(content)) {}
  const std::string& content() const { return content_; }

  absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) override;
  absl::Status WriteAt(int64_t offset, std::string_view data) override;
  absl::Status Truncate(int64_t size_bytes) override;
  absl::Status Allocate(int64_t offset, int64_t length) override;
  absl::Status CloneFrom(File& source) override;
  absl::StatusOr<int64_t> CopyRangeFrom(File& source, int64_t offset, int64_t length) override;
  absl::StatusOr<DataExtent> NextData(int64_t offset) override;
  absl::StatusOr<FileStat> Stat() override;
  absl::Status SetOwnerAndMode(uid_t uid, gid_t gid, mode_t mode) override;
  void StartSync(int64_t, int64_t) override {}
  absl::Status Sync() override;
  absl::StatusOr<bool> TryLockShared(int64_t offset, int64_t length) override;
  absl::StatusOr<bool> IsLockedByOthers(int64_t offset, int64_t length) override;

 private:
  std::string content_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_IMAGE_IMAGE_TEST_UTIL_H_
