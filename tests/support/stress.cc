#include "tests/support/stress.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <thread>

#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/chain/info_map.h"
#include "tests/support/qemu.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {

Stress::Stress(uint64_t seed, MakeTarget make_target)
    : seed_(seed), make_target_(std::move(make_target)) {
  for (Known& volume : volumes_) volume.id = NewId();
}

void Stress::Run(absl::Duration time) {
  auto first = make_target_();
  for (Known& volume : volumes_) Expect(Create(*first, volume.id));
  const absl::Time until = absl::Now() + time;
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([this, i, until] {
      auto target = make_target_();
      std::mt19937_64 dice(seed_ + static_cast<uint64_t>(i));
      while (absl::Now() < until && !::testing::Test::HasFailure()) Work(*target, dice);
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::cout << done_ << " calls" << std::endl;
  if (::testing::Test::HasFailure()) return;
  EXPECT_GT(done_, kVolumes);
  for (int i = 0; i < kVolumes - kComeAndGo; ++i) Check(*first, volumes_[i]);
}

// What another caller's work on the same volume explains; anything else is a defect.
void Stress::Expect(const absl::Status& status) {
  ++done_;
  const bool explained = status.ok() || absl::IsNotFound(status) ||
                         absl::IsFailedPrecondition(status) || absl::IsAborted(status) ||
                         absl::IsAlreadyExists(status) || absl::IsInvalidArgument(status);
  EXPECT_TRUE(explained) << Describe(status);
}

void Stress::Work(StressTarget& target, std::mt19937_64& dice) {
  const auto index = static_cast<int>(dice() % kVolumes);
  Known& volume = volumes_[index];
  const bool stays = index < kVolumes - kComeAndGo;
  switch (dice() % 10) {
    case 0:
    case 1:
      return Snapshot(target, volume, stays);
    case 2:
    case 3:
      return DeleteSnapshot(target, volume, dice);
    case 4:
      if (auto newest = target.NewestSnapshot(volume.id); newest.ok() && !newest->empty()) {
        Expect(target.Revert(*newest));
      }
      return;
    case 5:
      if (auto now = target.Look(volume.id); now.ok()) {
        Expect(target.Extend(volume.id, now->size_bytes + 64 * kKiB));
      }
      return;
    case 6:
    case 7:
      return CountUp(target, volume, stays);
    case 8:
      if (stays) return Expect(target.ListAvailable());
      return Expect(target.Delete(volume.id));
    default:
      if (stays) return Expect(target.ListAvailable());
      return Expect(Create(target, volume.id));
  }
}

absl::Status Stress::Create(StressTarget& target, const std::string& id) {
  return target.Create(id, id[0] % 2 == 0 ? VolumeFormat::kQcow2 : VolumeFormat::kRawSparse, kMiB);
}

void Stress::Snapshot(StressTarget& target, Known& volume, bool stays) {
  auto id = target.Snapshot(volume.id);
  Expect(id.status());
  if (!id.ok() || !stays) return;
  MutexLock lock(&volume.mutex);
  volume.snapshots.insert(*id);
}

void Stress::DeleteSnapshot(StressTarget& target, Known& volume, std::mt19937_64& dice) {
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
  absl::Status status = target.DeleteSnapshot(id);
  Expect(status);
  if (status.ok()) return;
  MutexLock lock(&volume.mutex);
  volume.snapshots.insert(id);
}

// Counts up in a label, with compare and swap: a lost update would be missing in the end.
void Stress::CountUp(StressTarget& target, Known& volume, bool stays) {
  auto now = target.Look(volume.id);
  if (!now.ok()) return Expect(now.status());
  auto labels = now->labels;
  const int count = labels.count("count") ? std::stoi(labels["count"]) : 0;
  labels["count"] = std::to_string(count + 1);
  absl::Status status = target.SetLabels(volume.id, now->revision, labels);
  Expect(status);
  if (!status.ok() || !stays) return;
  MutexLock lock(&volume.mutex);
  ++volume.updates;
}

void Stress::Check(StressTarget& target, Known& known) {
  auto volume = target.Look(known.id);
  ASSERT_TRUE(volume.ok()) << Describe(volume.status());
  MutexLock lock(&known.mutex);
  EXPECT_TRUE(volume->settled);
  EXPECT_EQ(volume->labels.count("count") ? volume->labels["count"] : "0",
            std::to_string(known.updates));
  std::set<std::string> snapshots;
  InfoMap map{volume->chain.back(), {}};
  for (const auto& [id, layer] : volume->snapshots) {
    snapshots.insert(id);
    map.layers[id] = layer;
  }
  EXPECT_EQ(snapshots, known.snapshots);
  EXPECT_EQ(volume->chain.size(), snapshots.size() + 1);
  const std::string info = volume->directory + "/" + InfoFileName(known.id);
  if (std::filesystem::exists(info)) {
    EXPECT_EQ(ReadFile(info), FormatInfoMap(map));
  } else {
    EXPECT_TRUE(snapshots.empty());
  }
  const std::string active = volume->directory + "/" + volume->chain.back();
  auto chain =
      nlohmann::json::parse(RunTool({"qemu-img", "info", "--backing-chain", "--output=json", "-f",
                                     FormatOf(volume->active_format), active}),
                            nullptr, false);
  EXPECT_EQ(chain.size(), volume->chain.size());
  if (volume->active_format == FileFormat::kQcow2) {
    EXPECT_TRUE(QemuCheck(active)) << active;
  }
}

absl::Duration StressTime(int otherwise) {
  const char* seconds = getenv("CAIRN_STRESS_SECONDS");
  return absl::Seconds(seconds == nullptr ? otherwise : std::stoi(seconds));
}

}  // namespace cairn::testing
