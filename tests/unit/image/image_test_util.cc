#include "tests/unit/image/image_test_util.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/os/process.h"
#include "tests/support/matchers.h"

namespace cairn::testing {
namespace {

uint64_t ChooseSeed() {
  if (const char* text = getenv("CAIRN_TEST_SEED"); text != nullptr) {
    return strtoull(text, nullptr, 10);
  }
  return std::random_device()();
}

constexpr int64_t kMemoryFileBytesMax = 64 * kMiB;

}  // namespace

Random::Random() : seed_(ChooseSeed()), engine_(seed_) {
  ::testing::Test::RecordProperty("seed", std::to_string(seed_));
}

int64_t Random::Between(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(engine_);
}

int64_t Random::Size(int64_t low, int64_t high, int64_t unit) {
  int high_bits = 0;
  while (high_bits < 62 && (int64_t{1} << high_bits) < high) ++high_bits;
  const int64_t value = Between(0, (int64_t{1} << Between(0, high_bits)) - 1) + low;
  return std::clamp(value / unit * unit, low, high);
}

ToolResult RunTool(const std::vector<std::string>& argv, const std::string& directory) {
  ProcessSpec spec;
  spec.argv = argv;
  spec.working_directory = directory;
  spec.output_max_bytes = 64 * kMiB;
  auto result = ProcessRunner::Posix()->Run(spec);
  if (!result.ok()) return {-1, "", Describe(result.status())};
  return {result->exit_code, result->stdout_text, result->stderr_text};
}

std::string MustRun(const std::vector<std::string>& argv, const std::string& directory) {
  const ToolResult result = RunTool(argv, directory);
  EXPECT_EQ(result.exit_code, 0) << fmt::format("{}", fmt::join(argv, " ")) << "\n"
                                 << result.out << result.err;
  return result.out;
}

int CheckImage(const std::string& path) {
  const ToolResult result = RunTool({"qemu-img", "check", "-f", "qcow2", path});
  if (result.exit_code != 0 && result.exit_code != 3) {
    GTEST_LOG_(INFO) << path << ": " << result.out.substr(0, 2000) << result.err.substr(0, 2000);
  }
  return result.exit_code;
}

nlohmann::json ImageInfoOf(const std::string& path, const std::string& format) {
  return nlohmann::json::parse(MustRun({"qemu-img", "info", "-f", format, "--output=json", path}),
                               nullptr, false);
}

bool SameContent(const std::string& path_a, const std::string& format_a, const std::string& path_b,
                 const std::string& format_b) {
  const ToolResult result =
      RunTool({"qemu-img", "compare", "-f", format_a, "-F", format_b, path_a, path_b});
  if (result.exit_code != 0) GTEST_LOG_(INFO) << result.out << result.err;
  return result.exit_code == 0;
}

void QemuIo(const std::string& path, const std::string& format,
            const std::vector<std::string>& commands) {
  std::vector<std::string> argv = {"qemu-io", "-f", format};
  for (const std::string& command : commands) argv.insert(argv.end(), {"-c", command});
  argv.push_back(path);
  const ToolResult result = RunTool(argv);
  // qemu-io ends with 0 in spite of a failed read pattern: it only tells.
  EXPECT_TRUE(result.exit_code == 0 && result.out.find("failed") == std::string::npos)
      << fmt::format("{}", fmt::join(argv, " ")) << "\n"
      << result.out << result.err;
}

void WriteRandomData(Random& random, const std::string& path, const std::string& format,
                     int64_t size_bytes, int writes) {
  std::vector<std::string> commands;
  for (int i = 0; i < writes; ++i) {
    const int64_t length = std::min(size_bytes, random.Size(512, 256 * kKiB, 512));
    int64_t offset = random.Between(0, size_bytes - length) / 512 * 512;
    if (i == 0) offset = 0;
    if (i == 1) offset = size_bytes - length;
    commands.push_back(fmt::format("write -P {} {} {}", random.Between(1, 255), offset, length));
  }
  QemuIo(path, format, commands);
}

absl::Status CreateAt(const std::string& path, const Qcow2CreateOptions& options) {
  ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(path, OpenMode::kCreateNew));
  return CreateQcow2(*file, options, {});
}

absl::Status GrowAt(const std::string& path, int64_t size_bytes) {
  ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(path, OpenMode::kReadWrite));
  return GrowQcow2(*file, size_bytes);
}

absl::StatusOr<std::string> MemoryFile::ReadAt(int64_t offset, int64_t length) {
  EXPECT_GE(offset, 0);
  EXPECT_GE(length, 0);
  // The largest legal table: what a hostile header may make us ask for.
  EXPECT_LE(length, 32 * kMiB);
  const auto size = static_cast<int64_t>(content_.size());
  if (offset >= size) return std::string();
  return content_.substr(static_cast<size_t>(offset), static_cast<size_t>(length));
}

absl::Status MemoryFile::WriteAt(int64_t offset, std::string_view data) {
  const int64_t end = offset + static_cast<int64_t>(data.size());
  if (end > static_cast<int64_t>(content_.size())) RETURN_IF_ERROR(Truncate(end));
  content_.replace(static_cast<size_t>(offset), data.size(), data);
  return absl::OkStatus();
}

absl::Status MemoryFile::Truncate(int64_t size_bytes) {
  EXPECT_GE(size_bytes, 0);
  if (size_bytes > kMemoryFileBytesMax) return ErrnoError(ENOSPC, "truncate");
  content_.resize(static_cast<size_t>(size_bytes));
  return absl::OkStatus();
}

absl::Status MemoryFile::Allocate(int64_t, int64_t) { return absl::UnimplementedError(""); }
absl::Status MemoryFile::CloneFrom(File&) { return absl::UnimplementedError(""); }
absl::StatusOr<int64_t> MemoryFile::CopyRangeFrom(File&, int64_t, int64_t) {
  return absl::UnimplementedError("");
}
absl::StatusOr<DataExtent> MemoryFile::NextData(int64_t offset) {
  return DataExtent{offset, static_cast<int64_t>(content_.size()) - offset};
}
absl::StatusOr<FileStat> MemoryFile::Stat() {
  FileStat stat;
  stat.size_bytes = static_cast<int64_t>(content_.size());
  stat.is_regular = true;
  return stat;
}
absl::Status MemoryFile::SetOwnerAndMode(uid_t, gid_t, mode_t) { return absl::OkStatus(); }
absl::Status MemoryFile::Sync() { return absl::OkStatus(); }
absl::StatusOr<bool> MemoryFile::TryLockShared(int64_t, int64_t) { return true; }
absl::StatusOr<bool> MemoryFile::IsLockedByOthers(int64_t, int64_t) { return false; }

}  // namespace cairn::testing
