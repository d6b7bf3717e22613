// The longest chain, of large files: whatever can be done to a short one can be done to it.
#include <gtest/gtest.h>

#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::FromSnapshot;
using testing::HasReasonOf;
using testing::IsOk;
using testing::kPiece;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::QemuReads;
using testing::QemuWrite;
using testing::TestEngine;

// QEMU keeps up to 32 MiB of mapping tables of each file that is as large as this.
constexpr int64_t kSize = 256 * kGiB;
constexpr size_t kFilesMax = 256;

TEST(LongChainTest, EveryOperationWorks) {
  TestEngine::Setup setup;
  setup.pool.max_over_subscription_ratio = 1000;  // whatever disk there is
  TestEngine engine(setup);
  ASSERT_OK_AND_ASSIGN(const std::string volume,
                       engine.Create(VolumeFormat::kQcow2, kSize, engine.address(0)));
  QemuWrite(engine.ActivePath(volume), FileFormat::kQcow2, 0, kPiece, 1);
  std::vector<std::string> snapshots;
  while (engine.Volume(volume)->chain.size() < kFilesMax) {
    ASSERT_OK_AND_ASSIGN(snapshots.emplace_back(), engine.Snapshot(volume));
  }
  QemuWrite(engine.ActivePath(volume), FileFormat::kQcow2, kPiece, kPiece, 2);
  EXPECT_THAT(engine.Submit(NewSnapshot(volume)), HasReasonOf(Reason::kVolumeState));

  auto made = engine.Submit(NewVolume(VolumeFormat::kQcow2, 0, FromSnapshot(snapshots.back())));
  ASSERT_OK(made);
  ASSERT_OK_AND_ASSIGN(const OperationPtr clone, engine.Wait((*made)->id));
  ASSERT_OK(clone->error);
  EXPECT_TRUE(QemuReads(engine.ActivePath(clone->volume_id), FileFormat::kQcow2, 0, kPiece, 1));
  EXPECT_OK(engine.Do(ExtendVolumeRequest{.volume_id = volume, .size_bytes = 2 * kSize}));
  EXPECT_OK(engine.Do(MigrateVolumeRequest{.volume_id = volume, .share = engine.address(1)}));
  for (const size_t at : {snapshots.size() - 1, snapshots.size() / 2, size_t{0}}) {
    EXPECT_OK(engine.Do(DeleteSnapshotRequest{.snapshot_id = snapshots[at]}));
  }
  EXPECT_TRUE(QemuReads(engine.ActivePath(volume), FileFormat::kQcow2, 0, kPiece, 1));
  EXPECT_TRUE(QemuReads(engine.ActivePath(volume), FileFormat::kQcow2, kPiece, kPiece, 2));
  EXPECT_OK(engine.Do(RevertToSnapshotRequest{.snapshot_id = snapshots[1], .discard_newer = true}));
  EXPECT_OK(engine.Do(DeleteVolumeRequest{.volume_id = volume, .cascade = true}));
}

}  // namespace
}  // namespace cairn
