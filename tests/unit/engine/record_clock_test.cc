// The times of records stand in the order in which they were given, whatever the wall clock does.
#include "lib/engine/record_clock.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/support/matchers.h"
#include "tests/support/set_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/catalog/record_makers.h"

namespace cairn {
namespace {

using testing::SetClock;
using testing::TempDir;

TEST(RecordClockTest, IsTheWallClockAsLongAsThatGoesOn) {
  SetClock system;
  RecordClock clock(&system);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(clock.Now(), system.Now());
    system.Pass(absl::Seconds(1));
  }
  system.Set(absl::Hours(24));
  EXPECT_EQ(clock.Now(), system.Now());
}

TEST(RecordClockTest, NeverGoesBackAndNeverStandsStill) {
  SetClock system;
  RecordClock clock(&system);
  absl::Time last = clock.Now();
  system.Set(-absl::Hours(24));
  for (int i = 0; i < 100; ++i) {
    const absl::Time now = clock.Now();
    EXPECT_GT(now, last);
    EXPECT_LT(now - last, absl::Microseconds(1));
    EXPECT_EQ(clock.last(), now);
    last = now;
    system.Pass(absl::Seconds(1));
  }
  system.Pass(absl::Hours(24));
  EXPECT_EQ(clock.Now(), system.Now());
}

TEST(RecordClockTest, NoTwoThreadsGetTheSameTime) {
  SetClock system;
  RecordClock clock(&system);
  constexpr int kEach = 1000;
  std::vector<std::vector<absl::Time>> given(4);
  std::vector<std::thread> threads;
  for (auto& mine : given) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) mine.push_back(clock.Now());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<absl::Time> all;
  for (const auto& mine : given) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), given.size() * kEach);
}

TEST(RecordClockTest, StartsAfterWhatIsRecorded) {
  TempDir dir;
  SetClock system;
  ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog({.path = dir.File("catalog.db")}));
  RecordClock empty(&system);
  ASSERT_OK(empty.StartAfter(*catalog));
  EXPECT_EQ(empty.Now(), system.Now());

  absl::Time newest = system.Now();
  const auto later = [&] { return newest += absl::Hours(1); };
  for (int kind = 0; kind < 3; ++kind) {
    Transaction transaction;
    if (kind == 0) {
      VolumeRecord& volume = transaction.put_volumes.emplace_back();
      volume.id = "v";
      volume.create_time = volume.update_time = later();
    } else if (kind == 1) {
      SnapshotRecord& snapshot = transaction.put_snapshots.emplace_back();
      snapshot.id = "s";
      snapshot.volume_id = "v";
      snapshot.create_time = snapshot.update_time = later();
    } else {
      OperationRecord& operation = transaction.put_operations.emplace_back();
      operation.id = "o";
      operation.create_time = later();
    }
    ASSERT_OK(catalog->CommitAndWait(std::move(transaction)));
    RecordClock clock(&system);
    ASSERT_OK(clock.StartAfter(*catalog));
    EXPECT_GT(clock.Now(), newest);
    EXPECT_LT(clock.Now(), newest + absl::Seconds(1));
  }
}

}  // namespace
}  // namespace cairn
