// Two shares on one file system: their room is one room.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/pool/pool.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/share/fake_mounts.h"

namespace cairn {
namespace {

using ::testing::ElementsAre;
using testing::HasReasonOf;
using ::testing::IsEmpty;

class SameFileSystemTest : public ::testing::Test {
 protected:
  struct Made {
    std::string name;
    int64_t total;
    int64_t available;
    int64_t allocated;
  };
  // Each on a file system of its own at first.
  void MakeOnlinePool(const std::vector<Made>& shares) {
    std::string text;
    for (const Made& share : shares) {
      std::filesystem::create_directory(dir_.File(share.name));
      files_.SetSpace(dir_.File(share.name),
                      {.total_bytes = share.total, .available_bytes = share.available});
      text += Address(share.name) + "\n";
    }
    options_.nfs_shares_config = dir_.File("nfs_shares");
    testing::WriteFile(options_.nfs_shares_config, text);
    pool_ = std::make_unique<Pool>(options_, Share::System{&files_, &mount_, &table_});
    ASSERT_OK(pool_->Reload());
    ProbeAll();
    for (const Made& share : shares) Find(share.name)->AddAllocated(share.allocated);
  }
  void ProbeAll() {
    for (Share* share : pool_->shares()) EXPECT_OK(share->Probe());
  }
  std::string Address(const std::string& name) const { return "file://" + dir_.File(name); }
  Share* Find(const std::string& name) { return pool_->FindShare(Address(name)); }
  absl::StatusOr<Pool::Choice> Place(int64_t promised, int64_t physical = 0,
                                     const std::string& pin = "") {
    return pool_->Place({.promised_bytes = promised, .physical_bytes = physical}, pin, "");
  }

  testing::TempDir dir_;
  testing::FakeSpace files_;
  testing::FakeMountTable table_;
  testing::FakeMountProgram mount_{&table_};
  PoolOptions options_;
  std::unique_ptr<Pool> pool_;
};

TEST_F(SameFileSystemTest, TheRoomOfOneFileSystemCountsOnce) {
  MakeOnlinePool({{"a", 1000, 800, 100}, {"b", 1000, 800, 50}, {"c", 500, 400, 0}});
  EXPECT_EQ(pool_->capacity().total_bytes, 2500);
  EXPECT_THAT(pool_->Statuses()[0].same_file_system, IsEmpty());
  for (const char* name : {"a", "b"}) {
    files_.SetSpace(dir_.File(name), {.total_bytes = 1000, .available_bytes = 800}, 7);
  }
  ProbeAll();
  const ShareCapacity sum = pool_->capacity();
  EXPECT_EQ(sum.total_bytes, 1500);
  EXPECT_EQ(sum.available_bytes, 1200);
  EXPECT_EQ(sum.allocated_bytes, 150);
  EXPECT_THAT(pool_->Statuses()[0].same_file_system, ElementsAre(Address("b")));
  EXPECT_THAT(pool_->Statuses()[1].same_file_system, ElementsAre(Address("a")));
  EXPECT_THAT(pool_->Statuses()[2].same_file_system, IsEmpty());
}

TEST_F(SameFileSystemTest, ThePromisesOfOneFileSystemAreThoseOfAllItsShares) {
  options_.max_over_subscription_ratio = 1;
  MakeOnlinePool({{"a", 1000, 1000, 500}, {"b", 1000, 1000, 300}});
  ASSERT_OK_AND_ASSIGN(Pool::Choice alone, Place(400, 0, Address("b")));
  alone.reservation.Release();
  for (const char* name : {"a", "b"}) {
    files_.SetSpace(dir_.File(name), {.total_bytes = 1000, .available_bytes = 1000}, 7);
  }
  ProbeAll();
  EXPECT_THAT(Place(400, 0, Address("b")), HasReasonOf(Reason::kNoEligibleShare));
  ASSERT_OK_AND_ASSIGN(Pool::Choice left, Place(150));
  EXPECT_EQ(left.share, Find("b"));  // where least is allocated, as before
  EXPECT_THAT(Place(100), HasReasonOf(Reason::kNoEligibleShare));
}

TEST_F(SameFileSystemTest, RoomThatIsHeldOnOneShareIsNotThereForItsNeighbour) {
  MakeOnlinePool({{"a", 1000, 600, 0}, {"b", 1000, 600, 0}});
  for (const char* name : {"a", "b"}) {
    files_.SetSpace(dir_.File(name), {.total_bytes = 1000, .available_bytes = 600}, 7);
  }
  ProbeAll();
  ASSERT_OK_AND_ASSIGN(Pool::Choice held, Place(500, 500, Address("a")));
  EXPECT_THAT(Place(200, 200, Address("b")), HasReasonOf(Reason::kNoEligibleShare));
  held.reservation.Release();
  EXPECT_OK(Place(200, 200, Address("b")));
}

}  // namespace
}  // namespace cairn
