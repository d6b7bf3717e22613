// The disk of the server's records is full: there is a way out, also after a restart.
#include <gmock/gmock.h>

#include <memory>
#include <thread>

#include "lib/base/id.h"
#include "lib/base/strings.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/small_disk.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using testing::SmallDisk;
using testing::TempDir;
using testing::TestEngine;

class StateDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!disk_.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
    TestEngine::Setup setup;
    setup.state_path = disk_.path();
    engine_ = std::make_unique<TestEngine>(setup);
  }
  std::string NewVolume() {
    auto volume = engine_->Create(VolumeFormat::kQcow2, kMiB);
    EXPECT_OK(volume);
    return volume.value_or("");
  }
  absl::Status Update(const std::string& id, int number) {
    UpdateVolumeRequest request;
    request.volume_id = id;
    request.labels.emplace();
    for (int i = 0; i < 40; ++i) {
      (*request.labels)["k" + std::to_string(i)] = std::to_string(number) + std::string(240, 'x');
    }
    return engine_->Do(request,
                       {.request_id = NewId(), .requested_by = {}, .validate_only = false});
  }
  absl::Status Delete(const std::string& id) {
    DeleteVolumeRequest request;
    request.volume_id = id;
    return engine_->Do(request);
  }
  void ExpectRefused(const absl::Status& status) {
    EXPECT_THAT(status, HasReasonOf(Reason::kNoSpace));
    EXPECT_TRUE(absl::IsResourceExhausted(status));
  }

  TempDir dir_;
  SmallDisk disk_{dir_.File("small"), "6m"};
  std::unique_ptr<TestEngine> engine_;
};

TEST_F(StateDiskTest, ThereIsAWayOut) {
  const std::string first = NewVolume(), second = NewVolume(), third = NewVolume();
  auto snapshot = engine_->Snapshot(first);
  ASSERT_OK(snapshot);
  int updates = 0;
  absl::Status status;
  for (; status.ok(); ++updates) status = Update(first, updates);
  ExpectRefused(status);
  EXPECT_GT(updates, 300);
  // What was given up for it is not enough for others, who take all that there is.
  disk_.TakeAllBut(0);
  DeleteSnapshotRequest deletion;
  deletion.snapshot_id = *snapshot;
  EXPECT_OK(engine_->Do(deletion));
  EXPECT_OK(Delete(first));
  engine_->Restart();
  EXPECT_OK(Delete(second));
  engine_->Stop();
  disk_.TakeAllBut(0);
  engine_->Start();
  EXPECT_OK(Delete(third));
  EXPECT_TRUE((*engine_)->records().health().ok());

  disk_.MakeRoom();
  while (!(*engine_)->records().room().ok()) std::this_thread::yield();
  NewVolume();
}

// An operation that had begun goes to its end.
TEST_F(StateDiskTest, NothingThatTakesRoomBegins) {
  const std::string volume = NewVolume();
  engine_->Stop();
  disk_.TakeAllBut(256 * kKiB);
  engine_->Start();
  ExpectRefused((*engine_)->records().room());
  ExpectRefused(engine_->Create(VolumeFormat::kQcow2, kMiB).status());
  ExpectRefused(engine_->Snapshot(volume).status());
  ExpectRefused(Update(volume, 0));
  EXPECT_TRUE(engine_->Volume(volume)->labels.empty());
  EXPECT_OK(Delete(volume));
  disk_.MakeRoom();
  while (!(*engine_)->records().room().ok()) std::this_thread::yield();
  NewVolume();
}

}  // namespace
}  // namespace cairn
