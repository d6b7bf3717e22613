// Many clients at once, each with a connection of its own, over real sockets to the real engine.
#include <gmock/gmock.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <map>
#include <thread>

#include "cairn/client/client.h"
#include "lib/base/id.h"
#include "lib/base/status.h"
#include "server/convert.h"
#include "tests/service/test_server.h"
#include "tests/support/matchers.h"
#include "tests/support/seed.h"
#include "tests/support/stress.h"

namespace cairn::testing {
namespace {

class ClientTarget : public StressTarget {
 public:
  explicit ClientTarget(client::Client client) : client_(std::move(client)) {}

  absl::Status Create(const std::string& id, VolumeFormat format, int64_t size_bytes) override {
    v1::CreateVolumeRequest request;
    request.set_volume_id(id);
    request.set_format(ToProto(format));
    request.set_size_bytes(size_bytes);
    return Ended(client_.CreateVolume(request)).status();
  }
  absl::Status Delete(const std::string& id) override {
    v1::DeleteVolumeRequest request;
    request.set_volume_id(id);
    request.set_cascade(true);
    return Ended(client_.DeleteVolume(request)).status();
  }
  absl::Status Extend(const std::string& id, int64_t size_bytes) override {
    v1::ExtendVolumeRequest request;
    request.set_volume_id(id);
    request.set_size_bytes(size_bytes);
    return Ended(client_.ExtendVolume(request)).status();
  }
  absl::Status SetLabels(const std::string& id, int64_t revision,
                         const std::map<std::string, std::string>& labels) override {
    v1::UpdateVolumeRequest request;
    request.set_volume_id(id);
    request.set_expected_revision(revision);
    request.mutable_labels()->insert(labels.begin(), labels.end());
    request.mutable_update_mask()->add_paths("labels");
    return Ended(client_.UpdateVolume(request)).status();
  }
  absl::StatusOr<std::string> Snapshot(const std::string& id) override {
    v1::CreateSnapshotRequest request;
    request.set_volume_id(id);
    ASSIGN_OR_RETURN(v1::Operation operation, Ended(client_.CreateSnapshot(request)));
    return operation.target();
  }
  absl::Status DeleteSnapshot(const std::string& id) override {
    v1::DeleteSnapshotRequest request;
    request.set_snapshot_id(id);
    return Ended(client_.DeleteSnapshot(request)).status();
  }
  absl::Status Revert(const std::string& id) override {
    v1::RevertToSnapshotRequest request;
    request.set_snapshot_id(id);
    return Ended(client_.RevertToSnapshot(request)).status();
  }
  absl::StatusOr<std::string> NewestSnapshot(const std::string& volume_id) override {
    v1::ListSnapshotsRequest request;
    request.set_volume_id(volume_id);
    request.set_order_by("create_time desc");
    request.set_page_size(1);
    ASSIGN_OR_RETURN(v1::ListSnapshotsResponse page, client_.ListSnapshots(request));
    return page.snapshots_size() == 0 ? std::string() : page.snapshots(0).id();
  }
  absl::Status ListAvailable() override {
    v1::ListVolumesRequest request;
    request.set_filter("state = AVAILABLE");
    return client_.ListVolumes(request).status();
  }
  absl::StatusOr<SeenVolume> Look(const std::string& id) override {
    v1::GetVolumeRequest request;
    request.set_volume_id(id);
    request.set_view(v1::VOLUME_VIEW_FULL);
    ASSIGN_OR_RETURN(v1::Volume volume, client_.GetVolume(request));
    SeenVolume seen;
    seen.settled =
        volume.state() == v1::VOLUME_STATE_AVAILABLE && volume.current_operation().empty();
    seen.size_bytes = volume.size_bytes();
    seen.revision = volume.revision();
    seen.labels = {volume.labels().begin(), volume.labels().end()};
    seen.directory = volume.share().substr(std::string("file://").size());
    for (const v1::ChainFile& file : volume.chain()) {
      seen.chain.push_back(file.file());
      seen.active_format =
          file.format() == v1::FILE_FORMAT_QCOW2 ? FileFormat::kQcow2 : FileFormat::kRaw;
    }
    // A snapshot's content lies in one file; the next one is the layer that was made for it.
    for (int i = 0; i + 1 < volume.chain_size(); ++i) {
      seen.snapshots[volume.chain(i).snapshot_id()] = volume.chain(i + 1).file();
    }
    return seen;
  }

 private:
  static absl::StatusOr<v1::Operation> Ended(
      const absl::StatusOr<client::PendingOperation>& pending) {
    if (!pending.ok()) return pending.status();
    client::WaitOptions limit;
    limit.timeout = std::chrono::minutes(2);
    return pending->Wait(limit);
  }

  client::Client client_;
};

class LoadTest : public ServiceTest {
 protected:
  LoadTest() { spdlog::set_level(spdlog::level::err); }
  ~LoadTest() override { spdlog::set_level(spdlog::level::info); }

  client::Client NewClient() const { return client::Client::FromChannel(server_->NewChannel()); }
};

TEST_F(LoadTest, SixtyFourClientsOnTwoHundredVolumes) {
  Stress stress(TestSeed(), [this] { return std::make_unique<ClientTarget>(NewClient()); });
  stress.Run(StressTime(60));
}

// Whoever walks through the pages sees each volume that stays exactly once, in order, whatever comes
// and goes meanwhile.
TEST_F(LoadTest, PagesOfAThousandVolumesWhileOthersComeAndGo) {
  constexpr int kStay = 1000;
  constexpr int kThreads = 8;
  std::map<std::string, int> seen;
  for (int i = 0; i < kStay; ++i) seen[NewId()] = 0;
  std::vector<std::string> ids;
  for (const auto& [id, times] : seen) ids.push_back(id);

  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ClientTarget target(NewClient());
      for (size_t i = static_cast<size_t>(t); i < ids.size(); i += kThreads) {
        // Equal sizes and different ones.
        EXPECT_OK(target.Create(ids[i], VolumeFormat::kRawSparse,
                                kMiBytes * static_cast<int64_t>(1 + i % 100)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  threads.clear();

  std::atomic<bool> over{false};
  std::atomic<int> came{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      ClientTarget target(NewClient());
      while (!over) {
        const std::string id = NewId();
        EXPECT_OK(target.Create(id, VolumeFormat::kRawSparse, kMiBytes * (1 + ++came % 100)));
        EXPECT_OK(target.Delete(id));
      }
    });
  }
  const client::Client reader = NewClient();
  for (const char* order : {"create_time", "create_time desc", "name", "size_bytes desc"}) {
    for (int page_size : {7, 100}) {
      for (auto& [id, times] : seen) times = 0;
      v1::ListVolumesRequest request;
      request.set_order_by(order);
      request.set_page_size(page_size);
      for (const absl::StatusOr<v1::Volume>& volume : reader.Volumes(request)) {
        ASSERT_OK(volume.status()) << order;
        if (auto it = seen.find(volume->id()); it != seen.end()) ++it->second;
      }
      for (const auto& [id, times] : seen) EXPECT_EQ(times, 1) << order << " " << id;
    }
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(came, 8) << "nothing came and went";
}

}  // namespace
}  // namespace cairn::testing
