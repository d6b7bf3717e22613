// What ended is remembered for as long as it was said, by the time for which the server has run.
#include "lib/engine/retention.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "lib/base/json.h"
#include "tests/support/matchers.h"
#include "tests/support/set_clock.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using testing::ReadFile;
using testing::SetClock;
using testing::TempDir;
using testing::WriteFile;

constexpr absl::Duration kRetention = absl::Hours(64);

class RetentionTest : public ::testing::Test {
 protected:
  void Start(int64_t revision) {
    retention_.emplace(FileSystem::Posix(), dir_.path(), &clock_, kRetention, revision);
  }
  // The revision up to which is forgotten; -1: none.
  int64_t Advance(int64_t revision) {
    const auto mark = retention_->Advance(revision, clock_.Now());
    return mark.has_value() ? mark->revision : -1;
  }
  std::string Path() const { return dir_.File("retention.json"); }

  TempDir dir_;
  SetClock clock_;
  std::optional<Retention> retention_;
};

TEST_F(RetentionTest, NothingIsForgottenBeforeItsTimeAndAllSoonAfter) {
  Start(0);
  constexpr absl::Duration kPeriod = absl::Minutes(10);
  for (int64_t revision = 0; revision < 1000; ++revision) {
    const int64_t forgotten = Advance(revision);
    const absl::Duration run = kPeriod * revision;
    if (forgotten >= 0) {
      EXPECT_LE(kPeriod * forgotten + kRetention, run);
    }
    // Marks are an hour apart.
    if (run >= kRetention) {
      EXPECT_GE(kPeriod * forgotten + kRetention + absl::Hours(1), run);
    }
    clock_.Pass(kPeriod);
  }
}

TEST_F(RetentionTest, TheWallClockDoesNotMatter) {
  Start(0);
  EXPECT_EQ(Advance(5), -1);
  for (const absl::Duration jump : {absl::Hours(10'000), -absl::Hours(20'000)}) {
    clock_.Set(jump);
    EXPECT_EQ(Advance(6), -1);
  }
  clock_.Pass(kRetention - absl::Seconds(1));
  EXPECT_EQ(Advance(7), -1);
  clock_.Pass(absl::Seconds(1));
  EXPECT_EQ(Advance(8), 5);
}

TEST_F(RetentionTest, TimeWhenTheServerIsDownDoesNotCount) {
  Start(0);
  EXPECT_EQ(Advance(5), -1);
  for (int start = 0; start < 3; ++start) {
    clock_.Pass(kRetention / 4);
    EXPECT_EQ(Advance(6), -1);
    retention_.reset();
    clock_.Pass(2 * kRetention);  // even if the machine stays up
    clock_.Set(start == 0 ? absl::Hours(10'000) : -absl::Hours(3'000));
    Start(6);
    EXPECT_EQ(Advance(6), -1);
  }
  clock_.Pass(kRetention / 4);
  EXPECT_EQ(Advance(7), 5);
}

TEST_F(RetentionTest, WhatIsWrittenStaysSmall) {
  Start(0);
  for (int64_t revision = 0; revision < 2000; ++revision) {
    clock_.Pass(absl::Minutes(10));
    Advance(revision);
  }
  ASSERT_OK_AND_ASSIGN(const nlohmann::json json, ParseJson(Path(), ReadFile(Path())));
  EXPECT_LE(json["marks"].size(), 67u);
}

TEST_F(RetentionTest, WhatIsDamagedOrLostIsCountedAnew) {
  for (const char* damage :
       {"", "{", "[]", "{}", R"({"run_ms":-1,"marks":[]})", R"({"run_ms":1,"marks":[1]})",
        R"({"run_ms":1,"marks":[{"run_ms":2,"revision":1,"created":"2026-01-01T00:00:00Z"}]})",
        R"({"run_ms":9,"marks":[{"run_ms":2,"revision":1,"created":"yesterday"}]})"}) {
    Start(0);
    EXPECT_EQ(Advance(5), -1);
    clock_.Pass(kRetention / 2);
    EXPECT_EQ(Advance(5), -1);
    WriteFile(Path(), damage);
    Start(5);
    clock_.Pass(kRetention / 2);
    EXPECT_EQ(Advance(6), -1) << damage;
    clock_.Pass(kRetention);
    EXPECT_EQ(Advance(7), 6) << damage;
    retention_.reset();
    std::filesystem::remove(Path());
  }
}

// Its revisions are given out a second time.
TEST_F(RetentionTest, TheMarksOfACatalogThatWasReplacedByAnOlderOneAreOfNoUse) {
  Start(0);
  EXPECT_EQ(Advance(5), -1);
  clock_.Pass(kRetention / 4);
  EXPECT_EQ(Advance(100), -1);
  retention_.reset();
  Start(50);
  clock_.Pass(kRetention * 3 / 4);
  EXPECT_EQ(Advance(51), 5);
  clock_.Pass(kRetention / 4);
  EXPECT_EQ(Advance(200), 5);
  clock_.Pass(kRetention * 3 / 4);
  EXPECT_EQ(Advance(300), 51);
}

TEST_F(RetentionTest, GoesOnWhereItCannotWrite) {
  Start(0);
  std::filesystem::create_directory(Path());
  WriteFile(Path() + "/in-the-way", "");
  EXPECT_EQ(Advance(5), -1);
  clock_.Pass(kRetention);
  EXPECT_EQ(Advance(6), 5);
}

}  // namespace
}  // namespace cairn
