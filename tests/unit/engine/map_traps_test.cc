// The traps of the driver that Cairn succeeds, one test each: the map, the order of steps, files
// that are in the way, failures half-way, and shares that are gone.
#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"
#include "tests/unit/engine/watched_system.h"

namespace cairn {
namespace {

using testing::Attach;
using testing::Detach;
using testing::FromVolume;
using testing::HasReasonOf;
using testing::IsOk;
using testing::kPiece;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::Observe;
using testing::ObserveDirectory;
using testing::QemuReads;
using testing::QemuWrite;
using testing::ReadFile;
using testing::RunTool;
using testing::StatusIs;
using testing::TestEngine;
using testing::WriteFile;

// Nothing but the tests' own operations touches the shares.
TestEngine::Setup Quiet() {
  TestEngine::Setup setup;
  setup.engine.probe_period = absl::Hours(1);
  return setup;
}

class ChainTrapTest : public ::testing::Test {
 protected:
  explicit ChainTrapTest(TestEngine::Setup setup = Quiet()) : engine_(std::move(setup)) {}

  // A qcow2 volume with two snapshots; the contents are 1, 2 and, now, 3.
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(volume_, engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
    QemuWrite(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kPiece, 1);
    ASSERT_OK_AND_ASSIGN(older_, engine_.Snapshot(volume_));
    QemuWrite(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kPiece, 2);
    ASSERT_OK_AND_ASSIGN(newer_, engine_.Snapshot(volume_));
    QemuWrite(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kPiece, 3);
  }

  std::string base() const { return "volume-" + volume_; }
  std::string Layer(const std::string& snapshot) const { return base() + "." + snapshot; }
  std::string map() const { return base() + ".info"; }
  std::string Path(const std::string& file) const { return engine_.directory() + "/" + file; }
  bool Holds(uint8_t content) {
    return QemuReads(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kPiece, content);
  }

  // With a map that is of no use, everything works, and the map is right again.
  void ExpectMapIsRepaired(const std::string& broken) {
    const std::string good = ReadFile(Path(map()));
    const auto breaks = [&] { WriteFile(Path(map()), broken); };
    breaks();
    EXPECT_OK(engine_.Do(Attach(volume_, "vm")));
    EXPECT_EQ(engine_->ConnectionOf(volume_, "")->file_name, Layer(newer_));
    EXPECT_EQ(ReadFile(Path(map())), good);
    EXPECT_OK(engine_.Do(Detach(volume_)));
    breaks();
    ASSERT_OK_AND_ASSIGN(std::string third, engine_.Snapshot(volume_));
    EXPECT_TRUE(Holds(3));
    breaks();
    EXPECT_OK(engine_.Do(ExtendVolumeRequest{.volume_id = volume_, .size_bytes = 2 * kMiB}));
    breaks();
    EXPECT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = third}));
    EXPECT_EQ(ReadFile(Path(map())), good);
    breaks();
    EXPECT_OK(engine_.Do(RevertToSnapshotRequest{.snapshot_id = newer_}));
    EXPECT_TRUE(Holds(2));
    breaks();
    EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}));
    EXPECT_EQ(Observe(engine_), "");
  }

  TestEngine engine_;
  std::string volume_;
  std::string older_;
  std::string newer_;
};

TEST_F(ChainTrapTest, AMapOfZeroBytesIsRepaired) { ExpectMapIsRepaired(""); }
TEST_F(ChainTrapTest, AMapThatIsAnEmptyObjectIsRepairedAndNeverMeansNoSnapshots) {
  ExpectMapIsRepaired("{}");
}
TEST_F(ChainTrapTest, AMapWithoutActiveIsRepaired) {
  ExpectMapIsRepaired("{\"" + older_ + "\": \"" + Layer(older_) + "\"}");
}
TEST_F(ChainTrapTest, AMapThatNamesTheBaseAsActiveIsRepaired) {
  ExpectMapIsRepaired("{\"active\": \"" + base() + "\"}");
}
TEST_F(ChainTrapTest, AMapWithAKeyOfADeletedSnapshotIsRepaired) {
  auto json = nlohmann::json::parse(ReadFile(Path(map())));
  const std::string gone = NewId();
  json[gone] = Layer(gone);
  ExpectMapIsRepaired(json.dump(1));
}

TEST_F(ChainTrapTest, AMapThatNamesAnotherFileThatIsThereIsNotTouched) {
  const std::string stray = Layer(NewId());
  RunTool(
      {"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", Layer(newer_), Path(stray)});
  WriteFile(Path(map()), "{\"active\": \"" + stray + "\"}");
  const std::string before = Observe(engine_);
  EXPECT_THAT(engine_.Snapshot(volume_), HasReasonOf(Reason::kMapCorrupt));
  EXPECT_THAT(engine_.Do(Attach(volume_, "vm")), HasReasonOf(Reason::kMapCorrupt));
  EXPECT_EQ(Observe(engine_), before);
}

TEST_F(ChainTrapTest, AFileThatIsTheBackingFileOfTwoIsNeverCommittedInto) {
  const std::string stray = Layer(NewId());
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base(), Path(stray)});
  const std::string before = Observe(engine_);
  EXPECT_THAT(engine_.Do(DeleteSnapshotRequest{.snapshot_id = older_}),
              HasReasonOf(Reason::kBackingFileShared));
  EXPECT_EQ(Observe(engine_), before);
  // The file above is not concerned.
  EXPECT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = newer_}));
  std::filesystem::remove(Path(stray));
  EXPECT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = older_}));
  EXPECT_TRUE(Holds(3));
}

TEST_F(ChainTrapTest, ALayerThatIsTheBackingFileOfTwoIsNeverRemoved) {
  const std::string stray = Layer(NewId());
  RunTool(
      {"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", Layer(older_), Path(stray)});
  const std::string before = Observe(engine_);
  EXPECT_THAT(engine_.Do(DeleteSnapshotRequest{.snapshot_id = older_}),
              HasReasonOf(Reason::kBackingFileShared));
  EXPECT_EQ(Observe(engine_), before);
}

TEST_F(ChainTrapTest, AnUnknownFileWithTheNameOfALayerIsNotOverwritten) {
  const std::string id = NewId();
  WriteFile(Path(Layer(id)), "somebody's");
  const std::string before = Observe(engine_);
  EXPECT_THAT(engine_.Do(NewSnapshot(volume_, id)), HasReasonOf(Reason::kFileExists));
  EXPECT_EQ(Observe(engine_), before);
}

TEST_F(ChainTrapTest, UnknownFilesWithTheNamesOfAVolumeAreNotOverwritten) {
  const std::string id = NewId();
  CreateVolumeRequest request = NewVolume(VolumeFormat::kRawThick, kMiB);
  request.volume_id = id;
  request.share = engine_.address(0);
  for (const std::string& name : {"volume-" + id, "volume-" + id + ".info"}) {
    WriteFile(Path(name), "somebody's");
    const std::string before = Observe(engine_);
    EXPECT_THAT(engine_.Do(request), HasReasonOf(Reason::kFileExists));
    request.source = FromVolume(volume_);
    EXPECT_THAT(engine_.Do(request), HasReasonOf(Reason::kFileExists));
    request.source = {};
    EXPECT_EQ(Observe(engine_), before);
    std::filesystem::remove(Path(name));
  }
  EXPECT_OK(engine_.Do(request));
}

TEST_F(ChainTrapTest, FilesInTheWayOfAMoveAreNotOverwritten) {
  WriteFile(engine_.directory(1) + "/" + base(), "somebody's");
  const std::string before = Observe(engine_);
  EXPECT_THAT(engine_.Do(MigrateVolumeRequest{.volume_id = volume_, .share = {}}),
              HasReasonOf(Reason::kFileExists));
  EXPECT_EQ(Observe(engine_), before);
}

TEST_F(ChainTrapTest, AVolumeWhoseSizeWasChangedBehindOurBackIsNotAttached) {
  RunTool({"qemu-img", "resize", "-q", "-f", "qcow2", engine_.ActivePath(volume_), "2M"});
  const std::string before = Observe(engine_);
  EXPECT_THAT(engine_.Do(Attach(volume_, "vm")), HasReasonOf(Reason::kImageMismatch));
  EXPECT_THAT(engine_.Snapshot(volume_), HasReasonOf(Reason::kImageMismatch));
  EXPECT_EQ(Observe(engine_), before);
}

TEST_F(ChainTrapTest, ARawVolumeWhoseSizeWasChangedBehindOurBackIsNotAttached) {
  ASSERT_OK_AND_ASSIGN(std::string raw, engine_.Create(VolumeFormat::kRawSparse, kMiB));
  ASSERT_EQ(truncate(engine_.ActivePath(raw).c_str(), 4 * kMiB), 0);
  EXPECT_THAT(engine_.Do(Attach(raw, "vm")), HasReasonOf(Reason::kImageMismatch));
}

TEST_F(ChainTrapTest, AQcow2VolumeThatBecameRawBehindOurBackIsNotAttached) {
  ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(VolumeFormat::kQcow2, kMiB));
  WriteFile(engine_.ActivePath(volume), std::string(kMiB, 'x'));
  absl::Status status = engine_.Do(Attach(volume, "vm"));
  EXPECT_TRUE(HasReason(status, Reason::kImageMismatch) || HasReason(status, Reason::kImageCorrupt))
      << Describe(status);
}

TEST_F(ChainTrapTest, AChainThatWasChangedBehindOurBackIsNotAttached) {
  RunTool({"qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base(),
           engine_.ActivePath(volume_)});
  const std::string before = Observe(engine_);
  EXPECT_THAT(engine_.Do(Attach(volume_, "vm")), HasReasonOf(Reason::kChainCorrupt));
  EXPECT_THAT(engine_.Do(DeleteSnapshotRequest{.snapshot_id = newer_}),
              HasReasonOf(Reason::kChainCorrupt));
  EXPECT_EQ(Observe(engine_), before);
}

// ---- the order of the steps

class OrderTrapTest : public ChainTrapTest {
 protected:
  OrderTrapTest() : OrderTrapTest(std::make_shared<Watched>()) {}

  struct Watched {
    testing::EventLog log;
    testing::WatchedFileSystem files{&log};
    testing::WatchedProcesses processes{&log};
  };
  explicit OrderTrapTest(const std::shared_ptr<Watched>& watched)
      : ChainTrapTest(SetupOf(*watched)), watched_(watched) {}
  static TestEngine::Setup SetupOf(Watched& watched) {
    TestEngine::Setup setup = Quiet();
    setup.engine.files = &watched.files;
    setup.engine.processes = &watched.processes;
    return setup;
  }
  ~OrderTrapTest() override { engine_.Stop(); }

  const std::shared_ptr<Watched> watched_;
};

TEST_F(OrderTrapTest, AMiddleSnapshotIsDeletedByCommitThenHeaderThenMapThenUnlink) {
  watched_->log.Clear();
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = older_}));
  EXPECT_EQ(watched_->log.events(),
            (std::vector<std::string>{"change " + base(), "change " + Layer(newer_),
                                      "rename to " + map(), "remove " + Layer(older_)}));
}

TEST_F(OrderTrapTest, TheNewestSnapshotIsDeletedByCommitThenMapThenUnlink) {
  watched_->log.Clear();
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = newer_}));
  EXPECT_EQ(watched_->log.events(),
            (std::vector<std::string>{"change " + Layer(older_), "rename to " + map(),
                                      "remove " + Layer(newer_)}));
}

TEST_F(OrderTrapTest, ASnapshotIsTakenByLayerThenMap) {
  const std::string id = NewId();
  watched_->log.Clear();
  ASSERT_OK(engine_.Do(NewSnapshot(volume_, id)));
  EXPECT_EQ(watched_->log.events(),
            (std::vector<std::string>{"rename to " + Layer(id), "rename to " + map()}));
}

TEST_F(OrderTrapTest, AVolumeIsDeletedByMapThenLayersThenBase) {
  watched_->log.Clear();
  ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}));
  EXPECT_EQ(watched_->log.events(),
            (std::vector<std::string>{"remove " + map(), "remove " + Layer(newer_),
                                      "remove " + Layer(older_), "remove " + base()}));
}

// ---- failures half-way

class FailureTrapTest : public ChainTrapTest {
 protected:
  FailureTrapTest() : FailureTrapTest(std::make_shared<FaultyFileSystem>(FileSystem::Posix())) {}
  explicit FailureTrapTest(const std::shared_ptr<FaultyFileSystem>& files)
      : ChainTrapTest(SetupOf(files.get())), files_(files) {}
  static TestEngine::Setup SetupOf(FaultyFileSystem* files) {
    TestEngine::Setup setup = Quiet();
    setup.engine.files = files;
    return setup;
  }
  ~FailureTrapTest() override { engine_.Stop(); }

  // Makes each of the operation's changes fail in turn: the operation then fails with that error,
  // and everything is as before. `back` undoes a run that went well.
  void ExpectAllOrNothing(const std::function<absl::Status()>& run,
                          const std::function<void()>& back) {
    const std::string before = Observe(engine_);
    int64_t faults = files_->EnumerateFaults({.error_number = ENOSPC}, [&](int64_t nth) {
      absl::Status status = run();
      EXPECT_EQ(status.ok(), !files_->fired()) << nth << ": " << Describe(status);
      files_->Clear();
      if (status.ok()) {
        back();
      } else {
        EXPECT_THAT(status, HasReasonOf(Reason::kNoSpace)) << nth;
        EXPECT_EQ(Observe(engine_), before) << nth;
        EXPECT_EQ(testing::ReservedBytes(engine_), 0) << nth;
      }
    });
    EXPECT_GT(faults, 3);
    EXPECT_EQ(Observe(engine_), before);
    EXPECT_TRUE(Holds(3));
  }

  const std::shared_ptr<FaultyFileSystem> files_;
};

// A snapshot whose map has its name already is finished: to take it back could need room.
TEST_F(FailureTrapTest, AFailedSnapshotLeavesNoLayer) {
  const std::string id = NewId();
  int64_t faults = files_->EnumerateFaults({.error_number = ENOSPC}, [&](int64_t nth) {
    const std::string before = Observe(engine_);
    absl::Status status = engine_.Do(NewSnapshot(volume_, id));
    EXPECT_TRUE(status.ok() || files_->fired()) << nth << ": " << Describe(status);
    if (!status.ok()) {
      EXPECT_EQ(Observe(engine_), before) << nth;
    }
  });
  EXPECT_GT(faults, 4);
  EXPECT_TRUE(Holds(3));
  EXPECT_EQ(engine_.Volume(volume_)->chain.size(), 4u);
}

TEST_F(FailureTrapTest, TheFirstSnapshotWhenItFailsLeavesNeitherLayerNorMap) {
  ASSERT_OK_AND_ASSIGN(std::string fresh, engine_.Create(VolumeFormat::kRawSparse, kMiB));
  const std::string id = NewId();
  const std::string before = Observe(engine_);
  files_->EnumerateFaults({.error_number = EIO}, [&](int64_t nth) {
    absl::Status status = engine_.Do(NewSnapshot(fresh, id));
    EXPECT_TRUE(status.ok() || files_->fired()) << nth << ": " << Describe(status);
    if (!status.ok()) {
      EXPECT_EQ(Observe(engine_), before) << nth;
    }
  });
  EXPECT_EQ(engine_.Volume(fresh)->chain.size(), 2u);
}

// As when another host has replaced something: the step is done once more.
TEST_F(FailureTrapTest, ASnapshotSurvivesOneStaleHandleAnywhere) {
  for (const char* call : {"Create", "WriteAt", "Sync", "Rename", "SyncDirectory"}) {
    int fired = 0;
    for (int64_t nth = 1; nth <= 2; ++nth) {
      SCOPED_TRACE(std::string(call) + " " + std::to_string(nth));
      files_->Inject({.call = call, .nth = nth, .error_number = ESTALE});
      EXPECT_OK(engine_.Do(NewSnapshot(volume_, NewId())));
      fired += files_->fired() ? 1 : 0;
      files_->Clear();
    }
    EXPECT_GT(fired, 0) << call;
  }
  EXPECT_TRUE(Holds(3));
}

TEST_F(FailureTrapTest, AFailedCreateLeavesNothing) {
  for (VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    CreateVolumeRequest request = NewVolume(format, kMiB);
    request.volume_id = NewId();
    ExpectAllOrNothing(
        [&] { return engine_.Do(request); },
        [&] { EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = request.volume_id})); });
  }
}

TEST_F(FailureTrapTest, AFailedCloneLeavesNothing) {
  ASSERT_OK_AND_ASSIGN(std::string raw, engine_.Create(VolumeFormat::kRawSparse, kMiB));
  QemuWrite(engine_.ActivePath(raw), FileFormat::kRaw, 0, kPiece, 9);
  CreateVolumeRequest request = NewVolume(VolumeFormat::kRawSparse, 2 * kMiB, FromVolume(raw));
  request.volume_id = NewId();
  ExpectAllOrNothing(
      [&] { return engine_.Do(request); },
      [&] { EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = request.volume_id})); });
}

TEST_F(FailureTrapTest, AFailedExtensionLeavesTheVolumeAsItWas) {
  ASSERT_OK_AND_ASSIGN(std::string thick, engine_.Create(VolumeFormat::kRawThick, kMiB));
  int64_t size = kMiB;
  files_->EnumerateFaults({.error_number = ENOSPC}, [&](int64_t nth) {
    absl::Status status =
        engine_.Do(ExtendVolumeRequest{.volume_id = thick, .size_bytes = 2 * kMiB});
    EXPECT_EQ(status.ok(), !files_->fired()) << nth << ": " << Describe(status);
    if (status.ok()) size = 2 * kMiB;
    EXPECT_EQ(engine_.Volume(thick)->size_bytes, size);
    EXPECT_EQ(engine_.Volume(thick)->state, VolumeState::kAvailable);
    EXPECT_OK(engine_.Do(Attach(thick, "vm"))) << nth;
    EXPECT_OK(engine_.Do(Detach(thick)));
  });
}

// A merge cannot be undone: an error on the way is waited out, and one before it leaves everything.
TEST_F(FailureTrapTest, ADeletionOfASnapshotIsFinishedOrHasChangedNothing) {
  constexpr int64_t kFaultsMax = 50;
  int64_t faults = 0;
  for (; faults < kFaultsMax; ++faults) {
    ASSERT_OK_AND_ASSIGN(std::string third, engine_.Snapshot(volume_));
    const std::string before = Observe(engine_);
    files_->Inject({.nth = faults + 1, .error_number = EIO});
    absl::Status status = engine_.Do(DeleteSnapshotRequest{.snapshot_id = newer_});
    const bool fired = files_->fired();
    files_->Clear();
    EXPECT_TRUE(status.ok() || fired) << faults << ": " << Describe(status);
    EXPECT_TRUE(Holds(3)) << faults;
    if (!status.ok()) {
      EXPECT_EQ(Observe(engine_), before) << faults;
      ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = newer_})) << faults;
    }
    EXPECT_EQ(engine_.FindSnapshot(newer_), nullptr);
    EXPECT_TRUE(Holds(3)) << faults;
    EXPECT_EQ(engine_.Volume(volume_)->chain.size(), 3u);
    newer_ = third;
    if (!fired) break;
  }
  EXPECT_GT(faults, 3);
  EXPECT_LT(faults, kFaultsMax);
}

TEST_F(FailureTrapTest, ARevertIsFinishedOrHasChangedNothing) {
  constexpr int64_t kFaultsMax = 50;
  int64_t faults = 0;
  for (; faults < kFaultsMax; ++faults) {
    const std::string before = Observe(engine_);
    files_->Inject({.nth = faults + 1, .error_number = EIO});
    absl::Status status =
        engine_.Do(RevertToSnapshotRequest{.snapshot_id = older_, .discard_newer = true});
    const bool fired = files_->fired();
    files_->Clear();
    EXPECT_TRUE(status.ok() || fired) << faults << ": " << Describe(status);
    if (status.ok()) {
      EXPECT_EQ(engine_.Volume(volume_)->state, VolumeState::kAvailable) << faults;
      ASSERT_OK_AND_ASSIGN(newer_, engine_.Snapshot(volume_));
    } else {
      EXPECT_EQ(Observe(engine_), before) << faults;
    }
    if (!fired) break;
  }
  EXPECT_GT(faults, 6);
  EXPECT_LT(faults, kFaultsMax);
}

TEST_F(FailureTrapTest, ADeletionOfAVolumeIsFinished) {
  files_->Inject({.nth = 2, .error_number = EIO});
  EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}));
  EXPECT_TRUE(files_->fired());
  files_->Clear();
  EXPECT_EQ(ObserveDirectory(engine_.directory(0)), "");
}

// ---- shares that are gone

class LostShareTrapTest : public ChainTrapTest {
 protected:
  LostShareTrapTest() : ChainTrapTest(SetupOf()) {}
  static TestEngine::Setup SetupOf() {
    TestEngine::Setup setup;
    setup.engine.probe_period = absl::Milliseconds(50);
    return setup;
  }
  void Lose() { std::filesystem::rename(engine_.directory(0), engine_.dir().File("lost")); }
  void Return() { std::filesystem::rename(engine_.dir().File("lost"), engine_.directory(0)); }
  void AwaitShare(ShareState state = ShareState::kOnline) {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (absl::Now() < until) {
      auto pool = engine_->GetPool("");
      if (pool.ok() && pool->shares[0].share.status.state == state) return;
      absl::SleepFor(absl::Milliseconds(5));
    }
    ADD_FAILURE() << "the share did not become " << ShareStateName(state);
  }
};

TEST_F(LostShareTrapTest, NothingIsReportedAsDeletedWhileTheShareCannotBeReached) {
  const std::string before = Observe(engine_);
  Lose();
  for (int i = 0; i < 2; ++i) {  // before and after the share is known to be gone
    EXPECT_THAT(engine_.Do(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}),
                HasReasonOf(Reason::kShareUnavailable));
    EXPECT_THAT(engine_.Do(DeleteSnapshotRequest{.snapshot_id = newer_}),
                HasReasonOf(Reason::kShareUnavailable));
    EXPECT_THAT(engine_.Snapshot(volume_), HasReasonOf(Reason::kShareUnavailable));
    EXPECT_THAT(engine_.Do(Attach(volume_, "vm")), HasReasonOf(Reason::kShareUnavailable));
  }
  Return();
  AwaitShare();
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}));
  EXPECT_EQ(Observe(engine_), "");
}

TEST_F(LostShareTrapTest, TheOtherSharesServeMeanwhile) {
  Lose();
  AwaitShare(ShareState::kUnreachable);
  const absl::Time begun = absl::Now();
  for (int i = 0; i < 5; ++i) EXPECT_OK(engine_.Do(NewVolume(VolumeFormat::kRawSparse, kMiB)));
  EXPECT_LT(absl::Now() - begun, absl::Seconds(20));
  Return();
  AwaitShare();
}

}  // namespace
}  // namespace cairn
