// The main job through the engine's own interface: every kind of operation once, content checked.
#include <gtest/gtest.h>

#include <filesystem>

#include "lib/base/failpoint.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using testing::QemuCheck;
using testing::QemuReads;
using testing::QemuWrite;
using testing::TestEngine;

class MainJobTest : public ::testing::TestWithParam<VolumeFormat> {};

TEST_P(MainJobTest, CreatesSnapshotsRevertsClonesExtendsMovesAndDeletes) {
  TestEngine engine;
  constexpr int64_t kSize = 4 * kMiB;
  const FileFormat base = BaseFileFormat(GetParam());
  ASSERT_OK_AND_ASSIGN(std::string volume, engine.Create(GetParam(), kSize));
  QemuWrite(engine.ActivePath(volume), base, 0, 65536, 1);

  ASSERT_OK_AND_ASSIGN(std::string s1, engine.Snapshot(volume));
  QemuWrite(engine.ActivePath(volume), FileFormat::kQcow2, 0, 65536, 2);
  ASSERT_OK_AND_ASSIGN(std::string s2, engine.Snapshot(volume));
  QemuWrite(engine.ActivePath(volume), FileFormat::kQcow2, 0, 65536, 3);
  ASSERT_OK_AND_ASSIGN(std::string s3, engine.Snapshot(volume));
  QemuWrite(engine.ActivePath(volume), FileFormat::kQcow2, 0, 65536, 4);

  // A new volume from the oldest snapshot, larger.
  auto op = engine.Submit(CreateVolumeRequest{.volume_id = {},
                                              .name = "restored",
                                              .pool = {},
                                              .share = {},
                                              .size_bytes = 2 * kSize,
                                              .format = VolumeFormat::kQcow2,
                                              .labels = {},
                                              .source = {VolumeSource::Kind::kSnapshot, s1}});
  ASSERT_OK(op);
  ASSERT_OK_AND_ASSIGN(op, engine.Wait((*op)->id));
  ASSERT_OK((*op)->error);
  EXPECT_TRUE(QemuReads(engine.ActivePath((*op)->volume_id), FileFormat::kQcow2, 0, 65536, 1));
  EXPECT_TRUE(QemuReads(engine.ActivePath((*op)->volume_id), FileFormat::kQcow2, kSize, kSize, 0));

  // The middle snapshot goes; the others stay.
  ASSERT_OK(engine.Do(DeleteSnapshotRequest{.snapshot_id = s2}));
  EXPECT_TRUE(QemuReads(engine.ActivePath(volume), FileFormat::kQcow2, 0, 65536, 4));
  const std::string directory = std::filesystem::path(engine.ActivePath(volume)).parent_path();
  EXPECT_TRUE(
      QemuReads(directory + "/" + engine.FindSnapshot(s3)->file, FileFormat::kQcow2, 0, 65536, 3));

  ASSERT_OK(engine.Do(ExtendVolumeRequest{.volume_id = volume, .size_bytes = 2 * kSize}));
  EXPECT_EQ(engine.Volume(volume)->size_bytes, 2 * kSize);

  ASSERT_OK(engine.Do(RevertToSnapshotRequest{.snapshot_id = s3}));
  EXPECT_TRUE(QemuReads(engine.ActivePath(volume), FileFormat::kQcow2, 0, 65536, 3));
  EXPECT_THAT(engine.Do(RevertToSnapshotRequest{.snapshot_id = s1}),
              HasReasonOf(Reason::kSnapshotNotNewest));
  ASSERT_OK(engine.Do(RevertToSnapshotRequest{.snapshot_id = s1, .discard_newer = true}));
  EXPECT_TRUE(QemuReads(engine.ActivePath(volume), FileFormat::kQcow2, 0, 65536, 1));
  EXPECT_EQ(engine.FindSnapshot(s3), nullptr);

  // A clone, from the volume as it is.
  op = engine.Submit(CreateVolumeRequest{.volume_id = {},
                                         .name = "clone",
                                         .pool = {},
                                         .share = {},
                                         .format = GetParam(),
                                         .labels = {},
                                         .source = {VolumeSource::Kind::kVolume, volume}});
  ASSERT_OK(op);
  ASSERT_OK_AND_ASSIGN(op, engine.Wait((*op)->id));
  ASSERT_OK((*op)->error);
  EXPECT_TRUE(QemuReads(engine.ActivePath((*op)->volume_id), base, 0, 65536, 1));

  const std::string other =
      engine.Volume(volume)->share == engine.address(0) ? engine.address(1) : engine.address(0);
  ASSERT_OK(engine.Do(MigrateVolumeRequest{.volume_id = volume, .share = {}}));
  EXPECT_EQ(engine.Volume(volume)->share, other);
  EXPECT_TRUE(QemuReads(engine.ActivePath(volume), FileFormat::kQcow2, 0, 65536, 1));
  EXPECT_TRUE(QemuCheck(engine.ActivePath(volume)));

  EXPECT_THAT(engine.Do(DeleteVolumeRequest{.volume_id = volume}),
              HasReasonOf(Reason::kVolumeHasSnapshots));
  ASSERT_OK(engine.Do(DeleteSnapshotRequest{.snapshot_id = s1}));
  EXPECT_TRUE(QemuReads(engine.ActivePath(volume), base, 0, 65536, 1));
  ASSERT_OK(engine.Do(DeleteVolumeRequest{.volume_id = volume}));
  EXPECT_EQ(engine.Volume(volume), nullptr);
}

// Without snapshots, the source is one file.
TEST_P(MainJobTest, ClonesOfOneFileAreItsContentWhateverTheirFormat) {
  TestEngine engine;
  constexpr int64_t kSize = 4 * kMiB;
  const FileFormat from = BaseFileFormat(GetParam());
  ASSERT_OK_AND_ASSIGN(const std::string source, engine.Create(GetParam(), kSize));
  QemuWrite(engine.ActivePath(source), from, 65536, 65536, 9);
  for (const VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    for (const int64_t size : {int64_t{0}, 3 * kSize}) {
      auto op = engine.Submit(CreateVolumeRequest{.volume_id = {},
                                                  .name = "clone",
                                                  .pool = {},
                                                  .share = {},
                                                  .size_bytes = size,
                                                  .format = format,
                                                  .labels = {},
                                                  .source = {VolumeSource::Kind::kVolume, source}});
      ASSERT_OK(op);
      ASSERT_OK_AND_ASSIGN(op, engine.Wait((*op)->id));
      ASSERT_OK((*op)->error);
      const std::string clone = engine.ActivePath((*op)->volume_id);
      const FileFormat to = BaseFileFormat(format);
      const int64_t expected = size == 0 ? kSize : size;
      EXPECT_EQ(engine.Volume((*op)->volume_id)->size_bytes, expected);
      EXPECT_TRUE(QemuReads(clone, to, 0, 65536, 0));
      EXPECT_TRUE(QemuReads(clone, to, 65536, 65536, 9));
      EXPECT_TRUE(QemuReads(clone, to, expected - 65536, 65536, 0));
      if (to == FileFormat::kQcow2) {
        EXPECT_TRUE(QemuCheck(clone));
      }
      // A volume of its own.
      QemuWrite(clone, to, 65536, 65536, 10);
      EXPECT_TRUE(QemuReads(engine.ActivePath(source), from, 65536, 65536, 9));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, MainJobTest,
                         ::testing::Values(VolumeFormat::kQcow2, VolumeFormat::kRawSparse,
                                           VolumeFormat::kRawThick),
                         [](const auto& info) {
                           return std::string(VolumeFormatName(info.param));
                         });

}  // namespace
}  // namespace cairn
