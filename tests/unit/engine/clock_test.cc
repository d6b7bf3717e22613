// The wall clock is set, forward and back, under a running engine: the monotonic one goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/id.h"
#include "lib/base/json.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/set_clock.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using ::testing::ElementsAreArray;
using testing::NewVolume;
using testing::ReadFile;
using testing::SetClock;
using testing::TestEngine;

constexpr absl::Duration kRemembered = absl::Hours(2);

class ClockTest : public ::testing::Test {
 protected:
  static TestEngine::Setup SetupWith(SetClock* clock) {
    TestEngine::Setup setup;
    setup.engine.clock = clock;
    setup.engine.operation_retention = kRemembered;
    setup.engine.sweep_period = absl::Milliseconds(2);
    return setup;
  }

  std::vector<std::string> SnapshotsByTime() {
    auto page = engine_->records().ListSnapshots(
        {.filter = {}, .order_by = "create_time", .page_size = 100, .page_token = {}}, "");
    EXPECT_OK(page);
    std::vector<std::string> ids;
    for (const SnapshotPtr& snapshot : page->items) ids.push_back(snapshot->id);
    return ids;
  }
  std::vector<std::string> OperationsByTime() {
    auto page = engine_->records().ListOperations(
        {.filter = {}, .order_by = {}, .page_size = 1000, .page_token = {}});
    EXPECT_OK(page);
    std::vector<std::string> ids;
    for (const OperationPtr& operation : page->items) ids.push_back(operation->id);
    return ids;
  }
  // How long it says that the server has run, as of a sweep; a sweep that had begun before has
  // ended by then.
  int64_t RunSaid() {
    auto json = ParseJson("", ReadFile(engine_.state_path() + "/retention.json"));
    return json.ok() ? JsonValue<int64_t>(*json, "run_ms", 0) : 0;
  }
  void AwaitTwoSweeps() {
    for (int i = 0; i < 2; ++i) {
      const int64_t before = RunSaid();
      clock_.Pass(absl::Milliseconds(10));
      while (RunSaid() <= before) std::this_thread::yield();
    }
  }

  SetClock clock_;
  TestEngine engine_{SetupWith(&clock_)};
};

TEST_F(ClockTest, TheOrderOfSnapshotsAndOperationsIsThatOfTheirMaking) {
  ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(VolumeFormat::kQcow2, kMiB));
  std::vector<std::string> snapshots;
  for (const absl::Duration jump :
       {absl::ZeroDuration(), -absl::Hours(1), absl::Hours(48), -absl::Hours(24),
        -absl::Hours(24 * 365), absl::Hours(24 * 364)}) {
    clock_.Set(jump);
    ASSERT_OK_AND_ASSIGN(std::string snapshot, engine_.Snapshot(volume));
    snapshots.push_back(snapshot);
    clock_.Pass(absl::Seconds(1));
    if (snapshots.size() == 3) engine_.Restart();
  }
  EXPECT_THAT(SnapshotsByTime(), ElementsAreArray(snapshots));
  std::vector<std::string> makers;
  absl::Time below = absl::InfinitePast();
  for (const std::string& id : snapshots) {
    const SnapshotPtr snapshot = engine_.FindSnapshot(id);
    EXPECT_GT(snapshot->create_time, below);
    below = snapshot->create_time;
    makers.push_back(snapshot->created_by);
  }
  std::vector<std::string> operations = OperationsByTime();
  operations.erase(operations.begin());  // that of the volume
  EXPECT_THAT(operations, ElementsAreArray(makers));
  for (const std::string& id : makers) {
    ASSERT_OK_AND_ASSIGN(OperationPtr operation, engine_->GetOperation(id));
    EXPECT_LE(operation->create_time, operation->start_time);
    EXPECT_LE(operation->start_time, operation->end_time);
  }
}

TEST_F(ClockTest, ARequestIdIsRememberedForItsTime) {
  const Caller caller{.request_id = "the same", .requested_by = {}};
  const Request request = NewVolume(VolumeFormat::kRawSparse, kMiB);
  ASSERT_OK_AND_ASSIGN(OperationPtr first, engine_.Submit(request, caller));
  ASSERT_OK(engine_.Wait(first->id));
  clock_.Pass(kRemembered / 32);
  AwaitTwoSweeps();
  const auto again = [&] {
    auto operation = engine_.Submit(request, caller);
    EXPECT_OK(operation);
    return operation.ok() ? (*operation)->id : "";
  };
  for (const absl::Duration jump : {10 * kRemembered, -20 * kRemembered, 10 * kRemembered}) {
    clock_.Set(jump);
    AwaitTwoSweeps();
    EXPECT_EQ(again(), first->id) << jump;
  }
  // The server is started with a clock that is wrong.
  clock_.Set(10 * kRemembered);
  engine_.Restart();
  AwaitTwoSweeps();
  EXPECT_EQ(again(), first->id);
  clock_.Pass(kRemembered - absl::Minutes(1));
  AwaitTwoSweeps();
  EXPECT_EQ(again(), first->id);
  // But not for ever, although the clock was set back meanwhile.
  clock_.Set(-20 * kRemembered);
  clock_.Pass(absl::Minutes(2));
  while (engine_->GetOperation(first->id).ok()) std::this_thread::yield();
  EXPECT_NE(again(), first->id);
}

}  // namespace
}  // namespace cairn
