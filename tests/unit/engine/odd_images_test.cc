// Images as other tools leave them: sizes that are no whole sector, internal snapshots, bitmaps, images that
// were not closed, that were once larger, or whose chain was extended half-way up.
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <functional>
#include <sstream>

#include "lib/base/id.h"
#include "lib/chain/info_map.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::Adopt;
using testing::FromSnapshot;
using testing::FromVolume;
using testing::HasReasonOf;
using testing::IsOk;
using testing::NewVolume;
using testing::QemuCheck;
using testing::QemuInfo;
using testing::QemuReads;
using testing::QemuWrite;
using testing::ReadFile;
using testing::RunTool;
using testing::TestEngine;
using testing::WriteFile;

class OddImagesTest : public ::testing::Test {
 protected:
  std::string base() const { return BaseFileName(id_); }
  std::string layer() const { return LayerFileName(id_, snapshot_); }
  std::string Path(const std::string& file) const { return engine_.directory() + "/" + file; }
  void AdoptIt(VolumeFormat format) {
    ASSERT_OK(engine_.Do(Adopt(engine_.address(0), id_, format)));
  }
  // A layer for the snapshot on top of the base, and the map.
  void PutLayer(FileFormat base_format, const std::string& size) {
    RunTool({"qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F",
             std::string(FileFormatName(base_format)), "-b", base(), Path(layer()), size});
    WriteFile(Path(InfoFileName(id_)), FormatInfoMap({layer(), {{snapshot_, layer()}}}));
  }
  absl::Status DeleteIt() { return engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshot_}); }
  absl::Status Extend(const std::string& id, int64_t size_bytes) {
    return engine_.Do(ExtendVolumeRequest{.volume_id = id, .size_bytes = size_bytes});
  }
  // Of a volume that is made from `source` and given no size.
  int64_t SizeOfCopy(VolumeFormat format, VolumeSource source) {
    auto made = engine_.Submit(NewVolume(format, 0, std::move(source)));
    EXPECT_OK(made);
    if (made.ok()) made = engine_.Wait((*made)->id);
    EXPECT_OK((*made)->error);
    const VolumePtr volume = engine_.Volume((*made)->volume_id);
    if (volume == nullptr) return -1;
    EXPECT_EQ(QemuInfo(engine_.ActivePath(volume->id), volume->base_format)["virtual-size"],
              volume->size_bytes);
    return volume->size_bytes;
  }

  TestEngine engine_;
  const std::string id_ = NewId();
  const std::string snapshot_ = NewId();
};

constexpr int64_t kOdd = 1'000'001;
constexpr int64_t kWhole = 1'000'448;  // in sectors

TEST_F(OddImagesTest, ARawBaseThatEndsWithinASector) {
  WriteFile(Path(base()), std::string(kOdd, 'r'));
  PutLayer(FileFormat::kRaw, std::to_string(kWhole));
  AdoptIt(VolumeFormat::kRawSparse);
  for (const VolumeFormat format :
       {VolumeFormat::kRawSparse, VolumeFormat::kRawThick, VolumeFormat::kQcow2}) {
    EXPECT_EQ(SizeOfCopy(format, FromSnapshot(snapshot_)), kWhole);
    EXPECT_EQ(SizeOfCopy(format, FromVolume(id_)), kWhole);
  }
  EXPECT_OK(DeleteIt());
  EXPECT_EQ(ReadFile(Path(base())), std::string(kOdd, 'r') + std::string(kWhole - kOdd, '\0'));
  EXPECT_OK(engine_.Snapshot(id_));
  EXPECT_OK(Extend(id_, 2 * kMiB));
}

TEST_F(OddImagesTest, InternalSnapshotsAreNeverLostWithoutAWord) {
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", Path(base()), "4M"});
  PutLayer(FileFormat::kQcow2, "4M");
  for (const std::string& file : {base(), layer()}) {
    RunTool({"qemu-img", "snapshot", "-c", "inner", Path(file)});
  }
  AdoptIt(VolumeFormat::kQcow2);
  const std::string before = ReadFile(Path(layer()));
  EXPECT_THAT(DeleteIt(), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(engine_.Do(RevertToSnapshotRequest{.snapshot_id = snapshot_}),
              HasReasonOf(Reason::kImageUnsafe));
  EXPECT_TRUE(ReadFile(Path(layer())) == before);
  EXPECT_EQ(engine_.FindSnapshot(snapshot_)->state, SnapshotState::kAvailable);
  RunTool({"qemu-img", "snapshot", "-d", "inner", Path(layer())});
  EXPECT_OK(DeleteIt());
  EXPECT_EQ(QemuInfo(Path(base()), FileFormat::kQcow2)["snapshots"].size(), 1u);
}

TEST_F(OddImagesTest, WhatQemuCanGrowIsGrown) {
  const std::vector<std::function<void(const std::string&)>> marks = {
      [](const std::string& path) {
        RunTool({"qemu-img", "bitmap", "--add", path, "backup"});
      },
      [](const std::string& path) {
        RunTool({"qemu-img", "snapshot", "-c", "inner", path});
      },
      [](const std::string& path) {  // a QEMU that is killed while it has the image open
        testing::ToolSucceeds(
            {"qemu-io", "-f", "qcow2", "-c", "write -P 3 0 1M", "-c", "abort", path});
      }};
  for (const auto& mark : marks) {
    const std::string id = NewId();
    const std::string path = Path(BaseFileName(id));
    RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", path, "8M"});
    mark(path);
    ASSERT_OK(engine_.Do(Adopt(engine_.address(0), id, VolumeFormat::kQcow2)));
    EXPECT_OK(Extend(id, 16 * kMiB));
    EXPECT_EQ(QemuInfo(path, FileFormat::kQcow2)["virtual-size"], 16 * kMiB);
    EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, 8 * kMiB, 8 * kMiB, 0));
    EXPECT_TRUE(QemuCheck(path));
  }
}

TEST_F(OddImagesTest, OldDataOfALargerImageDoesNotComeBack) {
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", Path(base()), "2M"});
  QemuWrite(Path(base()), FileFormat::kQcow2, 0, 2 * kMiB, 7);
  const int64_t size = kMiB + 512;
  RunTool(
      {"qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", Path(base()), std::to_string(size)});
  PutLayer(FileFormat::kQcow2, std::to_string(size));
  AdoptIt(VolumeFormat::kQcow2);
  auto made = engine_.Submit(NewVolume(VolumeFormat::kQcow2, 2 * kMiB, FromSnapshot(snapshot_)));
  ASSERT_OK(made);
  ASSERT_OK_AND_ASSIGN(const OperationPtr copied, engine_.Wait((*made)->id));
  EXPECT_TRUE(QemuReads(engine_.ActivePath(copied->volume_id), FileFormat::kQcow2, size,
                        2 * kMiB - size, 0));
  EXPECT_OK(Extend(id_, 2 * kMiB));
  EXPECT_OK(DeleteIt());
  EXPECT_TRUE(QemuReads(Path(base()), FileFormat::kQcow2, 0, size, 7));
  EXPECT_TRUE(QemuReads(Path(base()), FileFormat::kQcow2, size, 2 * kMiB - size, 0));
}

// QEMU opens no such file for writing with direct I/O where the file system has blocks of 4 KiB.
TEST_F(OddImagesTest, ARawVolumeThatEndsWithinABlockIsOpenedThroughTheCache) {
  const auto connection = [this](VolumeFormat format, int64_t size_bytes) {
    auto id = engine_.Create(format, size_bytes);
    EXPECT_OK(id);
    auto info = engine_->ConnectionOf(*id, "");
    EXPECT_OK(info);
    return info->qemu_blockdev_json + info->libvirt_disk_xml;
  };
  for (const auto& [format, size_bytes] :
       {std::pair(VolumeFormat::kRawSparse, kWhole), std::pair(VolumeFormat::kRawThick, kWhole)}) {
    const std::string text = connection(format, size_bytes);
    EXPECT_NE(text.find("\"direct\":false"), text.npos) << text;
    EXPECT_NE(text.find("cache='writeback'"), text.npos) << text;
  }
  for (const auto& [format, size_bytes] :
       {std::pair(VolumeFormat::kRawSparse, kMiB), std::pair(VolumeFormat::kQcow2, kWhole)}) {
    const std::string text = connection(format, size_bytes);
    EXPECT_NE(text.find("\"direct\":true"), text.npos) << text;
    EXPECT_NE(text.find("cache='none'"), text.npos) << text;
  }
}

// Small layers are merged by Cairn itself, large ones by qemu-img.
TEST_F(OddImagesTest, AThickVolumeStaysThickWhenItIsExtendedUnderASnapshot) {
  for (const int64_t written : {int64_t{0}, 24 * kMiB}) {
    ASSERT_OK_AND_ASSIGN(const std::string id,
                         engine_.Create(VolumeFormat::kRawThick, 32 * kMiB, engine_.address(0)));
    ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_.Snapshot(id));
    if (written > 0) {
      QemuWrite(engine_.ActivePath(id), FileFormat::kQcow2, 0, written, 5);
    }
    EXPECT_OK(Extend(id, 48 * kMiB));
    EXPECT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshot}));
    ASSERT_OK_AND_ASSIGN(const FileStat stat, FileSystem::Posix()->Stat(engine_.ActivePath(id)));
    EXPECT_EQ(stat.size_bytes, 48 * kMiB);
    EXPECT_GE(stat.physical_bytes, 48 * kMiB);
    if (written > 0) {
      EXPECT_TRUE(QemuReads(engine_.ActivePath(id), FileFormat::kRaw, 0, written, 5));
    }
    EXPECT_TRUE(
        QemuReads(engine_.ActivePath(id), FileFormat::kRaw, written, 48 * kMiB - written, 0));
  }
}

// What is logged, from before the engine starts until after it has stopped.
class KeptLog {
 public:
  KeptLog() {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "kept", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)));
  }
  ~KeptLog() { spdlog::set_default_logger(usual_); }

 protected:
  const std::shared_ptr<spdlog::logger> usual_ = spdlog::default_logger();
  std::ostringstream text_;
};

class BitmapsTest : public KeptLog, public OddImagesTest {};

TEST_F(BitmapsTest, ThoseThatGoWithTheirLayerAreToldOf) {
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", Path(base()), "1M"});
  PutLayer(FileFormat::kQcow2, "1M");
  RunTool({"qemu-img", "bitmap", "--add", Path(layer()), "backup"});
  AdoptIt(VolumeFormat::kQcow2);
  EXPECT_OK(DeleteIt());
  engine_.Stop();
  EXPECT_NE(text_.str().find(layer() + " holds 1 persistent bitmap(s), which go with it"),
            std::string::npos)
      << text_.str();
}

}  // namespace
}  // namespace cairn
