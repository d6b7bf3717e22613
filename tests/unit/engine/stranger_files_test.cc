// What somebody else puts in the place of a volume's files: each request is answered with a proper error
// that names the file, and nobody else's file is read for ours, or changed.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>

#include "lib/base/id.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::FromVolume;
using testing::HasReasonOf;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::ReadFile;
using testing::TestEngine;
using testing::WriteFile;

enum class Thing { kSymbolicLink, kFifo, kDirectory, kHardLink };
enum class Place { kBase, kActive, kMap };

class StrangerFilesTest : public ::testing::TestWithParam<std::tuple<Thing, Place>> {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(id_, engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
    for (std::string& snapshot : snapshots_) {
      ASSERT_OK_AND_ASSIGN(snapshot, engine_.Snapshot(id_));
    }
    const VolumePtr volume = engine_.Volume(id_);
    const std::string file = std::get<1>(GetParam()) == Place::kBase ? volume->chain.front()
                             : std::get<1>(GetParam()) == Place::kActive
                                 ? volume->active_file
                                 : "volume-" + id_ + ".info";
    path_ = engine_.directory() + "/" + file;
    fs::copy_file(path_, victim_);
    before_ = ReadFile(victim_);
    fs::remove(path_);
    switch (std::get<0>(GetParam())) {
      case Thing::kSymbolicLink:
        return fs::create_symlink(victim_, path_);
      case Thing::kFifo:
        ASSERT_EQ(mkfifo(path_.c_str(), 0666), 0);
        return;
      case Thing::kDirectory:
        fs::create_directory(path_);
        return;
      case Thing::kHardLink:
        return fs::create_hard_link(victim_, path_);
    }
  }
  bool Reads() const { return std::get<0>(GetParam()) == Thing::kHardLink; }

  TestEngine engine_;
  std::string id_;
  std::string snapshots_[2];
  std::string path_;
  const std::string victim_ = engine_.dir().File("images/victim");
  std::string before_;
};

TEST_P(StrangerFilesTest, NothingIsFollowedNorChanged) {
  std::vector<Request> requests = {
      NewSnapshot(id_),
      DeleteSnapshotRequest{.snapshot_id = snapshots_[0]},
      RevertToSnapshotRequest{.snapshot_id = snapshots_[1]},
      ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB},
      MigrateVolumeRequest{.volume_id = id_, .share = engine_.address(1)},
      NewVolume({}, 2 * kMiB, FromVolume(id_)),
  };
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(i);
    const absl::Status status = engine_.Do(requests[i]);
    EXPECT_NE(status.code(), absl::StatusCode::kInternal) << status;
    if (!Reads()) {
      ASSERT_THAT(status, HasReasonOf(Reason::kImageUnsafe));
      EXPECT_EQ(GetErrorDetails(status)->metadata.at("file"), fs::path(path_).filename());
    }
    EXPECT_EQ(ReadFile(victim_), before_);
    EXPECT_TRUE(status.ok() || fs::exists(fs::symlink_status(path_)));
  }
  if (std::get<0>(GetParam()) == Thing::kDirectory) {
    EXPECT_THAT(engine_.Do(DeleteVolumeRequest{.volume_id = id_, .cascade = true}),
                HasReasonOf(Reason::kImageUnsafe));
    EXPECT_NE(engine_.Volume(id_), nullptr);
    fs::remove(path_);
  }
  EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = id_, .cascade = true}));
  EXPECT_EQ(ReadFile(victim_), before_);
  EXPECT_FALSE(fs::exists(fs::symlink_status(path_)));
}

INSTANTIATE_TEST_SUITE_P(Things, StrangerFilesTest,
                         ::testing::Combine(::testing::Values(Thing::kSymbolicLink, Thing::kFifo,
                                                              Thing::kDirectory, Thing::kHardLink),
                                            ::testing::Values(Place::kBase, Place::kActive,
                                                              Place::kMap)));

class HardLinkTest : public ::testing::Test {
 protected:
  TestEngine engine_;
};

// A merge would write into the other file, too: it is refused before it begins.
TEST_F(HardLinkTest, IsNotMergedIntoNorGrown) {
  ASSERT_OK_AND_ASSIGN(std::string id, engine_.Create(VolumeFormat::kQcow2, kMiB));
  ASSERT_OK_AND_ASSIGN(std::string snapshot, engine_.Snapshot(id));
  const std::string base = engine_.directory() + "/" + engine_.Volume(id)->chain.front();
  fs::create_hard_link(base, engine_.dir().File("images/backup"));
  const std::string before = ReadFile(base);
  EXPECT_THAT(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshot}),
              HasReasonOf(Reason::kImageUnsafe));
  EXPECT_EQ(engine_.FindSnapshot(snapshot)->state, SnapshotState::kAvailable);
  EXPECT_EQ(ReadFile(base), before);
  fs::remove(engine_.dir().File("images/backup"));
  EXPECT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshot}));
  fs::create_hard_link(base, engine_.dir().File("images/backup"));
  EXPECT_THAT(engine_.Do(ExtendVolumeRequest{.volume_id = id, .size_bytes = 2 * kMiB}),
              HasReasonOf(Reason::kImageUnsafe));
  EXPECT_EQ(engine_.Volume(id)->size_bytes, kMiB);
}

}  // namespace
}  // namespace cairn
