#include "lib/os/file_abilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "lib/base/status.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using testing::TempDir;

class FileAbilitiesTest : public ::testing::Test {
 protected:
  absl::StatusOr<FileAbilities> Try() {
    auto abilities = TryAbilities(files_, dir_.File("a"), dir_.File("b"));
    EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
    return abilities;
  }

  TempDir dir_;
  FaultyFileSystem files_{FileSystem::Posix()};
};

TEST_F(FileAbilitiesTest, WhatOneCallCannotDoIsAbsentAndTheRestIsNot) {
  ASSERT_OK_AND_ASSIGN(const FileAbilities all, Try());
  files_.Inject({.call = "Allocate", .error_number = EOPNOTSUPP});
  ASSERT_OK_AND_ASSIGN(FileAbilities abilities, Try());
  EXPECT_EQ(abilities, (FileAbilities{all.clone, all.copy, false, all.seek}));
  files_.Inject({.call = "CloneFrom", .error_number = EOPNOTSUPP});
  ASSERT_OK_AND_ASSIGN(abilities, Try());
  EXPECT_EQ(abilities, (FileAbilities{false, all.copy, all.allocate, all.seek}));
  files_.Inject({.call = "CopyRangeFrom", .error_number = EXDEV});
  ASSERT_OK_AND_ASSIGN(abilities, Try());
  EXPECT_EQ(abilities, (FileAbilities{all.clone, false, all.allocate, all.seek}));
}

TEST_F(FileAbilitiesTest, AnErrorSaysNothingAndLeavesNothing) {
  const int64_t faults = files_.EnumerateFaults({.error_number = ENOSPC}, [&](int64_t) {
    const absl::Status status = TryAbilities(files_, dir_.File("a"), dir_.File("b")).status();
    EXPECT_EQ(HasReason(status, Reason::kNoSpace), files_.fired()) << status;
    std::filesystem::remove(dir_.File("a"));  // when it was the removal that failed
    std::filesystem::remove(dir_.File("b"));
  });
  EXPECT_GE(faults, 6);
}

}  // namespace
}  // namespace cairn
