// A volume that other hands work on as well: a machine that no attachment names, or Cinder's driver.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "lib/chain/info_map.h"
#include "lib/image/image_lock.h"
#include "lib/os/process.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::Adopt;
using testing::HasReasonOf;
using testing::NewSnapshot;
using testing::Observe;
using testing::OnlyValidated;
using testing::RunTool;
using testing::TestEngine;
using testing::WriteFile;

class OtherHandsTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& file) const { return engine_.directory() + "/" + file; }

  // A machine that has the file open for writing, until the result is destroyed.
  std::unique_ptr<Process> Open(const std::string& name, FileFormat format) {
    ProcessSpec spec;
    spec.argv = {"qemu-io", "-f",           std::string(FileFormatName(format)),
                 "-c",      "sleep 100000", Path(name)};
    auto process = ProcessRunner::Posix()->Start(spec);
    EXPECT_OK(process);
    if (!process.ok()) return nullptr;
    auto file = FileSystem::Posix()->Open(Path(name), OpenMode::kRead);
    EXPECT_OK(file);
    const absl::Time until = absl::Now() + absl::Minutes(1);
    bool open = false;
    while (!open && absl::Now() < until) {
      absl::SleepFor(absl::Milliseconds(5));
      open = IsOpenForWriting(**file).value_or(false);
    }
    EXPECT_TRUE(open) << (*process)->stderr_text();
    return *std::move(process);
  }

  // As Cinder's driver takes a snapshot: a new layer, and the map that names it.
  std::string SnapshotBehind(const std::string& id, const std::string& active) {
    const std::string snapshot = NewId();
    const std::string layer = "volume-" + id + "." + snapshot;
    RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", active, Path(layer)});
    WriteFile(Path(InfoFileName(id)),
              "{\"active\": \"" + layer + "\", \"" + snapshot + "\": \"" + layer + "\"}");
    return layer;
  }

  // Refused for the reason, now and as often as it is said, and nothing has changed.
  void ExpectRefused(const Request& request, Reason reason) {
    const std::string before = Observe(engine_);
    EXPECT_THAT(engine_.Do(request), HasReasonOf(reason));
    EXPECT_EQ(Observe(engine_), before);
  }

  TestEngine engine_;
};

TEST_F(OtherHandsTest, WhatIsOpenElsewhereIsNotChanged) {
  for (const VolumeFormat format : {VolumeFormat::kQcow2, VolumeFormat::kRawSparse}) {
    ASSERT_OK_AND_ASSIGN(const std::string id,
                         engine_.Create(format, testing::kPiece * 16, engine_.address(0)));
    ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_.Snapshot(id));
    DeleteVolumeRequest remove;
    remove.volume_id = id;
    remove.cascade = true;
    DeleteSnapshotRequest remove_snapshot;
    remove_snapshot.snapshot_id = snapshot;
    RevertToSnapshotRequest revert;
    revert.snapshot_id = snapshot;
    ExtendVolumeRequest extend;
    extend.volume_id = id;
    extend.size_bytes = testing::kPiece * 32;
    MigrateVolumeRequest move;
    move.volume_id = id;
    move.share = engine_.address(1);
    const std::vector<Request> changes = {revert,
                                          NewSnapshot(id),
                                          remove_snapshot,
                                          extend,
                                          move,
                                          testing::NewVolume(format, 0, testing::FromVolume(id)),
                                          remove};
    auto machine = Open(engine_.Volume(id)->active_file, FileFormat::kQcow2);
    for (const Request& change : changes) ExpectRefused(change, Reason::kVolumeInUse);
    machine.reset();
    for (const Request& change : changes) EXPECT_OK(engine_.Do(change));
  }
}

// Until the machine is known as well, nothing else is done to it.
TEST_F(OtherHandsTest, WhatAMachineHasOpenIsAdoptedInPlace) {
  const std::string id = NewId();
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", Path("volume-" + id), "1M"});
  const auto machine = Open("volume-" + id, FileFormat::kQcow2);
  EXPECT_OK(engine_.Do(Adopt(engine_.address(0), id, VolumeFormat::kQcow2)));
  ExpectRefused(NewSnapshot(id), Reason::kVolumeInUse);
  EXPECT_OK(engine_.Do(testing::Attach(id, "vm")));
}

TEST_F(OtherHandsTest, ABaseWithLayersIsNotAdoptedWithoutItsMap) {
  const std::string id = NewId();
  const std::string base = "volume-" + id;
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", Path(base), "1M"});
  SnapshotBehind(id, base);
  std::filesystem::rename(Path(InfoFileName(id)), Path("map"));
  const AdoptVolumeRequest adopt = Adopt(engine_.address(0), id, VolumeFormat::kQcow2);
  EXPECT_THAT(engine_.Do(adopt, OnlyValidated()), HasReasonOf(Reason::kBackingFileShared));
  ExpectRefused(adopt, Reason::kBackingFileShared);
  std::filesystem::rename(Path("map"), Path(InfoFileName(id)));
  EXPECT_OK(engine_.Do(adopt, OnlyValidated()));
  EXPECT_OK(engine_.Do(adopt));
  EXPECT_EQ(engine_.Volume(id)->chain.size(), 2u);
}

TEST_F(OtherHandsTest, AVolumeIsNotDeletedUnderALayerThatCinderHasMadeSince) {
  ASSERT_OK_AND_ASSIGN(const std::string id,
                       engine_.Create(VolumeFormat::kQcow2, testing::kPiece, engine_.address(0)));
  SnapshotBehind(id, engine_.Volume(id)->active_file);
  engine_.Restart();  // the share is listed anew
  DeleteVolumeRequest remove;
  remove.volume_id = id;
  ExpectRefused(remove, Reason::kBackingFileShared);
}

TEST_F(OtherHandsTest, AdoptedAgainAVolumeIsComparedWithItsRecord) {
  const std::string id = NewId();
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", Path("volume-" + id), "1M"});
  const AdoptVolumeRequest adopt = Adopt(engine_.address(0), id, VolumeFormat::kQcow2);
  EXPECT_OK(engine_.Do(adopt));
  const std::string before = Observe(engine_);
  EXPECT_OK(engine_.Do(adopt));
  EXPECT_EQ(Observe(engine_), before);
  SnapshotBehind(id, "volume-" + id);
  ExpectRefused(adopt, Reason::kMapCorrupt);
  EXPECT_NE(engine_.Volume(id), nullptr);
}

}  // namespace
}  // namespace cairn
