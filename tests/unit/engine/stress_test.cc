// 64 callers do mixed work on 200 volumes at once: no refusal but those that the work explains, no
// update lost, every chain whole. CAIRN_STRESS_SECONDS says how long (the thread sanitizer's run
// takes 60).
#include <spdlog/spdlog.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <set>
#include <thread>

#include "lib/base/id.h"
#include "lib/base/mutex.h"
#include "lib/chain/info_map.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/support/seed.h"

namespace cairn {
namespace {

using testing::TestEngine;

constexpr int kCallers = 64;
constexpr int kVolumes = 200;
// The last ones come and go; the others stay, so that everything done to them can be counted.
constexpr int kComeAndGo = 20;
constexpr int64_t kSize = kMiB;

// What the callers know of one volume that stays.
struct Known {
  std::string id;
  Mutex mutex;
  int updates ABSL_GUARDED_BY(mutex) = 0;
  std::set<std::string> snapshots ABSL_GUARDED_BY(mutex);
};

class Stress {
 public:
  explicit Stress(uint64_t seed) : seed_(seed) {
    for (int i = 0; i < kVolumes; ++i) volumes_[i].id = NewId();
  }

  void Run(absl::Duration time) {
    for (Known& volume : volumes_) Expect(Create(volume.id));
    const absl::Time until = absl::Now() + time;
    std::vector<std::thread> callers;
    for (int i = 0; i < kCallers; ++i) {
      callers.emplace_back([this, i, until] {
        std::mt19937_64 dice(seed_ + static_cast<uint64_t>(i));
        while (absl::Now() < until && !::testing::Test::HasFailure()) Work(dice);
      });
    }
    for (std::thread& caller : callers) caller.join();
  }

  void CheckAll() {
    for (int i = 0; i < kVolumes - kComeAndGo; ++i) Check(volumes_[i]);
  }
  int64_t done() const { return done_; }

 private:
  absl::Status Create(const std::string& id) {
    return engine_.Do(CreateVolumeRequest{
        .volume_id = id,
        .name = {},
        .pool = {},
        .share = {},
        .size_bytes = kSize,
        .format = id[0] % 2 == 0 ? VolumeFormat::kQcow2 : VolumeFormat::kRawSparse,
        .labels = {},
        .source = {}});
  }

  // What another caller's work on the same volume explains; anything else is a defect.
  void Expect(const absl::Status& status) {
    ++done_;
    const bool explained = status.ok() || absl::IsNotFound(status) ||
                           absl::IsFailedPrecondition(status) || absl::IsAborted(status) ||
                           absl::IsAlreadyExists(status) || absl::IsInvalidArgument(status);
    EXPECT_TRUE(explained) << Describe(status);
  }

  void Work(std::mt19937_64& dice) {
    const auto index = static_cast<int>(dice() % kVolumes);
    Known& volume = volumes_[index];
    const bool stays = index < kVolumes - kComeAndGo;
    switch (dice() % 10) {
      case 0:
      case 1:
        return Snapshot(volume, stays);
      case 2:
      case 3:
        return DeleteSnapshot(volume, dice);
      case 4:
        return Revert(volume);
      case 5:
        if (VolumePtr now = engine_.Volume(volume.id); now != nullptr) {
          Expect(engine_.Do(ExtendVolumeRequest{.volume_id = volume.id,
                                                .size_bytes = now->size_bytes + 64 * kKiB}));
        }
        return;
      case 6:
      case 7:
        return Update(volume, stays);
      case 8:
        if (stays) return List();
        return Expect(engine_.Do(DeleteVolumeRequest{.volume_id = volume.id, .cascade = true}));
      default:
        if (stays) return List();
        return Expect(Create(volume.id));
    }
  }

  void Snapshot(Known& volume, bool stays) {
    auto id = engine_.Snapshot(volume.id);
    Expect(id.status());
    if (!id.ok() || !stays) return;
    MutexLock lock(&volume.mutex);
    volume.snapshots.insert(*id);
  }

  void DeleteSnapshot(Known& volume, std::mt19937_64& dice) {
    std::string id;
    {
      MutexLock lock(&volume.mutex);
      if (volume.snapshots.empty()) return;
      auto it = volume.snapshots.begin();
      std::advance(it, static_cast<long>(dice() % volume.snapshots.size()));
      id = *it;
      // Only one caller deletes it, so that its end is known.
      volume.snapshots.erase(it);
    }
    absl::Status status = engine_.Do(DeleteSnapshotRequest{.snapshot_id = id});
    Expect(status);
    if (status.ok()) return;
    MutexLock lock(&volume.mutex);
    volume.snapshots.insert(id);
  }

  void Revert(Known& volume) {
    auto snapshots = engine_->records().SnapshotsOf(volume.id);
    if (snapshots.empty()) return;
    Expect(engine_.Do(RevertToSnapshotRequest{.snapshot_id = snapshots.back()->id}));
  }

  // Counts up in a label, with compare and swap: a lost update would be missing in the end.
  void Update(Known& volume, bool stays) {
    VolumePtr now = engine_.Volume(volume.id);
    if (now == nullptr) return;
    Labels labels = now->labels;
    labels["count"] = std::to_string(std::stoi(labels.count("count") ? labels["count"] : "0") + 1);
    absl::Status status = engine_.Do(UpdateVolumeRequest{
        .volume_id = volume.id, .name = {}, .labels = labels, .expected_revision = now->revision});
    Expect(status);
    if (!status.ok() || !stays) return;
    MutexLock lock(&volume.mutex);
    ++volume.updates;
  }

  void List() {
    auto page = engine_->records().ListVolumes(
        {.filter = "state = AVAILABLE", .order_by = {}, .page_size = 50, .page_token = {}});
    Expect(page.status());
  }

  void Check(Known& known) {
    MutexLock lock(&known.mutex);
    VolumePtr volume = engine_.Volume(known.id);
    ASSERT_NE(volume, nullptr);
    EXPECT_EQ(volume->state, VolumeState::kAvailable);
    EXPECT_EQ(volume->current_operation, "");
    EXPECT_EQ(volume->labels.count("count") ? volume->labels.at("count") : "0",
              std::to_string(known.updates));
    std::set<std::string> snapshots;
    InfoMap map{volume->active_file, {}};
    for (const SnapshotPtr& snapshot : engine_->records().SnapshotsOf(known.id)) {
      snapshots.insert(snapshot->id);
      map.layers[snapshot->id] = snapshot->layer;
    }
    EXPECT_EQ(snapshots, known.snapshots);
    EXPECT_EQ(volume->chain.size(), snapshots.size() + 1);
    const std::string active = engine_.ActivePath(known.id);
    const std::string info = std::filesystem::path(active).parent_path() / InfoFileName(known.id);
    if (std::filesystem::exists(info)) {
      EXPECT_EQ(testing::ReadFile(info), FormatInfoMap(map));
    } else {
      EXPECT_TRUE(snapshots.empty());
    }
    const FileFormat format = volume->chain.size() > 1 ? FileFormat::kQcow2 : volume->base_format;
    auto chain = nlohmann::json::parse(
        testing::RunTool({"qemu-img", "info", "--backing-chain", "--output=json", "-f",
                          testing::FormatOf(format), active}),
        nullptr, false);
    EXPECT_EQ(chain.size(), volume->chain.size());
    if (format == FileFormat::kQcow2) {
      EXPECT_TRUE(testing::QemuCheck(active)) << active;
    }
  }

  const uint64_t seed_;
  TestEngine engine_;
  Known volumes_[kVolumes];
  std::atomic<int64_t> done_{0};
};

TEST(StressTest, SixtyFourCallersOnTwoHundredVolumes) {
  const char* seconds = getenv("CAIRN_STRESS_SECONDS");
  spdlog::set_level(spdlog::level::warn);
  Stress stress(testing::TestSeed());
  stress.Run(absl::Seconds(seconds == nullptr ? 10 : std::stoi(seconds)));
  if (!::testing::Test::HasFailure()) stress.CheckAll();
  EXPECT_GT(stress.done(), kVolumes);
  std::printf("%lld calls\n", static_cast<long long>(stress.done()));
  spdlog::set_level(spdlog::level::info);
}

}  // namespace
}  // namespace cairn
