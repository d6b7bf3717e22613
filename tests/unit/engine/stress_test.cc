// 64 callers on 200 volumes through the engine's own interface. With the thread sanitizer for a
// minute.
#include <spdlog/spdlog.h>

#include "tests/support/engine_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/stress.h"

namespace cairn {
namespace {

using testing::SeenVolume;
using testing::TestEngine;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAIRN_THREAD_SANITIZER
#endif
#endif
#if defined(CAIRN_THREAD_SANITIZER) || defined(__SANITIZE_THREAD__)
constexpr int kSeconds = 60;
#else
constexpr int kSeconds = 10;
#endif

class EngineTarget : public testing::StressTarget {
 public:
  explicit EngineTarget(TestEngine& engine) : engine_(engine) {}

  absl::Status Create(const std::string& id, VolumeFormat format, int64_t size_bytes) override {
    CreateVolumeRequest request;
    request.volume_id = id;
    request.format = format;
    request.size_bytes = size_bytes;
    return engine_.Do(std::move(request));
  }
  absl::Status Delete(const std::string& id) override {
    return engine_.Do(DeleteVolumeRequest{.volume_id = id, .cascade = true});
  }
  absl::Status Extend(const std::string& id, int64_t size_bytes) override {
    return engine_.Do(ExtendVolumeRequest{.volume_id = id, .size_bytes = size_bytes});
  }
  absl::Status SetLabels(const std::string& id, int64_t revision, const Labels& labels) override {
    return engine_.Do(UpdateVolumeRequest{
        .volume_id = id, .name = {}, .labels = labels, .expected_revision = revision});
  }
  absl::StatusOr<std::string> Snapshot(const std::string& id) override {
    return engine_.Snapshot(id);
  }
  absl::Status DeleteSnapshot(const std::string& id) override {
    return engine_.Do(DeleteSnapshotRequest{.snapshot_id = id});
  }
  absl::Status Revert(const std::string& id) override {
    return engine_.Do(RevertToSnapshotRequest{.snapshot_id = id});
  }
  absl::StatusOr<std::string> NewestSnapshot(const std::string& volume_id) override {
    auto snapshots = engine_->records().SnapshotsOf(volume_id);
    return snapshots.empty() ? std::string() : snapshots.back()->id;
  }
  absl::Status ListAvailable() override {
    ListQuery query;
    query.filter = "state = AVAILABLE";
    return engine_->records().ListVolumes(query).status();
  }
  absl::StatusOr<SeenVolume> Look(const std::string& id) override {
    VolumePtr volume = engine_.Volume(id);
    if (volume == nullptr) return absl::NotFoundError(id);
    SeenVolume seen;
    seen.settled = volume->state == VolumeState::kAvailable && volume->current_operation.empty();
    seen.size_bytes = volume->size_bytes;
    seen.revision = volume->revision;
    seen.labels = volume->labels;
    seen.directory = volume->share.substr(std::string("file://").size());
    seen.active_format = volume->chain.size() > 1 ? FileFormat::kQcow2 : volume->base_format;
    seen.chain = volume->chain;
    for (const SnapshotPtr& snapshot : engine_->records().SnapshotsOf(id)) {
      seen.snapshots[snapshot->id] = snapshot->layer;
    }
    return seen;
  }

 private:
  TestEngine& engine_;
};

TEST(StressTest, SixtyFourCallersOnTwoHundredVolumes) {
  spdlog::set_level(spdlog::level::err);
  TestEngine engine;
  testing::Stress stress(testing::TestSeed(),
                         [&] { return std::make_unique<EngineTarget>(engine); });
  stress.Run(testing::StressTime(kSeconds));
  spdlog::set_level(spdlog::level::info);
}

}  // namespace
}  // namespace cairn
