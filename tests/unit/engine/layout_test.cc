// What lies on a share is exactly the layout of the requirements, as read with qemu-img and a JSON
// parser alone: names, formats, the map, permissions.
#include <gtest/gtest.h>

#include <set>

#include "lib/os/own_file.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::QemuInfo;
using testing::ReadFile;
using testing::TestEngine;

class LayoutTest : public ::testing::TestWithParam<VolumeFormat> {
 protected:
  std::string Path(const std::string& file) const { return engine_.directory() + "/" + file; }
  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(engine_.directory())) {
      if (entry.path().filename() != kPrivateDirectory)
        names.insert(entry.path().filename().string());
    }
    return names;
  }
  // Created with three snapshots.
  void Make(TestEngine& engine) {
    ASSERT_OK_AND_ASSIGN(volume_, engine.Create(GetParam(), kMiB, engine.address(0)));
    for (std::string* snapshot : {&s1_, &s2_, &s3_}) {
      ASSERT_OK_AND_ASSIGN(*snapshot, engine.Snapshot(volume_));
    }
    v_ = "volume-" + volume_;
  }
  void ExpectLayer(const std::string& file, const std::string& backing, FileFormat format) const {
    auto info = QemuInfo(Path(file), FileFormat::kQcow2);
    EXPECT_EQ(info["format"], "qcow2");
    EXPECT_EQ(info["backing-filename"], backing);  // bare
    EXPECT_EQ(info["backing-filename-format"], testing::FormatOf(format));
    EXPECT_EQ(info["virtual-size"], kMiB);
  }

  TestEngine engine_;
  std::string volume_, v_, s1_, s2_, s3_;
};

TEST_P(LayoutTest, AVolumeWithoutSnapshotsIsOneFile) {
  ASSERT_OK_AND_ASSIGN(volume_, engine_.Create(GetParam(), kMiB, engine_.address(0)));
  EXPECT_EQ(Files(), std::set<std::string>{"volume-" + volume_});
  const FileFormat format = BaseFileFormat(GetParam());
  auto info = QemuInfo(Path("volume-" + volume_), format);
  EXPECT_EQ(info["virtual-size"], kMiB);
  EXPECT_FALSE(info.contains("backing-filename"));
  if (GetParam() == VolumeFormat::kRawThick) {
    EXPECT_GE(info["actual-size"].get<int64_t>(), kMiB);
  }
  if (GetParam() == VolumeFormat::kRawSparse) {
    EXPECT_EQ(info["actual-size"], 0);
  }
}

TEST_P(LayoutTest, SnapshotsAreLayersNamedAfterThem) {
  Make(engine_);
  EXPECT_EQ(Files(), (std::set<std::string>{v_, v_ + "." + s1_, v_ + "." + s2_, v_ + "." + s3_,
                                            v_ + ".info"}));
  ExpectLayer(v_ + "." + s1_, v_, BaseFileFormat(GetParam()));
  ExpectLayer(v_ + "." + s2_, v_ + "." + s1_, FileFormat::kQcow2);
  ExpectLayer(v_ + "." + s3_, v_ + "." + s2_, FileFormat::kQcow2);
}

TEST_P(LayoutTest, TheMapIsWrittenByteForByteAsTheOtherSystemWritesIt) {
  Make(engine_);
  // Keys sorted as strings, "active" among the ids.
  std::map<std::string, std::string> entries{{s1_, v_ + "." + s1_},
                                             {s2_, v_ + "." + s2_},
                                             {s3_, v_ + "." + s3_},
                                             {"active", v_ + "." + s3_}};
  std::string expected = "{\n";
  for (const auto& [key, value] : entries) {
    expected +=
        fmt::format(" \"{}\": \"{}\"{}\n", key, value, key == entries.rbegin()->first ? "" : ",");
  }
  expected += "}";
  EXPECT_EQ(ReadFile(Path(v_ + ".info")), expected);
}

TEST_P(LayoutTest, DeletedSnapshotsLeaveTheMapAndTheirFilesGo) {
  Make(engine_);
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = s2_}));
  EXPECT_EQ(Files(), (std::set<std::string>{v_, v_ + "." + s1_, v_ + "." + s3_, v_ + ".info"}));
  ExpectLayer(v_ + "." + s3_, v_ + "." + s1_, FileFormat::kQcow2);
  EXPECT_EQ(
      nlohmann::json::parse(ReadFile(Path(v_ + ".info"))),
      (nlohmann::json{{"active", v_ + "." + s3_}, {s1_, v_ + "." + s1_}, {s3_, v_ + "." + s3_}}));
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = s3_}));
  EXPECT_EQ(nlohmann::json::parse(ReadFile(Path(v_ + ".info"))),
            (nlohmann::json{{"active", v_ + "." + s1_}, {s1_, v_ + "." + s1_}}));
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = s1_}));
  // The map stays.
  EXPECT_EQ(Files(), (std::set<std::string>{v_, v_ + ".info"}));
  EXPECT_EQ(ReadFile(Path(v_ + ".info")), "{\n \"active\": \"" + v_ + "\"\n}");
  ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume_}));
  EXPECT_EQ(Files(), std::set<std::string>{});
}

TEST_P(LayoutTest, ARevertKeepsTheNameOfTheLayer) {
  Make(engine_);
  ASSERT_OK(engine_.Do(RevertToSnapshotRequest{.snapshot_id = s1_, .discard_newer = true}));
  EXPECT_EQ(Files(), (std::set<std::string>{v_, v_ + "." + s1_, v_ + ".info"}));
  ExpectLayer(v_ + "." + s1_, v_, BaseFileFormat(GetParam()));
  EXPECT_EQ(nlohmann::json::parse(ReadFile(Path(v_ + ".info"))),
            (nlohmann::json{{"active", v_ + "." + s1_}, {s1_, v_ + "." + s1_}}));
}

TEST_P(LayoutTest, AMoveBringsEveryFile) {
  Make(engine_);
  const std::string map = ReadFile(Path(v_ + ".info"));
  const auto files = Files();
  ASSERT_OK(engine_.Do(MigrateVolumeRequest{.volume_id = volume_, .share = engine_.address(1)}));
  EXPECT_EQ(Files(), std::set<std::string>{});
  for (const std::string& file : files) {
    EXPECT_TRUE(std::filesystem::exists(engine_.directory(1) + "/" + file)) << file;
  }
  EXPECT_EQ(ReadFile(engine_.directory(1) + "/" + v_ + ".info"), map);
}

TEST_P(LayoutTest, FilesAreForTheirOwnersAndGroupsOnly) {
  Make(engine_);
  for (const std::string& file : Files()) {
    EXPECT_EQ(FileSystem::Posix()->Stat(Path(file))->mode, 0660u) << file;
  }
  ASSERT_OK(engine_.Do(RevertToSnapshotRequest{.snapshot_id = s2_, .discard_newer = true}));
  ASSERT_OK(engine_.Do(MigrateVolumeRequest{.volume_id = volume_, .share = engine_.address(1)}));
  for (const auto& entry : std::filesystem::directory_iterator(engine_.directory(1))) {
    if (!entry.is_regular_file()) continue;  // the lock's directory
    EXPECT_EQ(FileSystem::Posix()->Stat(entry.path().string())->mode, 0660u) << entry.path();
  }
}

TEST_P(LayoutTest, FilesAreForEverybodyWhenThePoolSaysSo) {
  TestEngine::Setup setup;
  setup.pool.nas_secure_file_permissions = false;
  TestEngine open(setup);
  Make(open);
  for (VolumeFormat format : {VolumeFormat::kQcow2, VolumeFormat::kRawSparse}) {
    ASSERT_OK(open.Do(testing::NewVolume(format, 0, testing::FromVolume(volume_))));
  }
  for (const std::string& directory : open.directories()) {
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (!entry.is_regular_file()) continue;  // the lock's directory
      EXPECT_EQ(FileSystem::Posix()->Stat(entry.path().string())->mode, 0666u) << entry.path();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, LayoutTest,
                         ::testing::Values(VolumeFormat::kQcow2, VolumeFormat::kRawSparse,
                                           VolumeFormat::kRawThick),
                         [](const auto& info) {
                           return std::string(VolumeFormatName(info.param));
                         });

}  // namespace
}  // namespace cairn
