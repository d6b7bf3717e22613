// A full disk: what takes room is refused, what makes room is not, history is given up, and all is as it
// was when there is room again.
#include "lib/catalog/disk_room.h"

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "lib/base/size.h"
#include "lib/base/strings.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/small_disk.h"
#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsNull;
using ::testing::NotNull;

TEST(RoomSizesTest, AreSmallOnASmallDisk) {
  constexpr int64_t kLog = 14 * kMiB;
  const RoomSizes large = RoomSizes::Of({.total_bytes = kTiB, .available_bytes = 0}, kLog);
  EXPECT_EQ(large.log_bytes, kLog);
  EXPECT_EQ(large.reserve_bytes, kLog);
  const RoomSizes small = RoomSizes::Of({.total_bytes = 16 * kMiB, .available_bytes = 0}, kLog);
  EXPECT_EQ(small.log_bytes, kMiB);
  EXPECT_EQ(small.reserve_bytes, kMiB);
  EXPECT_EQ(RoomSizes::Of({.total_bytes = kMiB, .available_bytes = 0}, kLog).log_bytes, 128 * kKiB);
  const RoomSizes least = RoomSizes::Of({.total_bytes = kTiB, .available_bytes = 0}, 0);
  EXPECT_EQ(least.log_bytes, 0);
  EXPECT_EQ(least.reserve_bytes, 128 * kKiB);
}

// A disk that says what a test wants of its room.
class SaidDisk : public FaultyFileSystem {
 public:
  SaidDisk() : FaultyFileSystem(FileSystem::Posix()) {}
  absl::StatusOr<FileSystemStat> StatFileSystem(const std::string&) override {
    return FileSystemStat{16 * kMiB, available_bytes};
  }
  std::atomic<int64_t> available_bytes{16 * kMiB};
};

Transaction Ordinary(VolumeRecord volume) {
  Transaction transaction = Put(std::move(volume));
  transaction.room = Transaction::Room::kWithoutReserve;
  return transaction;
}

Transaction Remove(const std::string& id) {
  Transaction transaction;
  transaction.remove_volumes = {id};
  return transaction;
}

VolumeRecord Large(const std::string& id) {
  VolumeRecord volume = MakeVolume(id);
  volume.state_reason = std::string(20'000, 'r');
  return volume;
}

class DiskRoomTest : public ::testing::Test {
 protected:
  void Open(const std::string& directory, FileSystem* files = nullptr) {
    catalog_.reset();
    SqliteCatalogOptions options;
    options.path = directory + "/catalog.db";
    options.files = files;
    options.write_anew_after = absl::Milliseconds(1);
    ASSERT_OK_AND_ASSIGN(catalog_, OpenSqliteCatalog(options));
  }
  void AwaitRoom() {
    while (!catalog_->room().ok()) std::this_thread::yield();
  }
  // Until there is no more; how many there were.
  int FillWithVolumes() {
    for (int i = 0;; ++i) {
      const absl::Status status = catalog_->CommitAndWait(Ordinary(Large("v" + std::to_string(i))));
      if (status.ok()) continue;
      EXPECT_THAT(status, HasReasonOf(Reason::kNoSpace));
      return i;
    }
  }
  void EndOperations(int from, int to) {
    for (int i = from; i < to; i += 50) {
      Transaction transaction;
      for (int j = i; j < i + 50; ++j) {
        OperationRecord operation = MakeOperation("o" + std::to_string(j), "v", j);
        operation.state = OperationState::kSucceeded;
        transaction.put_operations.push_back(operation);
      }
      ASSERT_OK(catalog_->CommitAndWait(transaction));
    }
  }
  static int64_t ReserveOf(const std::string& directory) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(directory + "/catalog.db.reserve", error);
    return error ? 0 : static_cast<int64_t>(bytes);
  }

  TempDir directory_;
  SaidDisk said_;
  std::unique_ptr<Catalog> catalog_;
};

TEST_F(DiskRoomTest, WhatTakesRoomIsRefusedAndTheRestIsDone) {
  Open(directory_.path(), &said_);
  EXPECT_OK(catalog_->room());
  EXPECT_EQ(ReserveOf(directory_.path()), kMiB);
  ASSERT_OK(catalog_->CommitAndWait(Ordinary(MakeVolume("first"))));
  said_.available_bytes = 500 * kKiB;
  Open(directory_.path(), &said_);
  EXPECT_THAT(catalog_->room(), HasReasonOf(Reason::kNoSpace));
  EXPECT_OK(catalog_->health());
  const absl::Status refused = catalog_->CommitAndWait(Ordinary(MakeVolume("second")));
  EXPECT_THAT(refused, HasReasonOf(Reason::kNoSpace));
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_THAT(std::string(ToStd(refused.message())), HasSubstr("delete volumes or snapshots"));
  EXPECT_THAT(catalog_->FindVolume("second"), IsNull());
  ASSERT_OK(catalog_->CommitAndWait(Remove("first")));
  ASSERT_OK(catalog_->CommitAndWait(Put(MakeVolume("what has begun"))));
  said_.available_bytes = 16 * kMiB;
  AwaitRoom();
  ASSERT_OK(catalog_->CommitAndWait(Ordinary(MakeVolume("second"))));
  EXPECT_EQ(ReserveOf(directory_.path()), kMiB) << "given up at the start, and made again";
}

// It is seen while changes are made, too, before a write fails.
TEST_F(DiskRoomTest, ItIsSeenBeforeAWriteFails) {
  Open(directory_.path(), &said_);
  said_.available_bytes = 500 * kKiB;
  for (int i = 0; catalog_->room().ok(); ++i) {
    ASSERT_OK(catalog_->CommitAndWait(Put(Large("v" + std::to_string(i)))));
  }
  EXPECT_THAT(catalog_->CommitAndWait(Ordinary(MakeVolume("refused"))),
              HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(ReserveOf(directory_.path()), kMiB);
}

TEST_F(DiskRoomTest, HistoryIsGivenUpForRoomButForTheNewest) {
  constexpr int kMany = 3000;
  Open(directory_.path(), &said_);
  EndOperations(0, kMany);
  const auto there = [&](int i) { return FindOperation(*catalog_, "o" + std::to_string(i)); };
  EXPECT_THAT(there(0), NotNull());
  said_.available_bytes = -100 * kMiB;  // whatever comes free in the database
  Open(directory_.path(), &said_);
  while (there(kMany - 1001) != nullptr) std::this_thread::yield();
  EXPECT_THAT(there(kMany - 1), NotNull());
  EXPECT_THAT(there(kMany - 900), NotNull());
  said_.available_bytes = 16 * kMiB;
  AwaitRoom();
  EndOperations(kMany, kMany + 100);
  EXPECT_THAT(there(kMany - 900), NotNull());
}

// What comes free in the database is room, and no more is given up than is needed.
TEST_F(DiskRoomTest, WhatIsGivenUpIsRoom) {
  constexpr int kMany = 20'000;
  Open(directory_.path(), &said_);
  EndOperations(0, kMany);
  said_.available_bytes = 0;
  Open(directory_.path(), &said_);
  AwaitRoom();
  EXPECT_THAT(FindOperation(*catalog_, "o0"), IsNull());
  EXPECT_THAT(FindOperation(*catalog_, "o" + std::to_string(kMany / 2 + kMany / 4)), NotNull());
  EXPECT_OK(catalog_->CommitAndWait(Ordinary(MakeVolume("v"))));
}

TEST_F(DiskRoomTest, AFullDiskCanBeEmptied) {
  SmallDisk disk(directory_.File("small"), "8m");
  if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  Open(disk.path());
  const int volumes = FillWithVolumes();
  ASSERT_GT(volumes, 100);
  EXPECT_EQ(catalog_->TotalsOf("nfs1:/export").volumes, volumes) << "nothing is lost";
  disk.TakeAllBut(0);
  for (int i = 0; i < volumes / 2; ++i) {
    ASSERT_OK(catalog_->CommitAndWait(Remove("v" + std::to_string(i)))) << i;
  }
  AwaitRoom();
  ASSERT_OK(catalog_->CommitAndWait(Ordinary(Large("again"))));
  Open(disk.path());
  EXPECT_EQ(catalog_->TotalsOf("nfs1:/export").volumes, volumes - volumes / 2 + 1);
}

// Nobody has kept free what the log gave back at the end.
TEST_F(DiskRoomTest, AStartOnAFullDiskTakesTheReserve) {
  SmallDisk disk(directory_.File("small"), "8m");
  if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  Open(disk.path());
  const int volumes = FillWithVolumes();
  for (int round = 0; round < 3; ++round) {
    catalog_.reset();
    disk.TakeAllBut(0);
    Open(disk.path());
    EXPECT_EQ(ReserveOf(disk.path()), 0);
    ASSERT_OK(catalog_->CommitAndWait(Remove("v" + std::to_string(round)))) << round;
    disk.MakeRoom();
    while (ReserveOf(disk.path()) == 0) std::this_thread::yield();
  }
  EXPECT_EQ(catalog_->TotalsOf("nfs1:/export").volumes, volumes - 3);
}

}  // namespace
}  // namespace cairn::testing
