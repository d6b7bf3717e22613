// A file is gone when its directory says so, not when one call does.
#include "lib/os/absence.h"

#include <gtest/gtest.h>

#include "lib/os/faulty_file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

class AbsenceTest : public ::testing::Test {
 protected:
  void ExpectAbsent(bool expected, const std::string& name) {
    ASSERT_OK_AND_ASSIGN(const bool absent, IsAbsent(files_, dir_.path(), name));
    EXPECT_EQ(absent, expected) << name;
  }

  testing::TempDir dir_;
  FaultyFileSystem files_{FileSystem::Posix()};
};

TEST_F(AbsenceTest, WhatIsNotThereIsAbsent) {
  ExpectAbsent(true, "none");
  testing::WriteFile(dir_.File("some"), "x");
  ExpectAbsent(false, "some");
}

TEST_F(AbsenceTest, OneLieIsNotBelieved) {
  testing::WriteFile(dir_.File("some"), "x");
  files_.Inject({.call = "Stat", .error_number = ENOENT});
  ExpectAbsent(false, "some");
  EXPECT_TRUE(files_.fired());
}

TEST_F(AbsenceTest, WhatCannotBeLookedAtIsNotAbsent) {
  for (const char* call : {"Stat", "RefreshDirectory", "List"}) {
    files_.Inject({.call = call, .error_number = EIO});
    EXPECT_FALSE(IsAbsent(files_, dir_.path(), "none").ok()) << call;
  }
}

}  // namespace
}  // namespace cairn
