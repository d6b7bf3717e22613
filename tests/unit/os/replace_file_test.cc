// ReplaceFile under the failure of each of its steps.
#include <gtest/gtest.h>

#include "lib/os/faulty_file_system.h"
#include "lib/os/file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;
using ::cairn::testing::ReadFile;
using ::cairn::testing::TempDir;
using ::cairn::testing::WriteFile;

class ReplaceFileTest : public ::testing::Test {
 protected:
  TempDir dir_;
  FaultyFileSystem files_{FileSystem::Posix()};
  ReplaceFileOptions options_{.directory = dir_.path(), .name = "map", .temporary = "map.tmp"};
};

TEST_F(ReplaceFileTest, CreatesAndReplaces) {
  ASSERT_OK(ReplaceFile(files_, options_, "one"));
  EXPECT_EQ(ReadFile(dir_.File("map")), "one");
  options_.mode = 0644;
  ASSERT_OK(ReplaceFile(files_, options_, "two"));
  EXPECT_EQ(ReadFile(dir_.File("map")), "two");
  EXPECT_EQ(files_.Stat(dir_.File("map"))->mode, 0644u);
  options_.mode = 0660;
  ASSERT_OK(ReplaceFile(files_, options_, ""));
  EXPECT_EQ(ReadFile(dir_.File("map")), "");
  EXPECT_EQ(files_.Stat(dir_.File("map"))->mode, 0660u);
  EXPECT_EQ(files_.List(dir_.path())->size(), 1u) << "no temporary file stays";
}

TEST_F(ReplaceFileTest, ALeftTemporaryFileDoesNotMatter) {
  WriteFile(dir_.File("map.tmp"), "of an earlier crash, and longer than what follows");
  ASSERT_OK(ReplaceFile(files_, options_, "new"));
  EXPECT_EQ(ReadFile(dir_.File("map")), "new");
  EXPECT_EQ(files_.Stat(dir_.File("map"))->mode, 0660u);
}

TEST_F(ReplaceFileTest, SyncsTheFileBeforeTheRenameAndTheDirectoryAfter) {
  ASSERT_OK(ReplaceFile(files_, options_, "new"));
  EXPECT_EQ(files_.calls("Sync"), 1);
  EXPECT_EQ(files_.calls("SyncDirectory"), 1);
  files_.Inject({.call = "Sync"});
  EXPECT_FALSE(ReplaceFile(files_, options_, "newer").ok());
  EXPECT_EQ(files_.calls("Rename"), 1) << "what may not be on disk is never given the name";
}

TEST_F(ReplaceFileTest, EachStepMayFailOnce) {
  WriteFile(dir_.File("map"), "old");
  options_.mode = 0600;
  int64_t faults = files_.EnumerateFaults({.error_number = ENOSPC}, [&](int64_t nth) {
    WriteFile(dir_.File("map"), "old");
    absl::Status status = ReplaceFile(files_, options_, "new");
    EXPECT_EQ(status.ok(), !files_.fired()) << nth;
    std::string content = ReadFile(dir_.File("map"));
    if (status.ok()) {
      EXPECT_EQ(content, "new");
    } else {
      EXPECT_THAT(status, HasReasonOf(Reason::kNoSpace)) << nth;
      EXPECT_TRUE(content == "old" || content == "new") << nth << ": " << content;
    }
    EXPECT_EQ(FileSystem::Posix()->List(dir_.path())->size(), 1u) << "cleaned up, " << nth;
  });
  EXPECT_EQ(faults, 6) << "create, write, owner and mode, sync, rename, sync of the directory";
}

TEST_F(ReplaceFileTest, TheShareMayGoAwayAtEachStep) {
  files_.EnumerateFaults({.error_number = ESTALE, .from_then_on = true}, [&](int64_t nth) {
    WriteFile(dir_.File("map"), "old");
    absl::Status status = ReplaceFile(files_, options_, "new");
    EXPECT_EQ(status.ok(), !files_.fired()) << nth;
    std::string content = ReadFile(dir_.File("map"));
    EXPECT_TRUE(content == "old" || content == "new") << nth << ": " << content;
    if (!status.ok()) {
      EXPECT_THAT(status, HasReasonOf(Reason::kShareUnavailable)) << nth;
    }
  });
}

TEST_F(ReplaceFileTest, APartlyWrittenFileNeverGetsTheName) {
  WriteFile(dir_.File("map"), "old");
  files_.Inject({.call = "WriteAt", .error_number = ENOSPC, .short_write_bytes = 2});
  EXPECT_THAT(ReplaceFile(files_, options_, "new"), HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(ReadFile(dir_.File("map")), "old");
  EXPECT_EQ(files_.List(dir_.path())->size(), 1u);
}

}  // namespace
}  // namespace cairn
