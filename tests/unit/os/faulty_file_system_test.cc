#include "lib/os/faulty_file_system.h"

#include <gtest/gtest.h>

#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;
using ::cairn::testing::ReadFile;
using ::cairn::testing::StatusIs;
using ::cairn::testing::TempDir;
using ::cairn::testing::WriteFile;

class FaultyFileSystemTest : public ::testing::Test {
 protected:
  std::unique_ptr<File> Create(const std::string& name) {
    auto file = files_.Open(dir_.File(name), OpenMode::kCreateNew);
    EXPECT_OK(file);
    return *std::move(file);
  }

  TempDir dir_;
  FaultyFileSystem files_{FileSystem::Posix()};
};

TEST_F(FaultyFileSystemTest, ForwardsAndCounts) {
  auto file = Create("f");
  EXPECT_OK(file->WriteAt(0, "x"));
  EXPECT_OK(file->WriteAt(1, "y"));
  EXPECT_EQ(*file->ReadAt(0, 10), "xy");
  EXPECT_OK(file->Stat());
  EXPECT_OK(files_.Stat(dir_.File("f")));
  EXPECT_EQ(files_.calls("Create"), 1);
  EXPECT_EQ(files_.calls("WriteAt"), 2);
  EXPECT_EQ(files_.calls("Stat"), 2);
  EXPECT_EQ(files_.calls("Rename"), 0);
  EXPECT_EQ(files_.calls(""), 3) << "changes";
  EXPECT_EQ(files_.calls("*"), 6) << "all";
  EXPECT_FALSE(files_.fired());
}

TEST_F(FaultyFileSystemTest, TheNthCallOfAKindFailsOnce) {
  auto file = Create("f");
  files_.Inject({.call = "WriteAt", .nth = 2, .error_number = EIO});
  EXPECT_OK(file->WriteAt(0, "a"));
  EXPECT_OK(file->Sync());
  EXPECT_FALSE(files_.fired());
  EXPECT_THAT(file->WriteAt(0, "b"), HasReasonOf(Reason::kIoError));
  EXPECT_TRUE(files_.fired());
  EXPECT_OK(file->WriteAt(1, "c"));
  EXPECT_EQ(ReadFile(dir_.File("f")), "ac");
}

TEST_F(FaultyFileSystemTest, OrFromThenOn) {
  auto file = Create("f");
  files_.Inject({.nth = 2, .error_number = ESTALE, .from_then_on = true});
  EXPECT_OK(file->WriteAt(0, "a"));
  EXPECT_THAT(file->WriteAt(0, "b"), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_THAT(files_.Remove(dir_.File("f")), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_OK(file->ReadAt(0, 1)) << "reading is not among them";
  files_.Clear();
  EXPECT_OK(files_.Remove(dir_.File("f")));
  EXPECT_TRUE(files_.fired());
}

TEST_F(FaultyFileSystemTest, EveryCallMayFail) {
  WriteFile(dir_.File("old"), "x");
  files_.Inject({.call = "*", .error_number = EIO, .from_then_on = true});
  EXPECT_FALSE(files_.Open(dir_.File("old"), OpenMode::kRead).ok());
  EXPECT_FALSE(files_.Open(dir_.File("new"), OpenMode::kCreate).ok());
  EXPECT_FALSE(files_.Stat(dir_.File("old")).ok());
  EXPECT_FALSE(files_.Rename(dir_.File("old"), dir_.File("new")).ok());
  EXPECT_FALSE(files_.Remove(dir_.File("old")).ok());
  EXPECT_FALSE(files_.SyncDirectory(dir_.path()).ok());
  EXPECT_FALSE(files_.MakeDirectories(dir_.File("d")).ok());
  EXPECT_FALSE(files_.List(dir_.path()).ok());
  EXPECT_FALSE(files_.StatFileSystem(dir_.path()).ok());
  EXPECT_EQ(FileSystem::Posix()->List(dir_.path())->size(), 1u) << "nothing happened";
  files_.Clear();
  auto file = Create("f");
  auto other = Create("g");
  files_.Inject({.call = "*", .error_number = EIO, .from_then_on = true});
  EXPECT_FALSE(file->ReadAt(0, 1).ok());
  EXPECT_FALSE(file->WriteAt(0, "x").ok());
  EXPECT_FALSE(file->Truncate(7).ok());
  EXPECT_FALSE(file->Allocate(0, 7).ok());
  EXPECT_FALSE(file->CloneFrom(*other).ok());
  EXPECT_FALSE(file->CopyRangeFrom(*other, 0, 1).ok());
  EXPECT_FALSE(file->NextData(0).ok());
  EXPECT_FALSE(file->Stat().ok());
  EXPECT_FALSE(file->SetOwnerAndMode(0, 0, 0600).ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_EQ(FileSystem::Posix()->Stat(dir_.File("f"))->size_bytes, 0);
}

TEST_F(FaultyFileSystemTest, AnOptionalCallCanBeMadeUnimplemented) {
  auto file = Create("f");
  auto other = Create("g");
  files_.Inject({.error_number = EOPNOTSUPP, .from_then_on = true});
  EXPECT_THAT(file->Allocate(0, 7), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(file->CloneFrom(*other), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(file->CopyRangeFrom(*other, 0, 7), StatusIs(absl::StatusCode::kUnimplemented));
}

TEST_F(FaultyFileSystemTest, AFailingWriteMayWriteAPart) {
  auto file = Create("f");
  files_.Inject({.call = "WriteAt", .error_number = ENOSPC, .short_write_bytes = 3});
  EXPECT_THAT(file->WriteAt(0, "abcdef"), HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(ReadFile(dir_.File("f")), "abc");
}

TEST_F(FaultyFileSystemTest, OrTwice) {
  files_.Inject({.call = "Stat", .nth = 2, .again_after = 2});
  for (const bool ok : {true, false, true, false, true}) {
    EXPECT_EQ(files_.Stat(dir_.path()).ok(), ok);
  }
}

TEST_F(FaultyFileSystemTest, TheFirstCallThatFailedIsTold) {
  auto file = Create("f");
  files_.Inject({.call = "*", .nth = 2, .from_then_on = true});
  EXPECT_OK(files_.Stat(dir_.path()));
  EXPECT_EQ(files_.fired_at(), "");
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_FALSE(files_.Stat(dir_.path()).ok());
  EXPECT_EQ(files_.fired_at(), "Sync " + dir_.File("f"));
}

TEST_F(FaultyFileSystemTest, AFailingCallMayHaveBeenCarriedOut) {
  auto file = Create("f");
  files_.Inject({.from_then_on = true, .carried_out = true});
  EXPECT_THAT(file->WriteAt(0, "abc"), HasReasonOf(Reason::kIoError));
  EXPECT_EQ(ReadFile(dir_.File("f")), "abc");
  EXPECT_THAT(files_.Rename(dir_.File("f"), dir_.File("g")), HasReasonOf(Reason::kIoError));
  EXPECT_EQ(ReadFile(dir_.File("g")), "abc");
  EXPECT_THAT(files_.Open(dir_.File("h"), OpenMode::kCreate), HasReasonOf(Reason::kIoError));
  EXPECT_OK(files_.Stat(dir_.File("h")));
}

TEST_F(FaultyFileSystemTest, AServerThatKnowsNoFileHasRemovedIt) {
  Create("f");
  files_.Inject({.error_number = ENOENT});
  EXPECT_OK(files_.Remove(dir_.File("f")));
  EXPECT_THAT(files_.Stat(dir_.File("f")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FaultyFileSystemTest, CopiesBetweenWrappedFiles) {
  auto source = Create("source");
  EXPECT_OK(source->WriteAt(0, "content"));
  auto copy = Create("copy");
  auto copied = copy->CopyRangeFrom(*source, 0, 100);
  if (copied.status().code() == absl::StatusCode::kUnimplemented) GTEST_SKIP() << copied.status();
  ASSERT_OK(copied);
  EXPECT_EQ(ReadFile(dir_.File("copy")), "content");
}

TEST_F(FaultyFileSystemTest, EnumeratesUntilNoFaultIsMet) {
  std::vector<int64_t> runs;
  int64_t faults = files_.EnumerateFaults({.call = "Remove"}, [&](int64_t nth) {
    runs.push_back(nth);
    int failures = 0;
    for (int i = 0; i < 3; ++i) failures += files_.Remove(dir_.File("f")).ok() ? 0 : 1;
    EXPECT_EQ(failures, nth <= 3 ? 1 : 0);
  });
  EXPECT_EQ(faults, 3);
  EXPECT_EQ(runs, (std::vector<int64_t>{1, 2, 3, 4}));
}

}  // namespace
}  // namespace cairn
