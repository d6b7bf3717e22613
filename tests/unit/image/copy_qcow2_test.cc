// Which qcow2 files are copied as files, and that the copies are volumes as qemu-img would write them.
#include <fcntl.h>
#include <fmt/format.h>

#include <filesystem>

#include "lib/base/size.h"
#include "lib/image/image.h"
#include "lib/image/qcow2_layout.h"
#include "lib/os/faulty_file_system.h"
#include "lib/os/unique_fd.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

constexpr int64_t kSize = 8 * kMiB;

class CopyQcow2Test : public ::testing::Test {
 protected:
  CopyQcow2Test() {
    options_.source_directory = dir_.path();
    options_.source_name = "source";
    options_.target_directory = target_.path();
    options_.target_name = "target";
    options_.temporary = "temporary";
  }
  std::string source() const { return dir_.File("source"); }
  std::string target() const { return target_.File("target"); }

  void MakeSource(const std::string& options = "", int64_t size = kSize) {
    std::filesystem::remove(source());
    std::vector<std::string> command = {"qemu-img", "create", "-q", "-f", "qcow2"};
    if (!options.empty()) command.insert(command.end(), {"-o", options});
    command.insert(command.end(), {source(), std::to_string(size)});
    MustRun(command);
  }
  absl::StatusOr<bool> Copy(int64_t size = kSize) {
    return CopyQcow2File(*FileSystem::Posix(), options_, size, {}, {});
  }
  void ExpectNotCopied(int64_t size = kSize) {
    absl::StatusOr<bool> copied = Copy(size);
    ASSERT_OK(copied);
    EXPECT_FALSE(*copied);
    EXPECT_TRUE(std::filesystem::is_empty(target_.path()));
  }
  void SetHeader(size_t at, uint64_t value) {
    std::string bytes(8, '\0');
    qcow2::Store64(bytes, 0, value);
    ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(source(), OpenMode::kReadWrite));
    ASSERT_OK(file->WriteAt(static_cast<int64_t>(at), bytes));
  }

  Random random_;
  TempDir dir_;
  TempDir target_;
  CopyFileOptions options_;
};

TEST_F(CopyQcow2Test, ACopyIsAVolumeOfItsSizeWhateverTheSourceLooksLike) {
  CAIRN_TRACE_SEED(random_);
  for (const char* options :
       {"", "cluster_size=512", "cluster_size=4k", "cluster_size=2M", "compat=0.10",
        "extended_l2=on", "lazy_refcounts=on", "preallocation=metadata", "refcount_bits=1"}) {
    for (const int64_t size : {kSize, kSize + 512, 64 * kSize, int64_t{64} * kGiB}) {
      SCOPED_TRACE(fmt::format("{} {}", options, size));
      MakeSource(options);
      WriteRandomData(random_, source(), "qcow2", kSize, 10);
      const std::string before = ReadFile(source());
      ASSERT_OK_AND_ASSIGN(const bool copied, Copy(size));
      EXPECT_TRUE(copied);
      EXPECT_EQ(CheckImage(target()), 0);
      EXPECT_TRUE(SameContent(source(), "qcow2", target(), "qcow2"));
      const nlohmann::json info = ImageInfoOf(target());
      EXPECT_EQ(info["virtual-size"], size);
      EXPECT_EQ(info["cluster-size"], ImageInfoOf(source())["cluster-size"]);
      EXPECT_EQ(ReadFile(source()), before);
      EXPECT_FALSE(std::filesystem::exists(target_.File("temporary")));
      // It goes on as a volume of its own.
      QemuIo(target(), "qcow2", {fmt::format("write -P 7 {} 512", size - 512)});
      EXPECT_EQ(CheckImage(target()), 0);
      std::filesystem::remove(target());
    }
  }
}

TEST_F(CopyQcow2Test, CompressedClustersStayAsTheyAre) {
  CAIRN_TRACE_SEED(random_);
  MakeSource();
  WriteRandomData(random_, source(), "qcow2", kSize, 10);
  std::filesystem::rename(source(), dir_.File("plain"));
  MustRun({"qemu-img", "convert", "-c", "-O", "qcow2", dir_.File("plain"), source()});
  ASSERT_OK_AND_ASSIGN(const bool copied, Copy(2 * kSize));
  EXPECT_TRUE(copied);
  EXPECT_EQ(CheckImage(target()), 0);
  EXPECT_TRUE(SameContent(dir_.File("plain"), "qcow2", target(), "qcow2"));
}

TEST_F(CopyQcow2Test, ALayerIsNot) {
  MustRun({"qemu-img", "create", "-q", "-f", "raw", dir_.File("base"), std::to_string(kSize)});
  MakeSource("backing_file=base,backing_fmt=raw");
  ExpectNotCopied();
}

TEST_F(CopyQcow2Test, WhatHasMoreThanTheImageIsNot) {
  MakeSource();
  MustRun({"qemu-img", "snapshot", "-c", "inside", source()});
  ExpectNotCopied();
  MakeSource();
  MustRun({"qemu-img", "bitmap", "--add", source(), "changes"});
  ExpectNotCopied();
  MakeSource(fmt::format("data_file={}", dir_.File("data")));
  ExpectNotCopied();
  std::filesystem::remove(source());
  // For LUKS qemu-img measures the processor first, and fails where it cannot.
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
           "encrypt.format=aes,encrypt.key-secret=s", source(), "1M"});
  ExpectNotCopied();
}

TEST_F(CopyQcow2Test, WhatIsNotSoundIsNot) {
  MakeSource();
  SetHeader(qcow2::kIncompatibleAt, qcow2::kIncompatibleDirty);
  ExpectNotCopied();
  SetHeader(qcow2::kIncompatibleAt, qcow2::kIncompatibleCorrupt);
  ExpectNotCopied();
  SetHeader(qcow2::kIncompatibleAt, 0);
  SetHeader(qcow2::kAutoclearAt, uint64_t{1} << 40);
  ExpectNotCopied();
  SetHeader(qcow2::kAutoclearAt, 0);
  ASSERT_OK_AND_ASSIGN(const bool copied, Copy());
  EXPECT_TRUE(copied);
}

TEST_F(CopyQcow2Test, WhatCannotHaveTheSizeIsNot) {
  MakeSource("", 2 * kSize);
  ExpectNotCopied(kSize);
  // Its mapping table would be larger than qemu takes.
  MakeSource("cluster_size=512");
  ExpectNotCopied(int64_t{1} << 40);
}

TEST_F(CopyQcow2Test, WhatSomebodyWritesToIsNotAndQemuImgRefusesIt) {
  MakeSource();
  const UniqueFd writer(open(source().c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 101;
  lock.l_len = 1;
  ASSERT_EQ(fcntl(writer.get(), F_OFD_SETLK, &lock), 0);
  ExpectNotCopied();
  const ToolResult refused =
      RunTool({"qemu-img", "convert", "-O", "qcow2", source(), dir_.File("converted")});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.err.find("lock"), std::string::npos) << refused.err;
  // One who only reads is in nobody's way.
  lock.l_start = 100;
  ASSERT_EQ(fcntl(writer.get(), F_OFD_SETLK, &lock), 0);
  lock.l_type = F_UNLCK;
  lock.l_start = 101;
  ASSERT_EQ(fcntl(writer.get(), F_OFD_SETLK, &lock), 0);
  ASSERT_OK_AND_ASSIGN(const bool copied, Copy());
  EXPECT_TRUE(copied);
}

TEST_F(CopyQcow2Test, NothingIsLeftWhateverCallFails) {
  CAIRN_TRACE_SEED(random_);
  MakeSource();
  WriteRandomData(random_, source(), "qcow2", kSize, 4);
  FaultyFileSystem files(FileSystem::Posix());
  const int64_t faults = files.EnumerateFaults({.call = "*", .error_number = EIO}, [&](int64_t n) {
    // So large that growing moves a table.
    const absl::StatusOr<bool> copied = CopyQcow2File(files, options_, int64_t{16} << 40, {}, {});
    // Where locks cannot be asked for, qemu-img is to decide.
    const bool made = copied.ok() && *copied;
    EXPECT_EQ(made, !files.fired()) << n << " " << Describe(copied.status());
    EXPECT_EQ(std::filesystem::is_empty(target_.path()), !made) << n;
    if (made) {
      EXPECT_EQ(CheckImage(target()), 0);
    }
    std::filesystem::remove(target());
  });
  EXPECT_GT(faults, 15);
}

TEST_F(CopyQcow2Test, IsCancelled) {
  CAIRN_TRACE_SEED(random_);
  MakeSource();
  QemuIo(source(), "qcow2", {fmt::format("write -P 1 0 {}", kSize)});
  FaultyFileSystem files(FileSystem::Posix());
  for (const char* call : {"CloneFrom", "CopyRangeFrom"}) {
    files.Inject({.call = call, .error_number = EOPNOTSUPP, .from_then_on = true});
  }
  CancelSource cancel;
  EXPECT_THAT(CopyQcow2File(files, options_, kSize, cancel.token(),
                            [&](int64_t, int64_t) { cancel.Cancel(); }),
              HasReasonOf(Reason::kCancelled));
  EXPECT_TRUE(std::filesystem::is_empty(target_.path()));
}

}  // namespace
}  // namespace cairn::testing
