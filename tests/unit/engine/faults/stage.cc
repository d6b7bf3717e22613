#include "tests/unit/engine/faults/stage.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "lib/base/id.h"
#include "lib/chain/chain.h"
#include "lib/chain/info_map.h"
#include "lib/chain/step_runner.h"
#include "lib/image/image.h"
#include "lib/image/qcow2_commit.h"
#include "tests/unit/engine/faults/guest_content.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn::testing {

TestEngineSetup QuietSetup(FileSystem* files) {
  TestEngineSetup setup;
  setup.engine.files = files;
  setup.engine.probe_period = absl::Hours(1);
  setup.engine.probe_timeout = absl::Minutes(1);
  setup.engine.rescan_period = absl::Hours(1);
  setup.engine.retry_pause = absl::Milliseconds(2);
  setup.engine.retry_pause_max = absl::Milliseconds(10);
  setup.pool.max_over_subscription_ratio = 1e6;
  return setup;
}

std::string Stage::Id(std::string name) {
  names_.emplace_back(NewId(), std::move(name));
  return names_.back().first;
}

void Stage::Write(const std::string& path, FileFormat format) {
  ++writes_;
  const auto byte = static_cast<uint8_t>(writes_);
  // The first cluster is written over again and again, each of the others by one layer.
  EXPECT_TRUE(GuestWrite(path, format, 0, byte)) << path;
  EXPECT_TRUE(GuestWrite(path, format, writes_ % (kStageBytes / kGuestCluster), byte)) << path;
}

std::string Stage::Volume(VolumeFormat format, const std::string& share) {
  CreateVolumeRequest create = NewVolume(format, kStageBytes);
  create.volume_id = Id(fmt::format("V{}", volumes_++));
  create.share = share.empty() ? engine_->address(0) : share;
  EXPECT_OK(engine_->Do(create));
  Write(engine_->ActivePath(create.volume_id), BaseFileFormat(format));
  return create.volume_id;
}

std::string Stage::Snapshot(const std::string& volume_id) {
  const std::string id = Id(fmt::format("S{}", snapshots_++));
  EXPECT_OK(engine_->Do(NewSnapshot(volume_id, id)));
  Write(engine_->ActivePath(volume_id), FileFormat::kQcow2);
  return id;
}

std::string Stage::Foreign(bool with_snapshot) {
  return ForeignChain(with_snapshot ? std::vector<std::string>{"S"} : std::vector<std::string>{});
}

std::string Stage::ForeignChain(const std::vector<std::string>& layers) {
  FileSystem& files = *FileSystem::Posix();
  const std::string id = Id(fmt::format("V{}", volumes_++));
  const std::string directory = engine_->directory(0);
  CreateImageOptions options{.size_bytes = kStageBytes,
                             .backing_file = {},
                             .backing_format = {},
                             .permissions = {},
                             .before_name = {}};
  InfoMap map{BaseFileName(id), {}};
  EXPECT_OK(CreateImage(files, directory, map.active, "new", options, CancelToken(), {}));
  Write(directory + "/" + map.active, FileFormat::kQcow2);
  for (const std::string& layer : layers) {
    const bool of_snapshot = layer.starts_with("S");
    const std::string snapshot =
        Id(of_snapshot ? fmt::format("S{}", snapshots_++) : fmt::format("L-{}", layer));
    options.backing_file = map.active;
    options.backing_format = "qcow2";
    options.preallocate_metadata = false;
    map.active = LayerFileName(id, snapshot);
    EXPECT_OK(CreateImage(files, directory, map.active, "new", options, CancelToken(), {}));
    Write(directory + "/" + map.active, FileFormat::kQcow2);
    if (of_snapshot) map.layers[snapshot] = map.active;
  }
  if (!layers.empty()) {
    const std::string path = directory + "/" + InfoFileName(id);
    WriteFile(path, FormatInfoMap(map));
    // As one that is written anew.
    std::filesystem::permissions(path, static_cast<std::filesystem::perms>(0660));
  }
  return id;
}

std::vector<std::string> Stage::Layers(const std::string& volume_id) {
  auto files = ListChainFiles(*FileSystem::Posix(), engine_->directory(0), volume_id);
  EXPECT_OK(files);
  if (!files.ok()) return {};
  std::erase(*files, BaseFileName(volume_id));
  return *files;
}

void Stage::Swell(const std::string& file) {
  auto opened = FileSystem::Posix()->Open(engine_->directory(0) + "/" + file, OpenMode::kReadWrite);
  ASSERT_OK(opened);
  auto stat = (*opened)->Stat();
  ASSERT_OK(stat);
  EXPECT_OK((*opened)->Allocate(stat->size_bytes, 2 * kNativeCommitBytesMax + kMiB));
}

std::vector<std::string> Stage::Files(bool temporary) {
  std::vector<std::string> found;
  for (size_t share = 0; share < engine_->directories().size(); ++share) {
    for (const auto& entry : std::filesystem::directory_iterator(engine_->directory(share))) {
      const std::string name = entry.path().filename();
      if (name == kPrivateDirectory || OperationOfTemporary(name).empty() == temporary) continue;
      const auto stat = FileSystem::Posix()->Stat(entry.path());
      if (!stat.ok()) continue;
      found.push_back(fmt::format("file {} of share {} mode {:o}", name, share, stat->mode));
      if (name.ends_with(".info")) {
        // A line each, because their order is that of ids.
        for (absl::string_view line :
             absl::StrSplit(ReadFile(entry.path()), absl::ByAnyChar("\n,"))) {
          if (!line.empty()) found.push_back(fmt::format("map {} {}", name, std::string(line)));
        }
      }
    }
  }
  for (std::string& line : found) line = Named(std::move(line));
  std::sort(found.begin(), found.end());
  return found;
}

std::string Stage::Look() {
  std::string text = ObserveRecords(*engine_);
  auto volumes = (*engine_)->records().ListVolumes(
      {.filter = {}, .order_by = {}, .page_size = 1000, .page_token = {}});
  if (!volumes.ok()) return Describe(volumes.status());
  for (const VolumePtr& volume : volumes->items) {
    const std::string directory = engine_->DirectoryOf(volume->share);
    const auto content_of = [&](const std::string& file) {
      const bool is_base = !volume->chain.empty() && file == volume->chain.front();
      return GuestContent(directory, file, is_base ? volume->base_format : FileFormat::kQcow2);
    };
    text += fmt::format("content of {}: {}\n", volume->id, content_of(volume->active_file));
    for (const SnapshotPtr& snapshot : (*engine_)->records().SnapshotsOf(volume->id)) {
      text += fmt::format("content of {}: {}\n", snapshot->id, content_of(snapshot->file));
    }
  }
  text = Named(std::move(text));
  for (const std::string& file : Files(/*temporary=*/false)) text += file + "\n";
  return text;
}

std::string Stage::Named(std::string text) const {
  for (const auto& [id, name] : names_) text = absl::StrReplaceAll(text, {{id, name}});
  for (size_t share = 0; share < engine_->directories().size(); ++share) {
    text = absl::StrReplaceAll(text, {{engine_->directory(share), fmt::format("share{}", share)}});
  }
  return text;
}

}  // namespace cairn::testing
