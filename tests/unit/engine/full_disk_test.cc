// A share that runs full while an operation is at work: it fails with RESOURCE_EXHAUSTED, gives
// back what it took, and leaves the volume as it was.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>
#include <algorithm>

#include "lib/base/id.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"
#include "tests/unit/engine/sessions_of_tests.h"

namespace cairn {
namespace {

using testing::Attach;
using testing::FromSnapshot;
using testing::FromVolume;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::Observe;
using testing::QemuReads;
using testing::QemuWrite;
using testing::StatusIs;
using testing::TempDir;
using testing::TestEngine;

constexpr int64_t kBlock = 4 * kKiB;
constexpr int64_t kData = 3 * kMiB;

// The first share is a tmpfs of 24 MiB in a mount name space of the test's own, the second a
// directory. The engine knows the room of its start, so what fills up later is met in the midst of
// the work.
class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string small = dir_.File("small");
    std::filesystem::create_directory(small);
    std::filesystem::create_directory(dir_.File("large"));
    mounted_ = unshare(CLONE_NEWNS) == 0 &&
               mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               mount("cairn-test", small.c_str(), "tmpfs", 0, "size=24m") == 0;
    if (!mounted_) GTEST_SKIP() << "needs the right to mount a tmpfs";
    TestEngine::Setup setup;
    setup.directories = {small, dir_.File("large")};
    setup.engine.probe_period = absl::Hours(1);
    setup.pool.max_over_subscription_ratio = 1000;
    engine_ = std::make_unique<TestEngine>(setup);
    AwaitTrials();
  }
  // What a share can do is tried with files of its own, which take room.
  void AwaitTrials() {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (absl::Now() < until) {
      auto pool = (*engine_)->GetPool("");
      if (pool.ok() && std::all_of(pool->shares.begin(), pool->shares.end(), [](const auto& each) {
            return each.share.status.abilities.has_value();
          })) {
        return;
      }
      absl::SleepFor(absl::Milliseconds(5));
    }
    FAIL() << "what the shares can do is not known";
  }
  void TearDown() override {
    engine_.reset();
    if (mounted_) umount2(dir_.File("small").c_str(), MNT_DETACH);
  }

  int64_t Available() {
    return FileSystem::Posix()->StatFileSystem(engine_->directory())->available_bytes;
  }
  // Takes all room but `left_bytes`.
  void Fill(int64_t left_bytes) {
    Empty();
    const int64_t take = Available() - left_bytes;
    int fd = open((engine_->directory() + "/filler").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(posix_fallocate(fd, 0, take), 0);
    close(fd);
    ASSERT_EQ(Available(), left_bytes);
  }
  // So that the engine knows of it, too.
  void MakeRoom() {
    Empty();
    EXPECT_OK(testing::Await<absl::Status>(
        [&](auto done) { (*engine_)->RescanPool("", std::move(done)); }));
  }
  void Empty() { std::filesystem::remove(engine_->directory() + "/filler"); }

  // With `left_bytes` of room the request fails as it should; then, with room, it works.
  void ExpectExhausted(const Request& request, int64_t left_bytes) {
    Fill(left_bytes);
    const std::string before = Observe(*engine_);
    absl::Status status = engine_->Do(request);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_TRUE(GetErrorDetails(status).has_value());
    EXPECT_EQ(Observe(*engine_), before);
    EXPECT_EQ(Available(), left_bytes);
    EXPECT_EQ(testing::ReservedBytes(*engine_), 0);
    MakeRoom();
    EXPECT_OK(engine_->Do(request));
  }

  // The same with every amount of room from none up to what is enough.
  void ExpectExhaustedUntilEnough(const Request& request) {
    const std::string before = Observe(*engine_);
    int64_t left = 0;
    for (;; left += kBlock) {
      ASSERT_LT(left, kMiB) << "never enough";
      Fill(left);
      absl::Status status = engine_->Do(request);
      if (status.ok()) break;
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted)) << left;
      EXPECT_EQ(Available(), left);
      Empty();
      ASSERT_EQ(Observe(*engine_), before) << left;
    }
    EXPECT_GT(left, 0);
    Empty();
  }

  // A volume on the small share that holds 7 from 0 to kData.
  std::string MakeVolume(VolumeFormat format, int64_t size_bytes = kData) {
    auto volume = engine_->Create(format, size_bytes, engine_->address(0));
    EXPECT_OK(volume);
    if (!volume.ok()) return {};
    QemuWrite(engine_->ActivePath(*volume), BaseFileFormat(format), 0, kData, 7);
    return *volume;
  }
  CreateVolumeRequest OnSmall(CreateVolumeRequest request) {
    request.share = engine_->address(0);
    request.volume_id = NewId();
    return request;
  }

  TempDir dir_;
  bool mounted_ = false;
  std::unique_ptr<TestEngine> engine_;
};

TEST_F(FullDiskTest, CreatingAThickVolume) {
  ExpectExhausted(OnSmall(NewVolume(VolumeFormat::kRawThick, 8 * kMiB)), 5 * kMiB);
}

TEST_F(FullDiskTest, CreatingAQcow2VolumeWithPreallocatedMetadata) {
  ExpectExhausted(OnSmall(NewVolume(VolumeFormat::kQcow2, 16 * kGiB)), 512 * kKiB);
}

TEST_F(FullDiskTest, Cloning) {
  for (VolumeFormat source : {VolumeFormat::kQcow2, VolumeFormat::kRawSparse}) {
    const std::string volume = MakeVolume(source);
    for (VolumeFormat format :
         {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
      CreateVolumeRequest request = OnSmall(NewVolume(format, 0, FromVolume(volume)));
      ExpectExhausted(request, kMiB);
      EXPECT_TRUE(
          QemuReads(engine_->ActivePath(request.volume_id), BaseFileFormat(format), 0, kData, 7));
      ASSERT_OK(engine_->Do(DeleteVolumeRequest{.volume_id = request.volume_id}));
    }
    ASSERT_OK(engine_->Do(DeleteVolumeRequest{.volume_id = volume}));
  }
}

TEST_F(FullDiskTest, CreatingFromASnapshot) {
  const std::string volume = MakeVolume(VolumeFormat::kRawSparse);
  ASSERT_OK_AND_ASSIGN(std::string snapshot, engine_->Snapshot(volume));
  ExpectExhausted(OnSmall(NewVolume(VolumeFormat::kRawSparse, 0, FromSnapshot(snapshot))), kMiB);
  ASSERT_OK_AND_ASSIGN(std::string second, engine_->Snapshot(volume));
  ExpectExhausted(OnSmall(NewVolume(VolumeFormat::kQcow2, 0, FromSnapshot(second))), kMiB);
}

TEST_F(FullDiskTest, CreatingFromAnImage) {
  const std::string image = engine_->dir().File("images/raw.img");
  testing::WriteFile(image, std::string(kData, 'x'));
  ExpectExhausted(OnSmall(NewVolume(VolumeFormat::kQcow2, 0, testing::FromImage(image))), kMiB);
}

TEST_F(FullDiskTest, ExtendingAThickVolume) {
  const std::string volume = MakeVolume(VolumeFormat::kRawThick);
  ExpectExhausted(ExtendVolumeRequest{.volume_id = volume, .size_bytes = 2 * kData}, kMiB);
  EXPECT_EQ(engine_->Volume(volume)->size_bytes, 2 * kData);
}

TEST_F(FullDiskTest, ExtendingAQcow2Volume) {
  const std::string volume = MakeVolume(VolumeFormat::kQcow2);
  // So large that the first-level table does not fit where it is.
  Fill(0);
  const std::string before = Observe(*engine_);
  absl::Status status =
      engine_->Do(ExtendVolumeRequest{.volume_id = volume, .size_bytes = 400 * kMiB});
  if (!status.ok()) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(Observe(*engine_), before);
  }
  EXPECT_TRUE(QemuReads(engine_->ActivePath(volume), FileFormat::kQcow2, 0, kData, 7));
}

TEST_F(FullDiskTest, TakingASnapshot) {
  const std::string raw = MakeVolume(VolumeFormat::kRawSparse);
  ExpectExhaustedUntilEnough(NewSnapshot(raw, NewId()));  // the first: with a new map
  ExpectExhaustedUntilEnough(NewSnapshot(raw, NewId()));
  EXPECT_OK(engine_->Do(Attach(raw, "vm")));
  EXPECT_TRUE(QemuReads(engine_->ActivePath(raw), FileFormat::kQcow2, 0, kData, 7));
}

TEST_F(FullDiskTest, Reverting) {
  const std::string volume = MakeVolume(VolumeFormat::kRawSparse);
  ASSERT_OK_AND_ASSIGN(std::string older, engine_->Snapshot(volume));
  ASSERT_OK_AND_ASSIGN(std::string newer, engine_->Snapshot(volume));
  QemuWrite(engine_->ActivePath(volume), FileFormat::kQcow2, 0, kMiB, 8);
  ExpectExhaustedUntilEnough(RevertToSnapshotRequest{.snapshot_id = newer});
  EXPECT_TRUE(QemuReads(engine_->ActivePath(volume), FileFormat::kQcow2, 0, kData, 7));
  ExpectExhaustedUntilEnough(RevertToSnapshotRequest{.snapshot_id = older, .discard_newer = true});
  EXPECT_TRUE(QemuReads(engine_->ActivePath(volume), FileFormat::kQcow2, 0, kData, 7));
}

// Merging cannot be undone, so what cannot fit is not begun.
TEST_F(FullDiskTest, DeletingASnapshotWhoseLayerDoesNotFitBelow) {
  ASSERT_OK_AND_ASSIGN(std::string volume,
                       engine_->Create(VolumeFormat::kRawSparse, 2 * kData, engine_->address(0)));
  ASSERT_OK_AND_ASSIGN(std::string older, engine_->Snapshot(volume));
  QemuWrite(engine_->ActivePath(volume), FileFormat::kQcow2, 0, kData, 1);
  ASSERT_OK_AND_ASSIGN(std::string newer, engine_->Snapshot(volume));
  QemuWrite(engine_->ActivePath(volume), FileFormat::kQcow2, 0, kData, 2);
  ExpectExhausted(DeleteSnapshotRequest{.snapshot_id = older}, kMiB);
  EXPECT_TRUE(QemuReads(engine_->directory() + "/volume-" + volume, FileFormat::kRaw, 0, kData, 1));
  // The newest one's layer lies wholly on what is allocated below: it fits though little is left.
  Fill(kMiB);
  ASSERT_OK(engine_->Do(DeleteSnapshotRequest{.snapshot_id = newer}));
  EXPECT_TRUE(QemuReads(engine_->ActivePath(volume), FileFormat::kRaw, 0, kData, 2));
}

// What the layer holds lies wholly on what is allocated below, so that the machine is asked to merge it.
TEST_F(FullDiskTest, DeletingASnapshotInUseThatNeedsNoRoom) {
  const std::string volume = MakeVolume(VolumeFormat::kQcow2);
  ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_->Snapshot(volume));
  QemuWrite(engine_->ActivePath(volume), FileFormat::kQcow2, 0, kData, 8);
  AttachVolumeRequest attach = Attach(volume, "machine");
  attach.hypervisor.kind = HypervisorAddress::Kind::kAssisted;
  ASSERT_OK(engine_->Do(attach));
  Fill(kMiB);
  ASSERT_OK_AND_ASSIGN(OperationPtr op,
                       engine_->Submit(DeleteSnapshotRequest{.snapshot_id = snapshot}));
  while (op->state != OperationState::kWaitingForConsumer && !Ended(op->state)) {
    ASSERT_OK_AND_ASSIGN(op, engine_->Wait(op->id, absl::Milliseconds(20)));
  }
  EXPECT_EQ(op->state, OperationState::kWaitingForConsumer) << op->error;
}

TEST_F(FullDiskTest, DeletingAVolumeNeedsNoRoom) {
  const std::string volume = MakeVolume(VolumeFormat::kQcow2);
  ASSERT_OK(engine_->Snapshot(volume));
  Fill(0);
  ASSERT_OK(engine_->Do(DeleteVolumeRequest{.volume_id = volume, .cascade = true}));
  Empty();
  EXPECT_EQ(Observe(*engine_), "");
}

TEST_F(FullDiskTest, MovingToTheFullShare) {
  for (VolumeFormat format : {VolumeFormat::kQcow2, VolumeFormat::kRawThick}) {
    ASSERT_OK_AND_ASSIGN(std::string volume, engine_->Create(format, kData, engine_->address(1)));
    QemuWrite(engine_->ActivePath(volume), BaseFileFormat(format), 0, kData, 7);
    ASSERT_OK(engine_->Snapshot(volume));
    ExpectExhausted(MigrateVolumeRequest{.volume_id = volume, .share = engine_->address(0)}, kMiB);
    EXPECT_TRUE(QemuReads(engine_->ActivePath(volume), FileFormat::kQcow2, 0, kData, 7));
    ASSERT_OK(engine_->Do(DeleteVolumeRequest{.volume_id = volume, .cascade = true}));
  }
}

TEST_F(FullDiskTest, Importing) {
  for (VolumeFormat format : {VolumeFormat::kQcow2, VolumeFormat::kRawSparse}) {
    MakeRoom();
    Fill(kMiB);
    const std::string before = Observe(*engine_);
    ImportVolumeRequest request;
    request.share = engine_->address(0);
    request.size_bytes = kData;
    request.format = format;
    absl::Status status;
    {
      ASSERT_OK_AND_ASSIGN(auto session, testing::StartImport(*engine_, request));
      const std::string piece(kMiB, 'i');
      ContentTotal total;
      while (status.ok() && total.bytes < kData) {
        status = testing::WriteChunk(*session, testing::DataChunk(total.bytes, piece));
        total.crc32c = Crc32c(total.crc32c, piece);
        total.bytes += kMiB;
      }
      if (status.ok()) status = testing::Finish(*session, total).status();
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
      ASSERT_OK(engine_->Wait(session->operation_id()));
    }
    EXPECT_EQ(Observe(*engine_), before);
    EXPECT_EQ(Available(), kMiB);
    EXPECT_EQ(testing::ReservedBytes(*engine_), 0);
  }
}

}  // namespace
}  // namespace cairn
