#include "lib/pool/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "lib/base/size.h"
#include "tests/support/matchers.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/share/fake_mounts.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::FakeMountProgram;
using testing::FakeMountTable;
using testing::FakeSpace;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using testing::TempDir;
using testing::WriteFile;

// Pools of directory shares "a", "b" ... whose figures are chosen.
class PoolTest : public ::testing::Test {
 protected:
  PoolTest() {
    options_.nfs_shares_config = dir_.File("nfs_shares");
    options_.nfs_mount_point_base = dir_.File("mnt");
  }

  std::string Address(const std::string& name) const { return "file://" + dir_.File(name); }

  // A share's directory, with figures.
  void MakeDirectory(const std::string& name, int64_t total, int64_t available) {
    fs::create_directories(dir_.File(name));
    files_.SetSpace(dir_.File(name), {.total_bytes = total, .available_bytes = available});
  }
  void WriteSharesFile(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += Address(name) + "\n";
    WriteFile(options_.nfs_shares_config, text);
  }
  void MakePool() {
    pool_ = std::make_unique<Pool>(options_, Share::System{&files_, &mount_, &table_});
  }
  void Reload() { ASSERT_OK(pool_->Reload()); }
  void ProbeAll() {
    for (Share* share : pool_->shares()) static_cast<void>(share->Probe());
  }
  // A pool of `names`, all online; allocated in bytes as given.
  struct Made {
    std::string name;
    int64_t total;
    int64_t available;
    int64_t allocated;
  };
  void MakeOnlinePool(const std::vector<Made>& shares) {
    std::vector<std::string> names;
    for (const Made& share : shares) {
      MakeDirectory(share.name, share.total, share.available);
      names.push_back(share.name);
    }
    WriteSharesFile(names);
    MakePool();
    Reload();
    ProbeAll();
    for (const Made& share : shares) Find(share.name)->AddAllocated(share.allocated);
  }
  Share* Find(const std::string& name) { return pool_->FindShare(Address(name)); }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (Share* share : pool_->shares()) names.push_back(fs::path(share->directory()).filename());
    return names;
  }
  absl::StatusOr<Pool::Choice> Place(int64_t promised, int64_t physical = 0,
                                     const std::string& pin = "", const std::string& avoid = "") {
    return pool_->Place({.promised_bytes = promised, .physical_bytes = physical}, pin, avoid);
  }

  TempDir dir_;
  FakeSpace files_;
  FakeMountTable table_;
  FakeMountProgram mount_{&table_};
  PoolOptions options_;
  std::unique_ptr<Pool> pool_;
};

// ---- the shares file

TEST_F(PoolTest, MissingSharesFileIsNotFoundAndNamed) {
  MakePool();
  auto problems = pool_->Reload();
  EXPECT_THAT(problems, testing::StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(std::string(problems.status().message()), HasSubstr(options_.nfs_shares_config));
}

TEST_F(PoolTest, NoSharesFileConfigured) {
  options_.nfs_shares_config = "";
  MakePool();
  EXPECT_THAT(pool_->Reload(), HasReasonOf(Reason::kInvalidField));
}

TEST_F(PoolTest, HugeSharesFileIsRefused) {
  WriteFile(options_.nfs_shares_config, std::string((1 << 20) + 1, '#'));
  MakePool();
  EXPECT_FALSE(pool_->Reload().ok());
}

TEST_F(PoolTest, SharesFileMayBeASymbolicLinkAsKubernetesMakesThem) {
  WriteFile(dir_.File("..data"), Address("a") + "\n");
  fs::create_symlink("..data", options_.nfs_shares_config);
  MakePool();
  Reload();
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(PoolTest, ProblemsOfLinesAreReturnedAndTheOthersServe) {
  WriteFile(options_.nfs_shares_config, "bad\n" + Address("a") + "\n" + Address("a") + "\n");
  MakePool();
  ASSERT_OK_AND_ASSIGN(auto problems, pool_->Reload());
  EXPECT_THAT(problems, ElementsAre(StartsWith("line 1: "), StartsWith("line 3: ")));
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(PoolTest, SharesComeInTheFilesOrder) {
  WriteSharesFile({"c", "a", "b"});
  MakePool();
  Reload();
  EXPECT_THAT(Names(), ElementsAre("c", "a", "b"));
  WriteSharesFile({"b", "d", "c", "a"});
  Reload();
  EXPECT_THAT(Names(), ElementsAre("b", "d", "c", "a"));
}

TEST_F(PoolTest, AChangeOfTheSharesFileIsSeenByItsContent) {
  WriteSharesFile({"a"});
  MakePool();
  EXPECT_TRUE(pool_->SharesFileChanged());
  Reload();
  EXPECT_FALSE(pool_->SharesFileChanged());
  WriteSharesFile({"a"});
  EXPECT_FALSE(pool_->SharesFileChanged());
  WriteSharesFile({"a", "b"});
  EXPECT_TRUE(pool_->SharesFileChanged());
  fs::remove(options_.nfs_shares_config);
  EXPECT_FALSE(pool_->SharesFileChanged());
}

TEST_F(PoolTest, ADrainedShareGoesOnceNothingUsesIt) {
  MakeOnlinePool({{"a", 1000, 900, 0}, {"b", 1000, 900, 0}});
  ASSERT_OK_AND_ASSIGN(Pool::Choice choice, Place(10, 0, Address("b")));
  WriteSharesFile({"a"});
  Reload();
  const auto unused = [](const std::string&) { return true; };
  pool_->RetireDrained(unused);
  EXPECT_THAT(Names(), ElementsAre("a", "b"));  // space is held on it
  choice.reservation.Release();
  pool_->RetireDrained([](const std::string&) { return false; });
  EXPECT_THAT(Names(), ElementsAre("a", "b"));  // a volume lies on it
  pool_->RetireDrained(unused);
  EXPECT_THAT(Names(), ElementsAre("a"));
  EXPECT_EQ(Find("b"), nullptr);
  // The lock was given up, so that another server may have it, and this one may again.
  WriteSharesFile({"a", "b"});
  Reload();
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (!Find("b")->Probe().ok() && absl::Now() < until) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_OK(Place(10, 0, Address("b")));
}

TEST_F(PoolTest, ADrainedNfsShareIsUnmountedAndTriedAgainWhileItIsBusy) {
  WriteFile(options_.nfs_shares_config, "host:/export\n");
  MakePool();
  Reload();
  ProbeAll();
  ASSERT_OK(pool_->shares().at(0)->CheckUsable());
  WriteFile(options_.nfs_shares_config, "# none\n");
  Reload();
  std::atomic<int> umounts{0};
  mount_.SetBehaviour([&](const ProcessSpec& spec) {
    EXPECT_EQ(spec.argv[0], "umount");
    if (++umounts < 3) return FakeMountProgram::Exit(32, "umount: target is busy");
    table_.Clear();
    return FakeMountProgram::Exit(0);
  });
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (umounts < 3 && absl::Now() < until) {
    pool_->RetireDrained([](const std::string&) { return true; });
    EXPECT_THAT(pool_->shares(), IsEmpty());
    absl::SleepFor(absl::Milliseconds(1));
  }
  for (int i = 0; i < 5; ++i) pool_->RetireDrained([](const std::string&) { return true; });
  EXPECT_TRUE(pool_->Stop(absl::Seconds(10)));
  EXPECT_EQ(umounts, 3);
}

TEST_F(PoolTest, AShareThatIsListedAgainIsNotUnmountedForItsPredecessor) {
  WriteFile(options_.nfs_shares_config, "host:/export\n");
  MakePool();
  Reload();
  ProbeAll();
  WriteFile(options_.nfs_shares_config, "# none\n");
  Reload();
  std::atomic<int> umounts{0};
  mount_.SetBehaviour([&](const ProcessSpec&) {
    ++umounts;
    return FakeMountProgram::Exit(32, "umount: target is busy");
  });
  pool_->RetireDrained([](const std::string&) { return true; });
  while (umounts == 0) absl::SleepFor(absl::Milliseconds(1));
  WriteFile(options_.nfs_shares_config, "host:/export\n");
  Reload();
  for (int i = 0; i < 5; ++i) {
    pool_->RetireDrained([](const std::string&) { return true; });
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_EQ(umounts, 1);
  ProbeAll();
  EXPECT_OK(pool_->shares().at(0)->CheckUsable());
}

TEST_F(PoolTest, SharesAreUnmountedAtTheEndWhereThatIsConfigured) {
  for (bool configured : {false, true}) {
    options_.nfs_unmount_on_exit = configured;
    table_.Clear();
    WriteFile(options_.nfs_shares_config, "host:/export\n");
    MakePool();
    Reload();
    ProbeAll();
    const size_t calls = mount_.calls().size();
    EXPECT_TRUE(pool_->Stop(absl::Seconds(10)));
    ASSERT_EQ(mount_.calls().size(), calls + (configured ? 1 : 0));
    EXPECT_EQ(mount_.calls().back().argv[0], configured ? "umount" : "mount");
  }
}

TEST_F(PoolTest, FailedReloadLeavesThePoolAsItWas) {
  MakeOnlinePool({{"a", 100, 100, 0}});
  fs::remove(options_.nfs_shares_config);
  EXPECT_FALSE(pool_->Reload().ok());
  EXPECT_EQ(Find("a")->status().state, ShareState::kOnline);
}

TEST_F(PoolTest, RemovedShareDrainsButStaysUsable) {
  MakeOnlinePool({{"a", 100, 100, 0}, {"b", 100, 100, 50}});
  Share* removed = Find("a");
  WriteSharesFile({"b"});
  Reload();
  EXPECT_EQ(Find("a"), removed);
  EXPECT_THAT(Names(), ElementsAre("b", "a"));
  EXPECT_EQ(removed->status().state, ShareState::kDraining);
  EXPECT_OK(removed->CheckUsable());
  // No new volumes, though it has the least allocated; what is there may still grow.
  ASSERT_OK_AND_ASSIGN(auto choice, Place(10));
  EXPECT_EQ(choice.share, Find("b"));
  EXPECT_OK(pool_->Reserve(removed, {.promised_bytes = 10}));
  EXPECT_THAT(Place(10, 0, Address("a")), HasReasonOf(Reason::kNoEligibleShare));
}

TEST_F(PoolTest, ShareThatIsListedAgainTakesVolumesAgain) {
  MakeOnlinePool({{"a", 100, 100, 0}, {"b", 100, 100, 50}});
  Share* share = Find("a");
  WriteSharesFile({"b"});
  Reload();
  WriteSharesFile({"b", "a"});
  Reload();
  EXPECT_EQ(Find("a"), share);
  EXPECT_EQ(share->status().state, ShareState::kOnline);
  EXPECT_EQ(Place(10)->share, share);
}

TEST_F(PoolTest, OnlyDrainingSharesTakeNothing) {
  MakeOnlinePool({{"a", 100, 100, 0}});
  WriteFile(options_.nfs_shares_config, "");
  Reload();
  auto placed = Place(10);
  EXPECT_THAT(placed, HasReasonOf(Reason::kNoEligibleShare));
  EXPECT_THAT(std::string(placed.status().message()), HasSubstr("DRAINING"));
  EXPECT_TRUE(pool_->usable());
}

TEST_F(PoolTest, ChangedMountOptionsReachTheShare) {
  WriteFile(options_.nfs_shares_config, "h:/a -o vers=3\n");
  options_.nfs_mount_options = "hard";
  MakePool();
  Reload();
  Share* share = pool_->FindShare("h:/a");
  ASSERT_NE(share, nullptr);
  WriteFile(options_.nfs_shares_config, "# moved\nh:/a -o vers=4.2\n");
  Reload();
  EXPECT_EQ(pool_->FindShare("h:/a"), share);
  EXPECT_EQ(share->spec(), (ShareSpec{"h:/a", "vers=4.2", 2}));
  ASSERT_OK(share->Probe());
  EXPECT_EQ(mount_.calls()[0].argv[4], "hard,vers=4.2");
}

TEST_F(PoolTest, ShareOfAnotherPoolIsNotFound) {
  MakeOnlinePool({{"a", 100, 100, 0}});
  EXPECT_EQ(pool_->FindShare("h:/other"), nullptr);
}

// ---- choosing

TEST_F(PoolTest, NothingMountedIsPoolUnavailable) {
  WriteSharesFile({"a", "b"});
  MakePool();
  Reload();
  EXPECT_THAT(Place(kGiB), HasReasonOf(Reason::kPoolUnavailable));
  EXPECT_FALSE(pool_->usable());
  ProbeAll();  // neither directory is there
  auto placed = Place(kGiB);
  EXPECT_THAT(placed, HasReasonOf(Reason::kPoolUnavailable));
  EXPECT_THAT(std::string(placed.status().message()), HasSubstr("UNREACHABLE"));
}

TEST_F(PoolTest, PoolWithoutSharesIsUnavailable) {
  WriteFile(options_.nfs_shares_config, "# none yet\n");
  MakePool();
  Reload();
  EXPECT_THAT(Place(kGiB), HasReasonOf(Reason::kPoolUnavailable));
}

// find_share of the original's own suite: (total, available, allocated) in GiB.
TEST_F(PoolTest, UpstreamChoosesTheLeastAllocated) {
  MakeOnlinePool({{"a", 5 * kGiB, 2 * kGiB, 2 * kGiB}, {"b", 10 * kGiB, 3 * kGiB, 1 * kGiB}});
  EXPECT_EQ(Place(kGiB)->share, Find("b"));
}

TEST_F(PoolTest, UpstreamNoSuitableShare) {
  options_.max_over_subscription_ratio = 1.0;
  options_.reserved_percentage = 5;
  MakeOnlinePool({{"a", 5 * kGiB, 0, 5 * kGiB}, {"b", 10 * kGiB, 0, 10 * kGiB}});
  auto placed = Place(kGiB);
  EXPECT_THAT(placed, HasReasonOf(Reason::kNoEligibleShare));
  EXPECT_EQ(GetErrorDetails(placed.status())->metadata["requested"], std::to_string(kGiB));
}

// The stats of the original's own suite: (10, 2, 2) + (20, 3, 3).
TEST_F(PoolTest, UpstreamStatsAreSums) {
  MakeOnlinePool({{"a", 10, 2, 2}, {"b", 20, 3, 3}});
  int64_t total = 0;
  int64_t available = 0;
  int64_t allocated = 0;
  for (const PoolShareStatus& share : pool_->Statuses()) {
    total += share.status.capacity.total_bytes;
    available += share.status.capacity.available_bytes;
    allocated += share.status.capacity.allocated_bytes;
  }
  EXPECT_EQ(total, 30);
  EXPECT_EQ(available, 5);
  EXPECT_EQ(allocated, 5);
}

TEST_F(PoolTest, OneDeadShareDoesNotStopTheOthers) {
  MakeOnlinePool({{"a", 100, 100, 0}, {"b", 100, 100, 50}});
  fs::remove_all(dir_.File("a"));
  EXPECT_FALSE(Find("a")->Probe().ok());
  EXPECT_TRUE(pool_->usable());
  EXPECT_EQ(Place(10)->share, Find("b"));
}

TEST_F(PoolTest, PolicyCanBeReplaced) {
  options_.placement_policy = PlacementPolicy::kMostAvailable;
  MakeOnlinePool({{"a", 100, 50, 0}, {"b", 100, 60, 40}});
  EXPECT_EQ(Place(10)->share, Find("b"));
}

TEST_F(PoolTest, PinTakesOnlyThatShare) {
  MakeOnlinePool({{"a", 100, 100, 0}, {"b", 100, 100, 50}});
  EXPECT_EQ(Place(10, 0, Address("b"))->share, Find("b"));
  EXPECT_THAT(Place(5000, 0, Address("b")), HasReasonOf(Reason::kNoEligibleShare));
  EXPECT_THAT(Place(10, 0, "h:/none"), HasReasonOf(Reason::kShareNotFound));
}

TEST_F(PoolTest, PinOfADeadShareSaysThatItIsDown) {
  MakeOnlinePool({{"a", 100, 100, 0}, {"b", 100, 100, 50}});
  fs::remove_all(dir_.File("a"));
  EXPECT_FALSE(Find("a")->Probe().ok());
  EXPECT_THAT(Place(10, 0, Address("a")), HasReasonOf(Reason::kShareUnavailable));
}

TEST_F(PoolTest, AvoidLeavesThatShareOut) {
  MakeOnlinePool({{"a", 100, 100, 0}, {"b", 100, 100, 50}});
  EXPECT_EQ(Place(10, 0, "", Address("a"))->share, Find("b"));
  EXPECT_THAT(Place(10, 0, Address("a"), Address("a")), HasReasonOf(Reason::kNoEligibleShare));
}

TEST_F(PoolTest, NegativeRequestsAreInvalid) {
  MakeOnlinePool({{"a", 100, 100, 0}});
  EXPECT_THAT(Place(-1), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(Place(0, -1), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(pool_->Reserve(Find("a"), {.promised_bytes = -1}),
              HasReasonOf(Reason::kInvalidField));
}

// ---- holding

TEST_F(PoolTest, PlacementsThatRunSpreadOverEqualShares) {
  MakeOnlinePool({{"a", 1000, 1000, 0}, {"b", 1000, 1000, 0}});
  ASSERT_OK_AND_ASSIGN(auto first, Place(10));
  ASSERT_OK_AND_ASSIGN(auto second, Place(10));
  EXPECT_EQ(first.share, Find("a"));
  EXPECT_EQ(second.share, Find("b"));
}

TEST_F(PoolTest, HeldRoomIsGivenBackWhenTheReservationEnds) {
  MakeOnlinePool({{"a", 100, 100, 0}});
  {
    ASSERT_OK_AND_ASSIGN(auto choice, Place(60, 60));
    EXPECT_EQ(pool_->reserved_bytes(), 60);
    EXPECT_EQ(pool_->Statuses()[0].reserved_bytes, 60);
    EXPECT_THAT(Place(60, 60), HasReasonOf(Reason::kNoEligibleShare));
  }
  EXPECT_EQ(pool_->reserved_bytes(), 0);
  EXPECT_EQ(pool_->Statuses()[0].reserved_bytes, 0);
  EXPECT_OK(Place(60, 60));
}

TEST_F(PoolTest, ReservationMovesAndReleasesOnce) {
  MakeOnlinePool({{"a", 100, 100, 0}});
  ASSERT_OK_AND_ASSIGN(Reservation one, pool_->Reserve(Find("a"), {.promised_bytes = 10}));
  ASSERT_OK_AND_ASSIGN(Reservation two, pool_->Reserve(Find("a"), {.promised_bytes = 5}));
  EXPECT_EQ(pool_->reserved_bytes(), 15);
  one = std::move(two);  // gives the 10 back
  EXPECT_EQ(pool_->reserved_bytes(), 5);
  Reservation three(std::move(one));
  one.Release();
  two.Release();
  EXPECT_EQ(pool_->reserved_bytes(), 5);
  three.Release();
  three.Release();
  EXPECT_EQ(pool_->reserved_bytes(), 0);
  Reservation empty;
  empty.Release();
}

TEST_F(PoolTest, ReserveFollowsTheRulesOfPlacing) {
  options_.max_over_subscription_ratio = 1.0;
  MakeOnlinePool({{"a", 100, 50, 40}});
  Share* share = Find("a");
  EXPECT_OK(pool_->Reserve(share, {.promised_bytes = 59}));
  EXPECT_THAT(pool_->Reserve(share, {.promised_bytes = 60}), HasReasonOf(Reason::kNoSpace));
  EXPECT_THAT(pool_->Reserve(share, {.promised_bytes = 1, .physical_bytes = 51}),
              HasReasonOf(Reason::kNoSpace));
  EXPECT_FALSE(pool_->Reserve(nullptr, {}).ok());
}

TEST_F(PoolTest, WorkThatPromisesNothingNeedsPhysicalRoomOnly) {
  options_.max_over_subscription_ratio = 1.0;
  options_.reserved_percentage = 90;
  MakeOnlinePool({{"a", 100, 50, 100}});
  Share* share = Find("a");
  EXPECT_OK(pool_->Reserve(share, {.promised_bytes = 0, .physical_bytes = 50}));
  EXPECT_THAT(pool_->Reserve(share, {.promised_bytes = 0, .physical_bytes = 51}),
              HasReasonOf(Reason::kNoSpace));
}

TEST_F(PoolTest, ReserveOnADeadShareSaysThatItIsDown) {
  MakeOnlinePool({{"a", 100, 100, 0}});
  fs::remove_all(dir_.File("a"));
  EXPECT_FALSE(Find("a")->Probe().ok());
  EXPECT_THAT(pool_->Reserve(Find("a"), {.promised_bytes = 1}),
              HasReasonOf(Reason::kShareUnavailable));
}

TEST_F(PoolTest, HeldRoomOfADrainingShareStaysHeld) {
  MakeOnlinePool({{"a", 100, 100, 0}, {"b", 100, 100, 0}});
  ASSERT_OK_AND_ASSIGN(auto choice, Place(10));
  WriteSharesFile({"b"});
  Reload();
  EXPECT_EQ(pool_->reserved_bytes(), 10);
  choice.reservation.Release();
  EXPECT_EQ(pool_->reserved_bytes(), 0);
}

// ---- many threads

// Counts what is held per share in the test's own books: never more than is physically there.
TEST_F(PoolTest, ConcurrentThickPlacementsNeverExceedPhysicalRoom) {
  constexpr int kThreads = 64;
  constexpr int kRounds = 100;
  constexpr int64_t kRoom[] = {1000, 700, 300};
  MakeOnlinePool({{"a", 1000, kRoom[0], 0}, {"b", 1000, kRoom[1], 0}, {"c", 1000, kRoom[2], 0}});
  const std::vector<Share*> shares = pool_->shares();
  std::atomic<int64_t> held[3] = {};
  std::atomic<int> placed{0};
  std::atomic<int> refused{0};
  std::atomic<bool> exceeded{false};
  const uint64_t seed = testing::TestSeed();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + static_cast<uint64_t>(t));
      for (int round = 0; round < kRounds; ++round) {
        const int64_t size = 1 + static_cast<int64_t>(random() % 200);
        auto choice = Place(size, size);
        if (!choice.ok()) {
          refused.fetch_add(1);
          continue;
        }
        const size_t i = std::find(shares.begin(), shares.end(), choice->share) - shares.begin();
        if (held[i].fetch_add(size) + size > kRoom[i]) exceeded.store(true);
        std::this_thread::yield();
        held[i].fetch_sub(size);
        placed.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(exceeded.load());
  EXPECT_EQ(placed + refused, kThreads * kRounds);
  EXPECT_GT(placed.load(), 0);
  EXPECT_EQ(pool_->reserved_bytes(), 0);
}

TEST_F(PoolTest, ConcurrentPlacementsFillTheRoomToTheLast) {
  MakeOnlinePool({{"a", 64, 32, 0}, {"b", 64, 32, 0}});
  constexpr int kThreads = 64;
  std::vector<absl::StatusOr<Pool::Choice>> choices(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] { choices[t] = Place(1, 1); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& choice : choices) EXPECT_OK(choice);
  EXPECT_THAT(Place(1, 1), HasReasonOf(Reason::kNoEligibleShare));
  EXPECT_EQ(pool_->Statuses()[0].reserved_bytes, 32);
  EXPECT_EQ(pool_->Statuses()[1].reserved_bytes, 32);
}

TEST_F(PoolTest, PlacingWhileReloadingAndProbing) {
  MakeOnlinePool({{"a", 1000, 1000, 0}, {"b", 1000, 1000, 0}});
  std::atomic<bool> stop{false};
  std::thread placer([&] {
    while (!stop.load()) {
      auto choice = Place(1, 1);
      for (const PoolShareStatus& share : pool_->Statuses()) ASSERT_GE(share.reserved_bytes, 0);
    }
  });
  std::thread prober([&] {
    while (!stop.load()) ProbeAll();
  });
  for (int i = 0; i < 50; ++i) {
    WriteSharesFile(i % 2 == 0 ? std::vector<std::string>{"a"}
                               : std::vector<std::string>{"b", "a"});
    Reload();
  }
  stop.store(true);
  placer.join();
  prober.join();
  EXPECT_EQ(pool_->reserved_bytes(), 0);
  EXPECT_THAT(pool_->shares(), SizeIs(2));
}

}  // namespace
}  // namespace cairn
