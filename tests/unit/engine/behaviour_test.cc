// What users of the driver that Cairn succeeds rely on, for volumes, snapshots and connections, and
// how operations behave.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "absl/time/clock.h"
#include "lib/base/failpoint.h"
#include "lib/base/id.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"
#include "tests/unit/engine/sessions_of_tests.h"
#include "tests/unit/engine/watched_system.h"

namespace cairn {
namespace {

using testing::Attach;
using testing::Await;
using testing::Detach;
using testing::FromVolume;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::Observe;
using testing::QemuReads;
using testing::QemuWrite;
using testing::StatusIs;
using testing::TestEngine;

class BehaviourTest : public ::testing::Test {
 protected:
  TestEngine engine_;
};

// ---- connections

TEST_F(BehaviourTest, AConnectionTellsAllThatIsNeededToOpenTheDisk) {
  for (VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(format, kMiB, engine_.address(0)));
    ASSERT_OK(engine_.Do(Attach(volume, "vm-1")));
    EXPECT_EQ(engine_.Volume(volume)->state, VolumeState::kInUse);
    ASSERT_OK_AND_ASSIGN(ConnectionInfo info, engine_->ConnectionOf(volume, ""));
    EXPECT_EQ(info.export_address, engine_.address(0));
    EXPECT_EQ(info.mount_point, engine_.directory(0));
    EXPECT_EQ(info.mount_point_base, engine_.dir().File("mnt"));
    EXPECT_EQ(info.file_name, "volume-" + volume);
    EXPECT_EQ(info.file_format, BaseFileFormat(format));
    EXPECT_EQ(info.size_bytes, kMiB);
    auto blockdev = nlohmann::json::parse(info.qemu_blockdev_json);
    EXPECT_EQ(blockdev["driver"], testing::FormatOf(BaseFileFormat(format)));
    EXPECT_EQ(blockdev["file"]["filename"], engine_.directory(0) + "/volume-" + volume);
    EXPECT_NE(info.libvirt_disk_xml.find("<source file='" + engine_.directory(0)),
              std::string::npos);
    // The blockdev is what qemu opens.
    EXPECT_TRUE(testing::ToolSucceeds({"qemu-img", "info", "json:" + info.qemu_blockdev_json}));
    ASSERT_OK(engine_.Do(Detach(volume)));
    ASSERT_OK_AND_ASSIGN(std::string snapshot, engine_.Snapshot(volume));
    ASSERT_OK_AND_ASSIGN(info, engine_->ConnectionOf(volume, ""));
    EXPECT_EQ(info.file_name, "volume-" + volume + "." + snapshot);
    EXPECT_EQ(info.file_format, FileFormat::kQcow2);
  }
  EXPECT_THAT(engine_->ConnectionOf(NewId(), ""), HasReasonOf(Reason::kVolumeNotFound));
}

TEST_F(BehaviourTest, AConnectionFollowsItsAttachment) {
  ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(VolumeFormat::kQcow2, kMiB));
  AttachVolumeRequest request = Attach(volume, "reader", AccessMode::kReadOnly);
  request.hypervisor = {HypervisorAddress::Kind::kLibvirt, "qemu:///system", "guest", "sd'a"};
  ASSERT_OK(engine_.Do(request));
  const std::string id = engine_.Volume(volume)->attachments[0].id;
  ASSERT_OK_AND_ASSIGN(ConnectionInfo reader, engine_->ConnectionOf(volume, id));
  EXPECT_TRUE(nlohmann::json::parse(reader.qemu_blockdev_json)["read-only"].get<bool>());
  EXPECT_THAT(reader.libvirt_disk_xml, HasSubstr("<target dev='sd&apos;a'/><readonly/>"));
  ASSERT_OK_AND_ASSIGN(ConnectionInfo writer, engine_->ConnectionOf(volume, ""));
  EXPECT_FALSE(nlohmann::json::parse(writer.qemu_blockdev_json)["read-only"].get<bool>());
  EXPECT_THAT(writer.libvirt_disk_xml, HasSubstr("<target dev='vda' bus='virtio'/><serial>"));
}

// Files, map and record change one after the other: whoever looks in between sees a chain that is
// whole, and is never told of damage.
TEST_F(BehaviourTest, AChainIsDescribedAlsoWhileItChanges) {
  ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(VolumeFormat::kRawSparse, kMiB));
  std::vector<std::string> snapshots;
  for (int i = 0; i < 4; ++i) {
    ASSERT_OK_AND_ASSIGN(snapshots.emplace_back(), engine_.Snapshot(volume));
  }
  auto describe = [&] {
    std::promise<absl::StatusOr<std::vector<ChainFile>>> promise;
    engine_->DescribeChain(volume, [&](auto chain) { promise.set_value(std::move(chain)); });
    return promise.get_future().get();
  };
  const std::vector<std::pair<std::string, Request>> changes = {
      {"delete_snapshot.done", DeleteSnapshotRequest{.snapshot_id = snapshots[3]}},
      {"delete_snapshot.step2", DeleteSnapshotRequest{.snapshot_id = snapshots[1]}},
      {"revert_to_snapshot.done",
       RevertToSnapshotRequest{.snapshot_id = snapshots[0], .discard_newer = true}},
  };
  for (const auto& [point, request] : changes) {
    ASSERT_OK(ArmFailPoints(point + "=sleep"));
    ASSERT_OK_AND_ASSIGN(OperationPtr operation, engine_.Submit(request));
    int looks = 0;
    while (!Ended((*engine_->GetOperation(operation->id))->state)) {
      auto chain = describe();
      ASSERT_OK(chain) << point;
      ++looks;
    }
    EXPECT_GT(looks, 10) << point << " was not seen at work";
  }
  ASSERT_OK(ArmFailPoints(""));
  ASSERT_OK_AND_ASSIGN(auto chain, describe());
  ASSERT_EQ(chain.size(), 2u);
  EXPECT_EQ(chain[0].snapshot_id, snapshots[0]);
  EXPECT_EQ(chain[1].snapshot_id, "");
  EXPECT_THAT(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshots[0]}), IsOk());
  std::filesystem::remove(engine_.ActivePath(volume));
  EXPECT_THAT(describe(), HasReasonOf(Reason::kChainCorrupt));
}

TEST_F(BehaviourTest, OneWriterOrManyReaders) {
  ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(VolumeFormat::kQcow2, kMiB));
  ASSERT_OK(engine_.Do(Attach(volume, "a", AccessMode::kReadOnly)));
  ASSERT_OK(engine_.Do(Attach(volume, "b", AccessMode::kReadOnly)));
  EXPECT_THAT(engine_.Do(Attach(volume, "c")), HasReasonOf(Reason::kVolumeInUse));
  EXPECT_EQ(engine_.Volume(volume)->attachments.size(), 2u);
  // The only one is meant only when there is one.
  EXPECT_THAT(engine_.Do(Detach(volume)), HasReasonOf(Reason::kInvalidField));
  for (const Attachment& a : engine_.Volume(volume)->attachments) {
    EXPECT_OK(engine_.Do(Detach(volume, a.id)));
  }
  EXPECT_EQ(engine_.Volume(volume)->state, VolumeState::kAvailable);
  ASSERT_OK(engine_.Do(Attach(volume, "c")));
  EXPECT_THAT(engine_.Do(Attach(volume, "d")), HasReasonOf(Reason::kVolumeInUse));
  EXPECT_THAT(engine_.Do(Attach(volume, "d", AccessMode::kReadOnly)),
              HasReasonOf(Reason::kVolumeInUse));
  // The same instance again keeps its attachment: a retry.
  ASSERT_OK(engine_.Do(Attach(volume, "c")));
  EXPECT_EQ(engine_.Volume(volume)->attachments.size(), 1u);
  engine_.Restart();
  EXPECT_EQ(engine_.Volume(volume)->attachments.size(), 1u);
  ASSERT_OK(engine_.Do(Detach(volume)));
  EXPECT_THAT(engine_.Do(Detach(volume)), HasReasonOf(Reason::kAttachmentNotFound));
}

TEST_F(BehaviourTest, OfManyWhoAttachAtOnceOneGetsIt) {
  ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(VolumeFormat::kRawSparse, kMiB));
  std::atomic<int> attached = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        absl::Status status = engine_.Do(Attach(volume, "vm-" + std::to_string(i)));
        if (status.ok()) {
          ++attached;
        } else {
          EXPECT_THAT(status, HasReasonOf(Reason::kVolumeInUse));
        }
      });
    }
  }
  EXPECT_EQ(attached, 1);
  EXPECT_EQ(engine_.Volume(volume)->attachments.size(), 1u);
}

TEST_F(BehaviourTest, ReadersDoNotStandInTheWayOfASnapshot) {
  ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(VolumeFormat::kQcow2, kMiB));
  ASSERT_OK(engine_.Do(Attach(volume, "a", AccessMode::kReadOnly)));
  EXPECT_OK(engine_.Snapshot(volume));
  EXPECT_EQ(engine_.Volume(volume)->state, VolumeState::kInUse);
}

// ---- adopting

TEST_F(BehaviourTest, AChainThatAnotherSystemMadeIsAdoptedWithItsSnapshots) {
  for (VolumeFormat format : {VolumeFormat::kRawSparse, VolumeFormat::kQcow2}) {
    const std::string id = NewId(), s1 = NewId(), s2 = NewId();
    const std::string v = "volume-" + id;
    const std::string path = engine_.directory() + "/" + v;
    const std::string base = testing::FormatOf(BaseFileFormat(format));
    testing::RunTool({"qemu-img", "create", "-q", "-f", base, path, "1M"});
    QemuWrite(path, BaseFileFormat(format), 0, 65536, 1);
    testing::RunTool(
        {"qemu-img", "create", "-q", "-f", "qcow2", "-F", base, "-b", v, path + "." + s1});
    QemuWrite(path + "." + s1, FileFormat::kQcow2, 0, 65536, 2);
    testing::RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", v + "." + s1,
                      path + "." + s2, "2M"});
    QemuWrite(path + "." + s2, FileFormat::kQcow2, 0, 65536, 3);
    const nlohmann::json map = {{"active", v + "." + s2}, {s1, v + "." + s1}, {s2, v + "." + s2}};
    testing::WriteFile(path + ".info", map.dump(1));
    const std::string files = testing::ObserveDirectory(engine_.directory());

    ASSERT_OK(engine_.Do(testing::Adopt(engine_.address(0), id, format)));
    EXPECT_EQ(testing::ObserveDirectory(engine_.directory()), files);
    VolumePtr volume = engine_.Volume(id);
    EXPECT_EQ(volume->state, VolumeState::kAvailable);
    EXPECT_EQ(volume->size_bytes, 2 * kMiB);
    EXPECT_EQ(volume->active_file, v + "." + s2);
    auto snapshots = engine_->records().SnapshotsOf(id);
    ASSERT_EQ(snapshots.size(), 2u);
    EXPECT_EQ(snapshots[0]->id, s1);
    EXPECT_EQ(snapshots[0]->file, v);
    EXPECT_EQ(snapshots[0]->size_bytes, kMiB);
    EXPECT_EQ(snapshots[1]->id, s2);
    // It works like any other.
    ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = s1}));
    ASSERT_OK(engine_.Do(RevertToSnapshotRequest{.snapshot_id = s2}));
    EXPECT_TRUE(QemuReads(engine_.ActivePath(id), FileFormat::kQcow2, 0, 65536, 2));
    ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = id, .cascade = true}));
  }
  EXPECT_EQ(Observe(engine_), "");
}

TEST_F(BehaviourTest, AFileNameThatDoesNotMatchItsSnapshotIsAdoptedByTheMap) {
  // As deletions of volumes in use leave it: the base is gone, the layer bears a deleted snapshot's
  // id.
  const std::string id = NewId(), gone = NewId(), s2 = NewId();
  const std::string v = "volume-" + id;
  const std::string path = engine_.directory() + "/" + v;
  testing::RunTool({"qemu-img", "create", "-q", "-f", "qcow2", path + "." + gone, "1M"});
  testing::RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", v + "." + gone,
                    path + "." + s2});
  testing::WriteFile(path + ".info",
                     nlohmann::json{{"active", v + "." + s2}, {s2, v + "." + s2}}.dump(1));
  ASSERT_OK(engine_.Do(testing::Adopt(engine_.address(0), id, VolumeFormat::kQcow2)));
  EXPECT_EQ(engine_.FindSnapshot(s2)->file, v + "." + gone);
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = s2}));
  EXPECT_EQ(engine_.Volume(id)->active_file, v + "." + gone);
  EXPECT_OK(engine_.Do(Attach(id, "vm")));
}

// ---- lists

TEST_F(BehaviourTest, ListsArePagedFilteredAndOrdered) {
  std::set<std::string> ids;
  for (int i = 0; i < 7; ++i) {
    CreateVolumeRequest request = NewVolume(VolumeFormat::kRawSparse, kMiB * (7 - i));
    request.name = "disk-" + std::to_string(i);
    request.labels = {{"tier", i % 2 == 0 ? "gold" : "tin"}};
    request.volume_id = NewId();
    ids.insert(request.volume_id);
    ASSERT_OK(engine_.Do(request));
  }
  ListQuery query{.filter = {}, .order_by = {}, .page_size = 3, .page_token = {}};
  std::set<std::string> seen;
  int pages = 0;
  do {
    ASSERT_OK_AND_ASSIGN(auto page, engine_->records().ListVolumes(query));
    for (const VolumePtr& v : page.items) EXPECT_TRUE(seen.insert(v->id).second);
    query.page_token = page.next_page_token;
    ++pages;
  } while (!query.page_token.empty());
  EXPECT_EQ(seen, ids);
  EXPECT_EQ(pages, 3);
  query = {
      .filter = "labels.tier = gold", .order_by = "size_bytes", .page_size = 0, .page_token = {}};
  ASSERT_OK_AND_ASSIGN(auto gold, engine_->records().ListVolumes(query));
  ASSERT_EQ(gold.items.size(), 4u);
  EXPECT_EQ(gold.items[0]->name, "disk-6");
  query.filter = "labels.tier =";
  EXPECT_THAT(engine_->records().ListVolumes(query), HasReasonOf(Reason::kInvalidFilter));
  query.filter.clear();
  query.page_token = "of nobody";
  EXPECT_THAT(engine_->records().ListVolumes(query), HasReasonOf(Reason::kInvalidPageToken));
}

// ---- content

class ContentTest : public BehaviourTest, public ::testing::WithParamInterface<VolumeFormat> {};

TEST_P(ContentTest, WhatIsImportedIsExportedAgain) {
  std::string content(2 * kMiB, '\0');
  for (size_t i = 0; i < 300000; ++i) content[i + 70000] = static_cast<char>(i * 7 + i / 256);
  ImportVolumeRequest request;
  request.size_bytes = 3 * kMiB;
  request.format = GetParam();
  ASSERT_OK_AND_ASSIGN(auto import, testing::StartImport(engine_, request));
  ASSERT_OK(testing::WriteChunk(*import, testing::DataChunk(0, content.substr(0, kMiB))));
  ASSERT_OK(testing::WriteChunk(*import, testing::ZeroChunk(kMiB, kMiB)));
  ASSERT_OK_AND_ASSIGN(OperationPtr op, testing::Finish(*import, {2 * kMiB, Crc32c(0, content)}));
  ASSERT_OK(op->error);
  EXPECT_EQ(op->state, OperationState::kSucceeded);
  const std::string volume = op->volume_id;
  content.resize(3 * kMiB);
  ExportRequest whole;
  whole.volume_id = volume;
  ASSERT_OK_AND_ASSIGN(std::string exported, testing::ExportAll(engine_, whole));
  EXPECT_TRUE(exported == content);
  // A part, of a snapshot, while the volume has gone on.
  ASSERT_OK_AND_ASSIGN(std::string snapshot, engine_.Snapshot(volume));
  QemuWrite(engine_.ActivePath(volume), FileFormat::kQcow2, 0, kMiB, 9);
  ExportRequest part;
  part.snapshot_id = snapshot;
  part.offset = 512 * 100;
  part.length = 512 * 1000;
  part.chunk_bytes = 64 * kKiB;
  ASSERT_OK_AND_ASSIGN(exported, testing::ExportAll(engine_, part));
  EXPECT_TRUE(exported == content.substr(512 * 100, 512 * 1000));
}

TEST_P(ContentTest, AnImportThatIsNotWhatWasSaidLeavesNothing) {
  const std::string piece(kMiB, 'p');
  ImportVolumeRequest request;
  request.size_bytes = 2 * kMiB;
  request.format = GetParam();
  const auto expect_gone = [&](const std::string& operation) {
    ASSERT_OK_AND_ASSIGN(OperationPtr op, engine_.Wait(operation));
    EXPECT_TRUE(Ended(op->state));
    EXPECT_FALSE(op->error.ok());
    EXPECT_EQ(Observe(engine_), "");
    EXPECT_EQ(testing::ReservedBytes(engine_), 0);
  };
  const auto attempt = [&](const std::function<void(ImportSession&)>& run) {
    auto session = testing::StartImport(engine_, request);
    ASSERT_OK(session);
    const std::string operation = (*session)->operation_id();
    run(**session);
    session->reset();
    expect_gone(operation);
  };
  attempt([&](ImportSession& s) {  // damaged
    ContentChunk chunk = testing::DataChunk(0, piece);
    chunk.data[5] = 'x';
    EXPECT_THAT(testing::WriteChunk(s, chunk), HasReasonOf(Reason::kChecksumMismatch));
  });
  attempt([&](ImportSession& s) {  // a gap
    EXPECT_THAT(testing::WriteChunk(s, testing::DataChunk(512, piece)),
                HasReasonOf(Reason::kInvalidField));
  });
  attempt([&](ImportSession& s) {  // beyond the end
    EXPECT_THAT(testing::WriteChunk(s, testing::ZeroChunk(0, 3 * kMiB)),
                HasReasonOf(Reason::kInvalidField));
  });
  attempt([&](ImportSession& s) {  // another total
    EXPECT_OK(testing::WriteChunk(s, testing::DataChunk(0, piece)));
    EXPECT_THAT(testing::Finish(s, {kMiB, 1}), HasReasonOf(Reason::kChecksumMismatch));
  });
  attempt([&](ImportSession& s) {  // something is missing
    EXPECT_OK(testing::WriteChunk(s, testing::DataChunk(0, piece)));
    EXPECT_THAT(testing::Finish(s, {2 * kMiB, Crc32c(0, piece)}),
                HasReasonOf(Reason::kInvalidField));
  });
  attempt([&](ImportSession& s) {  // dropped
    EXPECT_OK(testing::WriteChunk(s, testing::DataChunk(0, piece)));
  });
  attempt([&](ImportSession& s) {  // cancelled
    EXPECT_OK(testing::WriteChunk(s, testing::DataChunk(0, piece)));
    EXPECT_OK(Await<absl::StatusOr<OperationPtr>>(
        [&](auto done) { engine_->Cancel(s.operation_id(), done); }));
  });
}

INSTANTIATE_TEST_SUITE_P(Formats, ContentTest,
                         ::testing::Values(VolumeFormat::kQcow2, VolumeFormat::kRawSparse,
                                           VolumeFormat::kRawThick),
                         [](const auto& info) {
                           return std::string(VolumeFormatName(info.param));
                         });

TEST_F(BehaviourTest, AnImportThatWasInterruptedByARestartLeavesNothing) {
  ImportVolumeRequest request;
  request.size_bytes = kMiB;
  request.format = VolumeFormat::kQcow2;
  ASSERT_OK_AND_ASSIGN(auto session, testing::StartImport(engine_, request));
  const std::string operation = session->operation_id();
  ASSERT_OK(testing::WriteChunk(*session, testing::ZeroChunk(0, 512)));
  engine_->Stop(absl::ZeroDuration());
  session.reset();
  engine_.Restart();
  ASSERT_OK_AND_ASSIGN(OperationPtr op, engine_.Wait(operation));
  EXPECT_THAT(op->error, HasReasonOf(Reason::kInterrupted));
  EXPECT_EQ(Observe(engine_), "");
}

// The last volume leaves a share that is no longer listed: the share stays until its old files are
// removed, although no volume lies there any more.
TEST_F(BehaviourTest, AShareThatDrainsStaysWhileAMoveAwayIsAtWorkOnIt) {
  ASSERT_OK_AND_ASSIGN(const std::string id,
                       engine_.Create(VolumeFormat::kRawSparse, kMiB, engine_.address(0)));
  const std::string file = engine_.ActivePath(id);
  testing::WriteFile(engine_.dir().File("shares"), engine_.address(1) + "\n");
  std::promise<absl::Status> read_again;
  engine_->RescanPool("", [&](const absl::Status& status) { read_again.set_value(status); });
  ASSERT_OK(read_again.get_future().get());
  // Each for a second, so that shares that drain are looked at meanwhile.
  ASSERT_OK(
      ArmFailPoints("migrate_volume.crossed=sleep;migrate_volume.step1=sleep;"
                    "migrate_volume.step2=sleep;migrate_volume.done=sleep"));
  EXPECT_OK(engine_.Do(MigrateVolumeRequest{.volume_id = id, .share = engine_.address(1)}));
  ASSERT_OK(ArmFailPoints(""));
  EXPECT_EQ(engine_.Volume(id)->share, engine_.address(1));
  EXPECT_FALSE(std::filesystem::exists(file));
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (engine_->GetPool("")->shares.size() > 1 && absl::Now() < until) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(engine_->GetPool("")->shares.size(), 1u);
}

}  // namespace
}  // namespace cairn
