// The traps of the driver that Cairn succeeds, one test each: what copies hold, what headers say,
// and what happens to chains.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "lib/base/id.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"
#include "tests/unit/engine/watched_system.h"

namespace cairn {
namespace {

using testing::FromSnapshot;
using testing::FromVolume;
using testing::HasReasonOf;
using testing::kPiece;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::Observe;
using testing::QemuCheck;
using testing::QemuInfo;
using testing::QemuReads;
using testing::QemuWrite;
using testing::ReadFile;
using testing::StatusIs;
using testing::TestEngine;

// A volume of one share whose n-th snapshot holds n in its first piece; the volume holds count + 1.
struct Stack {
  std::string volume;
  std::vector<std::string> snapshots;
};
absl::StatusOr<Stack> MakeStack(TestEngine& engine, VolumeFormat format, int64_t size_bytes,
                                int count) {
  Stack stack;
  ASSIGN_OR_RETURN(stack.volume, engine.Create(format, size_bytes, engine.address(0)));
  QemuWrite(engine.ActivePath(stack.volume), BaseFileFormat(format), 0, kPiece, 1);
  for (int i = 1; i <= count; ++i) {
    ASSIGN_OR_RETURN(std::string snapshot, engine.Snapshot(stack.volume));
    stack.snapshots.push_back(snapshot);
    QemuWrite(engine.ActivePath(stack.volume), FileFormat::kQcow2, 0, kPiece,
              static_cast<uint8_t>(i + 1));
  }
  return stack;
}

// Whether the volume, its snapshots and all of its files are as MakeStack left them, without
// `deleted`.
void ExpectStack(TestEngine& engine, const Stack& stack, VolumeFormat format,
                 const std::set<size_t>& deleted) {
  const FileFormat base = BaseFileFormat(format);
  for (size_t i = 0; i < stack.snapshots.size(); ++i) {
    SnapshotPtr snapshot = engine.FindSnapshot(stack.snapshots[i]);
    ASSERT_EQ(snapshot == nullptr, deleted.count(i) == 1) << i;
    if (snapshot == nullptr) continue;
    const FileFormat in = snapshot->file == "volume-" + stack.volume ? base : FileFormat::kQcow2;
    EXPECT_TRUE(QemuReads(engine.directory() + "/" + snapshot->file, in, 0, kPiece,
                          static_cast<uint8_t>(i + 1)));
  }
  const bool flat = deleted.size() == stack.snapshots.size();
  EXPECT_TRUE(QemuReads(engine.ActivePath(stack.volume), flat ? base : FileFormat::kQcow2, 0,
                        kPiece, static_cast<uint8_t>(stack.snapshots.size() + 1)));
}

class EveryFormatTrapTest : public ::testing::TestWithParam<VolumeFormat> {
 protected:
  std::string CreatedBy(CreateVolumeRequest request) {
    auto op = engine_.Submit(std::move(request));
    if (op.ok()) op = engine_.Wait((*op)->id);
    EXPECT_OK(op);
    if (!op.ok()) return {};
    EXPECT_OK((*op)->error);
    return (*op)->volume_id;
  }

  TestEngine engine_;
};

INSTANTIATE_TEST_SUITE_P(Formats, EveryFormatTrapTest,
                         ::testing::Values(VolumeFormat::kQcow2, VolumeFormat::kRawSparse,
                                           VolumeFormat::kRawThick),
                         [](const auto& info) {
                           return std::string(VolumeFormatName(info.param));
                         });

TEST_P(EveryFormatTrapTest, ALargerCopyHasTheSizeThatWasAskedAndCanBeAttached) {
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine_, GetParam(), kMiB, 1));
  for (VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    std::string restored = CreatedBy(NewVolume(format, 3 * kMiB, FromSnapshot(stack.snapshots[0])));
    std::string clone = CreatedBy(NewVolume(format, 3 * kMiB, FromVolume(stack.volume)));
    for (const std::string& copy : {restored, clone}) {
      const FileFormat in = BaseFileFormat(format);
      EXPECT_EQ(QemuInfo(engine_.ActivePath(copy), in)["virtual-size"], 3 * kMiB);
      EXPECT_TRUE(QemuReads(engine_.ActivePath(copy), in, 0, kPiece, copy == clone ? 2 : 1));
      EXPECT_TRUE(QemuReads(engine_.ActivePath(copy), in, kMiB, 2 * kMiB, 0));
      EXPECT_OK(engine_.Do(testing::Attach(copy, "vm")));
      EXPECT_EQ(engine_->ConnectionOf(copy, "")->size_bytes, 3 * kMiB);
    }
  }
}

TEST_P(EveryFormatTrapTest, AVolumeIsCreatedFromTheSecondAndLaterSnapshots) {
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine_, GetParam(), kMiB, 4));
  for (size_t i = 0; i < stack.snapshots.size(); ++i) {
    std::string copy =
        CreatedBy(NewVolume(VolumeFormat::kQcow2, 0, FromSnapshot(stack.snapshots[i])));
    EXPECT_TRUE(QemuReads(engine_.ActivePath(copy), FileFormat::kQcow2, 0, kPiece,
                          static_cast<uint8_t>(i + 1)));
  }
}

TEST_P(EveryFormatTrapTest, AVolumeWithSnapshotsIsCloned) {
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine_, GetParam(), kMiB, 3));
  const std::string before = Observe(engine_);
  std::string clone = CreatedBy(NewVolume(GetParam(), 0, FromVolume(stack.volume)));
  EXPECT_TRUE(QemuReads(engine_.ActivePath(clone), BaseFileFormat(GetParam()), 0, kPiece, 4));
  EXPECT_TRUE(engine_->records().SnapshotsOf(clone).empty());
  ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = clone}));
  EXPECT_EQ(Observe(engine_), before);
}

TEST_P(EveryFormatTrapTest, ExtendingAVolumeWithSnapshotsExtendsWhatTheGuestSees) {
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine_, GetParam(), kMiB, 2));
  ASSERT_OK(engine_.Do(ExtendVolumeRequest{.volume_id = stack.volume, .size_bytes = 2 * kMiB}));
  EXPECT_EQ(QemuInfo(engine_.ActivePath(stack.volume), FileFormat::kQcow2)["virtual-size"],
            2 * kMiB);
  EXPECT_EQ(engine_.FindSnapshot(stack.snapshots[1])->size_bytes, kMiB);
  EXPECT_OK(engine_.Do(testing::Attach(stack.volume, "vm")));
  EXPECT_OK(engine_.Do(testing::Detach(stack.volume)));
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = stack.snapshots[1]}));
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = stack.snapshots[0]}));
  EXPECT_EQ(QemuInfo(engine_.ActivePath(stack.volume), BaseFileFormat(GetParam()))["virtual-size"],
            2 * kMiB);
  EXPECT_OK(engine_.Do(testing::Attach(stack.volume, "vm")));
}

TEST_P(EveryFormatTrapTest, DeletingTheOldestOfManySnapshotsKeepsTheOthers) {
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine_, GetParam(), kMiB, 5));
  std::set<size_t> deleted;
  for (size_t i = 0; i < stack.snapshots.size(); ++i) {
    ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = stack.snapshots[i]}));
    deleted.insert(i);
    ExpectStack(engine_, stack, GetParam(), deleted);
  }
}

TEST_P(EveryFormatTrapTest, DeletingAVolumeWithItsSnapshotsRemovesEveryFile) {
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine_, GetParam(), kMiB, 3));
  ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = stack.volume, .cascade = true}));
  EXPECT_EQ(Observe(engine_), "");
}

TEST_P(EveryFormatTrapTest, RevertingKeepsTheChainAndItsSnapshots) {
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine_, GetParam(), kMiB, 2));
  ASSERT_OK(engine_.Do(RevertToSnapshotRequest{.snapshot_id = stack.snapshots[1]}));
  EXPECT_EQ(engine_.Volume(stack.volume)->chain.size(), 3u);
  EXPECT_TRUE(QemuReads(engine_.ActivePath(stack.volume), FileFormat::kQcow2, 0, kPiece, 2));
  EXPECT_TRUE(QemuCheck(engine_.ActivePath(stack.volume)));
}

// A qcow2 header that a guest wrote at the beginning of its raw disk is data.
TEST(TrapTest, AQcow2HeaderThatAGuestWroteIntoARawVolumeStaysData) {
  TestEngine engine;
  ASSERT_OK_AND_ASSIGN(std::string volume,
                       engine.Create(VolumeFormat::kRawSparse, kMiB, engine.address(0)));
  const std::string nested = engine.dir().File("nested");
  testing::RunTool({"qemu-img", "create", "-q", "-f", "qcow2", nested, "512K"});
  testing::RunTool(
      {"dd", "status=none", "conv=notrunc", "if=" + nested, "of=" + engine.ActivePath(volume)});
  const std::string content = ReadFile(engine.ActivePath(volume));
  ASSERT_OK_AND_ASSIGN(std::string snapshot, engine.Snapshot(volume));
  auto info = QemuInfo(engine.ActivePath(volume), FileFormat::kQcow2);
  EXPECT_EQ(info["backing-filename-format"], "raw");
  EXPECT_EQ(info["virtual-size"], kMiB);
  const std::string flat = engine.dir().File("flat");
  testing::RunTool(
      {"qemu-img", "convert", "-f", "qcow2", "-O", "raw", engine.ActivePath(volume), flat});
  EXPECT_EQ(ReadFile(flat), content);
  ASSERT_OK_AND_ASSIGN(OperationPtr op, engine.Submit(NewVolume(VolumeFormat::kRawSparse, 0,
                                                                FromSnapshot(snapshot))));
  ASSERT_OK_AND_ASSIGN(op, engine.Wait(op->id));
  ASSERT_OK(op->error);
  EXPECT_EQ(ReadFile(engine.ActivePath(op->volume_id)), content);
  ASSERT_OK(engine.Do(DeleteSnapshotRequest{.snapshot_id = snapshot}));
  EXPECT_EQ(ReadFile(engine.ActivePath(volume)), content);
  EXPECT_EQ(engine->ConnectionOf(volume, "")->file_format, FileFormat::kRaw);
}

// The same header, naming the volume's own file as its backing file, made qemu-img open itself
// until it ran out of descriptors.
TEST(TrapTest, ARawVolumeWhoseContentNamesItselfIsSnapshottedAsAnyOther) {
  TestEngine engine;
  ASSERT_OK_AND_ASSIGN(std::string volume,
                       engine.Create(VolumeFormat::kRawSparse, kMiB, engine.address(0)));
  const std::string nested = engine.dir().File("nested");
  testing::RunTool({"qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b",
                    "volume-" + volume, nested, "512K"});
  testing::RunTool(
      {"dd", "status=none", "conv=notrunc", "if=" + nested, "of=" + engine.ActivePath(volume)});
  const std::string content = ReadFile(engine.ActivePath(volume));
  const absl::Time begun = absl::Now();
  ASSERT_OK_AND_ASSIGN(std::string snapshot, engine.Snapshot(volume));
  EXPECT_LT(absl::Now() - begun, absl::Seconds(30));
  EXPECT_EQ(ReadFile(engine.directory() + "/" + engine.FindSnapshot(snapshot)->file), content);
}

TEST(TrapTest, AQcow2VolumeWhoseHeaderNamesItselfIsRefusedAtOnce) {
  TestEngine engine;
  ASSERT_OK_AND_ASSIGN(std::string volume,
                       engine.Create(VolumeFormat::kQcow2, kMiB, engine.address(0)));
  testing::RunTool({"qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b",
                    "volume-" + volume, engine.ActivePath(volume)});
  const std::string before = Observe(engine);
  const absl::Time begun = absl::Now();
  EXPECT_THAT(engine.Snapshot(volume), HasReasonOf(Reason::kChainCorrupt));
  EXPECT_THAT(engine.Do(testing::Attach(volume, "vm")), HasReasonOf(Reason::kChainCorrupt));
  EXPECT_THAT(engine.Do(NewVolume(VolumeFormat::kQcow2, 0, FromVolume(volume))),
              HasReasonOf(Reason::kChainCorrupt));
  EXPECT_LT(absl::Now() - begun, absl::Seconds(30));
  EXPECT_EQ(Observe(engine), before);
}

// The driver refused every attach of a volume from an image on a qcow2 pool: the file was raw.
TEST(TrapTest, AVolumeFromARawImageIsReallyOfTheFormatThatIsRecorded) {
  TestEngine engine;
  const std::string image = engine.dir().File("images/raw.img");
  testing::WriteFile(image, std::string(kMiB, 'x'));
  CreateVolumeRequest request =
      NewVolume(VolumeFormat::kQcow2, 2 * kMiB, testing::FromImage(image));
  ASSERT_OK_AND_ASSIGN(OperationPtr op, engine.Submit(request));
  ASSERT_OK_AND_ASSIGN(op, engine.Wait(op->id));
  ASSERT_OK(op->error);
  EXPECT_TRUE(QemuCheck(engine.ActivePath(op->volume_id)));
  EXPECT_TRUE(QemuReads(engine.ActivePath(op->volume_id), FileFormat::kQcow2, 0, kMiB, 'x'));
  EXPECT_OK(engine.Do(ExtendVolumeRequest{.volume_id = op->volume_id, .size_bytes = 3 * kMiB}));
  EXPECT_OK(engine.Do(testing::Attach(op->volume_id, "vm")));
}

TEST(TrapTest, InterleavedSnapshotsOfOneVolumeAreAllInTheMap) {
  TestEngine engine;
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine, VolumeFormat::kRawSparse, kMiB, 0));
  constexpr int kThreads = 6;
  std::vector<std::string> ids;
  for (int i = 0; i < kThreads; ++i) ids.push_back(NewId());
  {
    std::vector<std::jthread> threads;
    for (const std::string& id : ids) {
      threads.emplace_back(
          [&engine, &stack, id] { EXPECT_OK(engine.Do(NewSnapshot(stack.volume, id))); });
    }
  }
  auto map = nlohmann::json::parse(
      ReadFile(engine.directory() + "/volume-" + stack.volume + ".info"), nullptr, false);
  EXPECT_EQ(map.size(), kThreads + 1u);
  for (const std::string& id : ids) EXPECT_TRUE(map.contains(id));
  EXPECT_EQ(map["active"], engine.Volume(stack.volume)->active_file);
  EXPECT_EQ(engine.Volume(stack.volume)->chain.size(), kThreads + 1u);
  EXPECT_TRUE(QemuReads(engine.ActivePath(stack.volume), FileFormat::kQcow2, 0, kPiece, 1));
}

// No child when the layer is small, else one, however long the chain is; the driver ran one for
// each link.
TEST(TrapTest, DeletingASnapshotOfALongChainRunsOneToolAtMost) {
  testing::EventLog log;
  testing::WatchedProcesses processes(&log);
  TestEngine::Setup setup;
  setup.engine.processes = &processes;
  TestEngine engine(setup);
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine, VolumeFormat::kQcow2, 32 * kMiB, 12));
  log.Clear();
  ASSERT_OK(engine.Do(DeleteSnapshotRequest{.snapshot_id = stack.snapshots[0]}));
  EXPECT_EQ(log.events(), std::vector<std::string>{});
  testing::QemuWrite(engine.ActivePath(stack.volume), FileFormat::kQcow2, 0, 20 * kMiB, 7);
  ASSERT_OK(engine.Do(DeleteSnapshotRequest{.snapshot_id = stack.snapshots.back()}));
  EXPECT_EQ(log.events(), std::vector<std::string>{"qemu-img commit"});
  log.Clear();
  ASSERT_OK(engine.Snapshot(stack.volume));
  ASSERT_OK(engine.Do(testing::Attach(stack.volume, "vm")));
  EXPECT_EQ(log.events(), std::vector<std::string>{});
}

TEST(TrapTest, ABrokenFileBelowTheActiveOneIsSeenAtAttach) {
  TestEngine engine;
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine, VolumeFormat::kQcow2, kMiB, 2));
  const std::string middle =
      engine.directory() + "/" + engine.FindSnapshot(stack.snapshots[1])->file;
  std::filesystem::rename(middle, engine.dir().File("aside"));
  EXPECT_THAT(engine.Do(testing::Attach(stack.volume, "vm")), HasReasonOf(Reason::kChainCorrupt));
  EXPECT_TRUE(engine.Volume(stack.volume)->attachments.empty());
  std::filesystem::rename(engine.dir().File("aside"), middle);
  EXPECT_OK(engine.Do(testing::Attach(stack.volume, "vm")));
}

TEST(TrapTest, AFailedCopyLeavesNothingBehind) {
  testing::EventLog log;
  testing::WatchedProcesses processes(&log, [](const ProcessSpec& spec) {
    const bool convert = spec.argv.size() > 1 && spec.argv[1] == "convert";
    return convert ? Error(Reason::kToolFailed, "the disk is on fire") : absl::OkStatus();
  });
  TestEngine::Setup setup;
  setup.engine.processes = &processes;
  TestEngine engine(setup);
  ASSERT_OK_AND_ASSIGN(Stack stack, MakeStack(engine, VolumeFormat::kQcow2, kMiB, 1));
  const std::string before = Observe(engine);
  EXPECT_THAT(engine.Do(NewVolume(VolumeFormat::kQcow2, 0, FromVolume(stack.volume))),
              HasReasonOf(Reason::kToolFailed));
  EXPECT_THAT(engine.Do(NewVolume(VolumeFormat::kRawSparse, 0, FromSnapshot(stack.snapshots[0]))),
              HasReasonOf(Reason::kToolFailed));
  EXPECT_EQ(Observe(engine), before);
  EXPECT_EQ(testing::ReservedBytes(engine), 0);
}

}  // namespace
}  // namespace cairn
