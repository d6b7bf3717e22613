// Random sequences of everything that changes volumes, against a model in memory that is exact to
// the byte. CAIRN_MODEL_OPERATIONS sets how many (in all three formats together).
#include <gtest/gtest.h>
#include <stdlib.h>

#include <random>

#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/support/seed.h"
#include "tests/unit/engine/fake_machine.h"
#include "tests/unit/engine/requests_of_tests.h"
#include "tests/unit/engine/volume_model.h"

namespace cairn {
namespace {

using testing::Content;
using testing::FakeMachine;
using testing::FromSnapshot;
using testing::FromVolume;
using testing::HasReasonOf;
using testing::ModelChecker;
using testing::ModelSnapshot;
using testing::ModelVolume;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::TestEngine;

constexpr size_t kVolumesMax = 5;
constexpr size_t kSnapshotsMax = 6;
constexpr int64_t kSizeMax = 4 * kMiB;
constexpr VolumeFormat kFormats[] = {VolumeFormat::kQcow2, VolumeFormat::kRawSparse,
                                     VolumeFormat::kRawThick};

int Operations() {
  const char* given = getenv("CAIRN_MODEL_OPERATIONS");
  return (given != nullptr ? atoi(given) : 2100) / 3;
}

Content Resized(const Content& content, int64_t size_bytes) {
  auto changed = std::make_shared<std::string>(*content);
  changed->resize(static_cast<size_t>(size_bytes));
  return changed;
}

TestEngine::Setup SetupOf(bool preallocate, FakeMachine* machine) {
  TestEngine::Setup setup;
  setup.engine.connect_hypervisor = [machine](const HypervisorAddress&) {
    return machine->Connect();
  };
  setup.pool.qcow2_preallocation_metadata = preallocate;
  return setup;
}

class Walk {
 public:
  Walk(VolumeFormat format, uint64_t seed)
      : format_(format),
        random_(seed),
        engine_(SetupOf(random_() % 2 == 0, &machine_)),
        checker_(&engine_) {}

  // One operation and the comparison of what it touched.
  void Step() {
    touched_.clear();
    // Weights, in the order of the cases.
    std::discrete_distribution<int> kind{8, 40, 18, 14, 7, 7, 4, 4, 6, 3, 1, 4};
    int chosen = volumes_.empty() ? 0 : kind(random_);
    if (volumes_.size() >= kVolumesMax && (chosen == 0 || chosen == 6 || chosen == 7)) chosen = 9;
    switch (chosen) {
      case 0:
        return Create(NewVolume(format_, AnySize()), nullptr);
      case 1:
        return Write();
      case 2:
        return TakeSnapshot();
      case 3:
        return DeleteSnapshot();
      case 4:
        return Revert();
      case 5:
        return Extend();
      case 6:
        return Clone();
      case 7:
        return Restore();
      case 8:
        return Move();
      case 9:
        return DeleteVolume();
      case 11:
        return UseInMachine();
      default:
        Note("restart");
        return engine_.Restart();
    }
  }

  void CheckTouched() {
    if (auto it = volumes_.find(touched_); it != volumes_.end()) checker_.CheckVolume(it->second);
    checker_.CheckShares(volumes_);
  }

  void CheckAll() {
    checker_.StartOver();
    for (const auto& [id, volume] : volumes_) checker_.CheckVolume(volume);
    checker_.CheckShares(volumes_);
  }

  // The last operations, for the report of a failure.
  std::string History() const {
    constexpr size_t kShown = 40;
    std::string text = fmt::format("operation {}\n", notes_.size());
    for (size_t i = notes_.size() > kShown ? notes_.size() - kShown : 0; i < notes_.size(); ++i) {
      text += fmt::format("  {}: {}\n", i + 1, notes_[i]);
    }
    return text;
  }

 private:
  int64_t Below(int64_t limit) {
    return std::uniform_int_distribution<int64_t>(0, limit - 1)(random_);
  }
  int64_t AnySize() {
    // Odd multiples of a sector, and whole clusters.
    return Below(2) == 0 ? kSectorBytes * (1 + Below(2 * kMiB / kSectorBytes))
                         : 64 * kKiB * (1 + Below(32));
  }
  int64_t Larger(int64_t size_bytes) {
    return std::min(kSizeMax, size_bytes + kSectorBytes * (1 + Below(kMiB / kSectorBytes)));
  }
  ModelVolume& AnyVolume() {
    auto it = volumes_.begin();
    std::advance(it, Below(static_cast<int64_t>(volumes_.size())));
    touched_ = it->first;
    return it->second;
  }
  // Of a volume that has one, if any has.
  ModelVolume& AnyVolumeWithSnapshots() {
    std::vector<std::string> ids;
    for (const auto& [id, volume] : volumes_) {
      if (!volume.snapshots.empty()) ids.push_back(id);
    }
    if (ids.empty()) return AnyVolume();
    touched_ = ids[static_cast<size_t>(Below(static_cast<int64_t>(ids.size())))];
    return volumes_.at(touched_);
  }
  size_t AnySnapshot(const ModelVolume& volume) {
    return static_cast<size_t>(Below(static_cast<int64_t>(volume.snapshots.size())));
  }
  // Ids of its own, so that a seed replays the same walk.
  std::string AnyId() {
    return fmt::format("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", Below(1LL << 32), Below(1 << 16),
                       Below(1 << 12), Below(1 << 12), Below(1LL << 48));
  }
  void Note(std::string text) { notes_.push_back(std::move(text)); }

  void Create(CreateVolumeRequest request, const Content& source) {
    request.volume_id = AnyId();
    Note(fmt::format("create {} {} source {}", VolumeFormatName(*request.format),
                     request.size_bytes, request.source.id_or_path));
    ASSERT_OK_AND_ASSIGN(OperationPtr op, engine_.Submit(request));
    ASSERT_OK_AND_ASSIGN(op, engine_.Wait(op->id));
    ASSERT_OK(op->error);
    ModelVolume& made = volumes_[op->volume_id];
    made.id = touched_ = op->volume_id;
    made.format = *request.format;
    made.share = engine_.Volume(made.id)->share;
    const int64_t size =
        request.size_bytes == 0 ? static_cast<int64_t>(source->size()) : request.size_bytes;
    made.content = Resized(source == nullptr ? std::make_shared<std::string>() : source, size);
  }

  void Write() {
    ModelVolume& volume = AnyVolume();
    WriteTo(volume, volume.snapshots.empty() ? BaseFileFormat(volume.format) : FileFormat::kQcow2);
  }

  void WriteTo(ModelVolume& volume, FileFormat format) {
    auto content = std::make_shared<std::string>(*volume.content);
    const auto sectors = static_cast<int64_t>(content->size()) / kSectorBytes;
    std::vector<std::string> argv{"qemu-io", "-t", "unsafe", "-f", testing::FormatOf(format)};
    for (int64_t i = Below(6); i >= 0; --i) {
      const int64_t offset = Below(sectors);
      const int64_t length = std::min(sectors - offset, 1 + Below(Below(2) == 0 ? 8 : 400));
      const int64_t pattern = Below(8) == 0 ? 0 : 1 + Below(255);
      argv.push_back("-c");
      argv.push_back(fmt::format("write {} {} {}",
                                 pattern == 0 ? "-z" : fmt::format("-P {}", pattern),
                                 offset * kSectorBytes, length * kSectorBytes));
      content->replace(static_cast<size_t>(offset * kSectorBytes),
                       static_cast<size_t>(length * kSectorBytes),
                       static_cast<size_t>(length * kSectorBytes), static_cast<char>(pattern));
      Note(fmt::format("{} of {}", argv.back(), volume.id));
    }
    argv.push_back(engine_.ActivePath(volume.id));
    testing::RunTool(argv);
    volume.content = content;
  }

  void TakeSnapshot() {
    ModelVolume& volume = AnyVolume();
    if (volume.snapshots.size() >= kSnapshotsMax) return DeleteSnapshot();
    const std::string id = AnyId();
    Note(fmt::format("snapshot {} of {}", id, volume.id));
    ASSERT_OK(engine_.Do(NewSnapshot(volume.id, id)));
    volume.snapshots.push_back({id, volume.content});
    volume.has_map = true;
  }

  void DeleteSnapshot() {
    ModelVolume& volume = AnyVolumeWithSnapshots();
    if (volume.snapshots.empty()) return TakeSnapshot();
    const size_t i = AnySnapshot(volume);
    Note(fmt::format("delete snapshot {} ({} of {}) of {}", volume.snapshots[i].id, i + 1,
                     volume.snapshots.size(), volume.id));
    ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = volume.snapshots[i].id}));
    volume.snapshots.erase(volume.snapshots.begin() + static_cast<long>(i));
  }

  void Revert() {
    ModelVolume& volume = AnyVolumeWithSnapshots();
    if (volume.snapshots.empty()) return TakeSnapshot();
    const size_t i = AnySnapshot(volume);
    const ModelSnapshot& snapshot = volume.snapshots[i];
    Note(fmt::format("revert {} to {} ({} of {})", volume.id, snapshot.id, i + 1,
                     volume.snapshots.size()));
    if (i + 1 < volume.snapshots.size()) {
      ASSERT_THAT(engine_.Do(RevertToSnapshotRequest{.snapshot_id = snapshot.id}),
                  HasReasonOf(Reason::kSnapshotNotNewest));
    }
    ASSERT_OK(
        engine_.Do(RevertToSnapshotRequest{.snapshot_id = snapshot.id, .discard_newer = true}));
    volume.content = Resized(snapshot.content, static_cast<int64_t>(volume.content->size()));
    volume.snapshots.resize(i + 1);
  }

  void Extend() {
    ModelVolume& volume = AnyVolume();
    const int64_t size = Larger(static_cast<int64_t>(volume.content->size()));
    Note(fmt::format("extend {} to {}", volume.id, size));
    ASSERT_OK(engine_.Do(ExtendVolumeRequest{.volume_id = volume.id, .size_bytes = size}));
    volume.content = Resized(volume.content, size);
  }

  void Clone() {
    const ModelVolume& source = AnyVolume();
    const Content content = source.content;
    const auto size = static_cast<int64_t>(content->size());
    Create(NewVolume(kFormats[Below(3)], Below(2) == 0 ? 0 : Larger(size), FromVolume(source.id)),
           content);
  }

  void Restore() {
    const ModelVolume& source = AnyVolumeWithSnapshots();
    if (source.snapshots.empty()) return TakeSnapshot();
    const ModelSnapshot snapshot = source.snapshots[AnySnapshot(source)];
    const auto size = static_cast<int64_t>(snapshot.content->size());
    Create(
        NewVolume(kFormats[Below(3)], Below(2) == 0 ? 0 : Larger(size), FromSnapshot(snapshot.id)),
        snapshot.content);
  }

  void Move() {
    ModelVolume& volume = AnyVolume();
    Note("move " + volume.id);
    ASSERT_OK(engine_.Do(MigrateVolumeRequest{.volume_id = volume.id, .share = {}}));
    volume.share = volume.share == engine_.address(0) ? engine_.address(1) : engine_.address(0);
  }

  // A machine has it for a while, and its newest snapshot goes meanwhile. The layer that this leaves is
  // merged when it is detached. With libvirt no merge goes upward, so that the base keeps its name.
  void UseInMachine() {
    ModelVolume& volume = AnyVolume();
    const std::string id = AnyId();
    Note(fmt::format("use {} in a machine, with snapshot {}", volume.id, id));
    AttachVolumeRequest attach = testing::Attach(volume.id, "machine");
    attach.hypervisor = {HypervisorAddress::Kind::kLibvirt, "qemu:///system", "domain", "vda"};
    ASSERT_OK(engine_.Do(attach));
    VolumePtr record = engine_.Volume(volume.id);
    machine_.Boot(engine_.DirectoryOf(record->share),
                  {record->chain.rbegin(), record->chain.rend()}, record->size_bytes);
    ASSERT_OK(engine_.Do(NewSnapshot(volume.id, id)));
    WriteTo(volume, FileFormat::kQcow2);
    ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = id}));
    WriteTo(volume, FileFormat::kQcow2);
    volume.has_map = true;
    DetachVolumeRequest detach = testing::Detach(volume.id);
    detach.force = true;
    detach.reason = "the model";
    ASSERT_OK(engine_.Do(detach));
    const absl::Time until = absl::Now() + absl::Minutes(1);
    while (!engine_.Volume(volume.id)->surplus_layers.empty() && absl::Now() < until) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  void DeleteVolume() {
    const ModelVolume& volume = AnyVolume();
    Note("delete " + volume.id);
    if (!volume.snapshots.empty()) {
      ASSERT_THAT(engine_.Do(DeleteVolumeRequest{.volume_id = volume.id}),
                  HasReasonOf(Reason::kVolumeHasSnapshots));
    }
    ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume.id, .cascade = true}));
    volumes_.erase(touched_);
  }

  const VolumeFormat format_;
  std::mt19937_64 random_;
  FakeMachine machine_;
  TestEngine engine_;
  ModelChecker checker_;
  std::map<std::string, ModelVolume> volumes_;
  std::string touched_;  // the volume that the last operation changed
  std::vector<std::string> notes_;
};

class ModelTest : public ::testing::TestWithParam<VolumeFormat> {};

TEST_P(ModelTest, EveryVolumeAndSnapshotHoldsWhatTheModelHolds) {
  Walk walk(GetParam(), testing::TestSeed());
  const int operations = Operations();
  const int interval = std::max(1, operations / 5);
  for (int i = 1; i <= operations; ++i) {
    walk.Step();
    if (!HasFailure()) walk.CheckTouched();
    if (!HasFailure() && (i % interval == 0 || i == operations)) walk.CheckAll();
    ASSERT_FALSE(HasFailure()) << walk.History();
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ModelTest, ::testing::ValuesIn(kFormats), [](const auto& info) {
  return std::string(VolumeFormatName(info.param));
});

}  // namespace
}  // namespace cairn
