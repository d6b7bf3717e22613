// QEMU's locks: a file that one of its programs has open is not merged, and the other way round.
#include "absl/time/clock.h"
#include "lib/image/image_lock.h"
#include "lib/os/faulty_file_system.h"
#include "lib/os/process.h"
#include "tests/unit/image/commit_fixture.h"

namespace cairn::testing {
namespace {

class CommitLockTest : public CommitTest {
 protected:
  void SetUp() override {
    CommitTest::SetUp();
    for (const char* format : {"raw", "qcow2"}) Make(format);
  }
  void Make(const std::string& format) {
    for (const char* name : {"base", "layer"}) std::filesystem::remove(Path(name));
    MakeImage("base", format, kMiB, "");
    QemuIo(Path("base"), format, {"write -P 1 0 1M"});
    MakeLayer("layer", "base", format, kMiB, "");
    QemuIo(Path("layer"), "qcow2", {"write -P 2 0 64k"});
  }
  // Has the file open until the result is destroyed.
  std::unique_ptr<Process> Open(std::vector<std::string> argv, const std::string& name) {
    ProcessSpec spec;
    spec.argv = std::move(argv);
    auto process = ProcessRunner::Posix()->Start(spec);
    EXPECT_OK(process);
    if (!process.ok()) return nullptr;
    auto file = FileSystem::Posix()->Open(Path(name), OpenMode::kRead);
    EXPECT_OK(file);
    const absl::Time until = absl::Now() + absl::Seconds(20);
    bool locked = false;
    while (!locked && absl::Now() < until) {
      absl::SleepFor(absl::Milliseconds(5));
      auto found = (*file)->IsLockedByOthers(100, 200);
      locked = found.ok() && *found;
    }
    EXPECT_TRUE(locked) << (*process)->stderr_text();
    absl::SleepFor(absl::Milliseconds(200));  // it opens, and locks, more than one thing
    return *std::move(process);
  }
  void ExpectLeftAlone() {
    const std::string base = ReadFile(Path("base"));
    const absl::Status status = Commit();
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    EXPECT_TRUE(ReadFile(Path("base")) == base);
  }
  void ExpectQemuLeavesItAlone() {
    const auto result =
        RunTool({"qemu-img", "commit", "-q", "-d", "-f", "qcow2", "layer"}, Path(""));
    EXPECT_NE(result.exit_code, 0);
  }
};

TEST_F(CommitLockTest, WhatAProgramOfQemuHasOpenIsLeftAlone) {
  for (const std::string format : {"raw", "qcow2"}) {
    SCOPED_TRACE(format);
    Make(format);
    const auto io = [](std::string format_open, std::string path, bool reads) {
      std::vector<std::string> argv = {"qemu-io", "-f", std::move(format_open), "-c",
                                       "sleep 100000"};
      if (reads) argv.push_back("-r");
      argv.push_back(std::move(path));
      return argv;
    };
    for (const bool reads : {false, true}) {
      SCOPED_TRACE(reads ? "to read" : "to write");
      if (!reads || format == "qcow2") {
        auto base = Open(io(format, Path("base"), reads), "base");
        ExpectLeftAlone();
        if (format == "qcow2") ExpectQemuLeavesItAlone();  // a raw file may have two writers
      }
      auto layer = Open(io("qcow2", Path("layer"), reads), "layer");
      ExpectLeftAlone();
      ExpectQemuLeavesItAlone();
    }
    EXPECT_OK(Commit());
  }
}

// As in a machine: the layer that is to go has another one on top and is only read.
TEST_F(CommitLockTest, AMiddleLayerOfAnOpenDiskIsLeftAlone) {
  for (const std::string format : {"raw", "qcow2"}) {
    SCOPED_TRACE(format);
    Make(format);
    MakeLayer("top", "layer", "qcow2", kMiB, "");
    auto disk = Open({"qemu-io", "-f", "qcow2", "-c", "sleep 100000", Path("top")}, "layer");
    ExpectLeftAlone();
    ExpectQemuLeavesItAlone();
    disk.reset();
    EXPECT_OK(Commit());
  }
}

TEST_F(CommitLockTest, WhatTheStorageDaemonHasOpenIsLeftAlone) {
  auto daemon = Open(
      {"qemu-storage-daemon", "--blockdev", "driver=file,node-name=file,filename=" + Path("base"),
       "--blockdev", "driver=qcow2,node-name=disk,file=file"},
      "base");
  ExpectLeftAlone();
  ExpectQemuLeavesItAlone();
  daemon.reset();
  EXPECT_OK(Commit());
}

TEST_F(CommitLockTest, WhatIsMergedCannotBeOpened) {
  {
    ASSERT_OK_AND_ASSIGN(auto base, FileSystem::Posix()->Open(Path("base"), OpenMode::kReadWrite));
    ASSERT_OK_AND_ASSIGN(auto layer, FileSystem::Posix()->Open(Path("layer"), OpenMode::kRead));
    ASSERT_OK(LockImage(*layer));
    ASSERT_OK(LockImage(*base));
    for (const std::string name : {"base", "layer"}) {
      EXPECT_NE(RunTool({"qemu-io", "-f", "qcow2", "-c", "write 0 512", Path(name)}).exit_code, 0);
    }
    EXPECT_NE(RunTool({"qemu-io", "-r", "-f", "qcow2", "-c", "read 0 512", Path("base")}).exit_code,
              0);
    EXPECT_TRUE(absl::IsUnimplemented(Commit()));
  }
  EXPECT_OK(Commit());
}

TEST_F(CommitLockTest, WithoutLocksNothingIsMerged) {
  FaultyFileSystem files(FileSystem::Posix());
  for (const char* call : {"TryLockShared", "IsLockedByOthers"}) {
    files.Inject({.call = call, .error_number = EOPNOTSUPP});
    EXPECT_TRUE(absl::IsUnimplemented(CommitSmallLayer(files, Path(""), "layer", "base", {}, {})));
  }
}

}  // namespace
}  // namespace cairn::testing
