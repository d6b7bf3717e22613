#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "lib/base/size.h"
#include "lib/image/image.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

class CopyFileTest : public ::testing::Test {
 protected:
  CopyFileTest() {
    options_.source_directory = dir_.path();
    options_.source_name = "source";
    options_.target_directory = target_.path();
    options_.target_name = "target";
    options_.temporary = "temporary";
  }
  // Random data between holes, a hole at the end.
  void MakeSource(int64_t size) {
    MustRun({"qemu-img", "create", "-q", "-f", "raw", dir_.File("source"), std::to_string(size)});
    WriteRandomData(random_, dir_.File("source"), "raw", size - size / 4 / 512 * 512, 10);
  }
  void ExpectCopied() {
    EXPECT_EQ(ReadFile(target_.File("target")), ReadFile(dir_.File("source")));
    EXPECT_FALSE(std::filesystem::exists(target_.File("temporary")));
  }
  int64_t Physical(const std::string& path) {
    auto stat = FileSystem::Posix()->Stat(path);
    return stat.ok() ? stat->physical_bytes : -1;
  }

  Random random_;
  TempDir dir_;
  TempDir target_;
  CopyFileOptions options_;
};

TEST_F(CopyFileTest, CopiesByEveryMeans) {
  CAIRN_TRACE_SEED(random_);
  for (const bool clone : {true, false}) {
    for (const bool range : {true, false}) {
      MakeSource(random_.Size(kMiB, 32 * kMiB, 512));
      options_.replace = true;
      FaultyFileSystem files(FileSystem::Posix());
      if (!clone) {
        files.Inject({.call = "CloneFrom", .error_number = EOPNOTSUPP, .from_then_on = true});
      }
      if (!range) {
        files.Inject({.call = "CopyRangeFrom", .error_number = EOPNOTSUPP, .from_then_on = true});
      }
      std::vector<int64_t> progress;
      ASSERT_OK(CopyImageFile(files, options_, {},
                              [&](int64_t done, int64_t) { progress.push_back(done); }));
      ExpectCopied();
      EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
      EXPECT_LE(Physical(target_.File("target")), Physical(dir_.File("source")) + 64 * kKiB);
    }
  }
}

TEST_F(CopyFileTest, ZerosThatAreDataBecomeHolesWhenTheShareHidesHoles) {
  CAIRN_TRACE_SEED(random_);
  // An odd length, and one byte of data at the end.
  WriteFile(dir_.File("source"), std::string(5 * kMiB, '\0') + "x");
  FaultyFileSystem files(FileSystem::Posix());
  files.Inject({.call = "CopyRangeFrom", .error_number = EOPNOTSUPP, .from_then_on = true});
  ASSERT_OK(CopyImageFile(files, options_, {}, {}));
  ExpectCopied();
  EXPECT_LE(Physical(target_.File("target")), 64 * kKiB);
}

TEST_F(CopyFileTest, ThickIsAllocated) {
  CAIRN_TRACE_SEED(random_);
  MakeSource(16 * kMiB);
  options_.allocate = true;
  ASSERT_OK(CopyImageFile(*FileSystem::Posix(), options_, {}, {}));
  ExpectCopied();
  EXPECT_GE(Physical(target_.File("target")), 16 * kMiB);
}

TEST_F(CopyFileTest, TakesModeAndOwner) {
  MakeSource(kMiB);
  ASSERT_EQ(chmod(dir_.File("source").c_str(), 0600), 0);
  options_.permissions = {.mode = 0664, .owner_of_backing = true};
  ASSERT_OK(CopyImageFile(*FileSystem::Posix(), options_, {}, {}));
  ASSERT_OK_AND_ASSIGN(const FileStat stat, FileSystem::Posix()->Stat(target_.File("target")));
  EXPECT_EQ(stat.mode & 0777, 0664u);
}

TEST_F(CopyFileTest, EmptyFile) {
  WriteFile(dir_.File("source"), "");
  ASSERT_OK(CopyImageFile(*FileSystem::Posix(), options_, {}, {}));
  ExpectCopied();
}

TEST_F(CopyFileTest, NothingIsLeftWhateverCallFails) {
  CAIRN_TRACE_SEED(random_);
  MakeSource(2 * kMiB);
  FaultyFileSystem files(FileSystem::Posix());
  const int64_t faults = files.EnumerateFaults({.call = "*", .error_number = EIO}, [&](int64_t n) {
    const absl::Status status = CopyImageFile(files, options_, {}, {});
    EXPECT_EQ(status.ok(), !files.fired()) << n << " " << Describe(status);
    EXPECT_EQ(std::filesystem::is_empty(target_.path()), !status.ok()) << n;
    std::filesystem::remove(target_.File("target"));
  });
  EXPECT_GT(faults, 6);
}

TEST_F(CopyFileTest, IsCancelledBetweenPieces) {
  CAIRN_TRACE_SEED(random_);
  WriteFile(dir_.File("source"), std::string(20 * kMiB, 'x'));
  FaultyFileSystem files(FileSystem::Posix());
  files.Inject({.call = "CopyRangeFrom", .error_number = EOPNOTSUPP, .from_then_on = true});
  CancelSource cancel;
  EXPECT_THAT(CopyImageFile(files, options_, cancel.token(),
                            [&](int64_t done, int64_t total) {
                              EXPECT_LT(done, total);
                              cancel.Cancel();
                            }),
              HasReasonOf(Reason::kCancelled));
  EXPECT_TRUE(std::filesystem::is_empty(target_.path()));
}

}  // namespace
}  // namespace cairn::testing
