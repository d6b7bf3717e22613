#include "lib/engine/surplus_layers.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "lib/base/size.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

// The merge may need as much room below as the layer takes; the exact figure is worked out only
// when that is more than there is. The map and a few tables are written besides.
absl::Status CheckRoom(const Core& core, const Share& share, const ChainLink& layer,
                       const ChainLink& below, bool in_use) {
  constexpr int64_t kMetadataBytes = 64 * kKiB;
  ASSIGN_OR_RETURN(FileSystemStat room, core.files().StatFileSystem(share.directory()));
  int64_t needed = layer.image.physical_bytes + kMetadataBytes;
  if (needed > room.available_bytes) {
    const auto exact = core.tool().MeasureCommit(share.directory(), layer.file, below.file,
                                                 below.image.format, CancelToken());
    // What a machine is writing to may not be legible.
    if (!exact.ok() && !in_use) return exact.status();
    if (exact.ok()) needed = *exact + kMetadataBytes;
  }
  if (needed <= room.available_bytes) return absl::OkStatus();
  return Error(
      Reason::kNoSpace,
      fmt::format("merging {} into {} needs {} on {}, which has {}", layer.file, below.file,
                  FormatSize(needed), share.address(), FormatSize(room.available_bytes)),
      {{"share", share.address()},
       {"requested", std::to_string(needed)},
       {"available", std::to_string(room.available_bytes)}});
}

}  // namespace

std::vector<std::string> SurplusLayers(const Catalog& catalog, const VolumeRecord& volume,
                                       const Transaction& records) {
  std::vector<std::string> surplus;
  if (volume.chain.size() < 2) return surplus;
  std::set<std::string> kept;
  std::set<std::string> seen(records.remove_snapshots.begin(), records.remove_snapshots.end());
  for (const SnapshotRecord& put : records.put_snapshots) {
    if (put.volume_id == volume.id && seen.insert(put.id).second) kept.insert(put.layer);
  }
  for (const SnapshotPtr& snapshot : catalog.SnapshotsOf(volume.id)) {
    if (seen.count(snapshot->id) == 0) kept.insert(snapshot->layer);
  }
  for (const SurplusRun& run : FindSurplus(volume.chain, kept)) {
    for (size_t i = run.first; i <= run.last; ++i) surplus.push_back(volume.chain[i]);
  }
  return surplus;
}

std::vector<SurplusRun> SurplusRuns(const Catalog& catalog, const ChainView& view,
                                    std::string_view gone) {
  std::set<std::string> kept;
  for (const SnapshotPtr& snapshot : catalog.SnapshotsOf(view.volume_id)) {
    if (snapshot->id != gone) kept.insert(snapshot->layer);
  }
  return FindSurplus(FilesOf(view.chain), kept);
}

absl::Status CheckMerges(const Core& core, const VolumeRecord& volume, const ChainView& view,
                         const std::vector<SurplusRun>& runs, const MergeCheck& check) {
  ASSIGN_OR_RETURN(Share * share, core.ShareOf(volume));
  std::set<std::string> touched;
  for (const SurplusRun& run : runs) {
    for (size_t i = run.first; i <= run.last; ++i) {
      const ChainLink& layer = view.chain[i];
      const ChainLink& below = view.chain[i - 1];
      touched.insert({below.file, layer.file});
      RETURN_IF_ERROR(CheckNoInternalSnapshots(volume.id, layer));
      RETURN_IF_ERROR(CheckOnlyName(volume.id, below));
      if (i + 1 < view.chain.size()) {
        RETURN_IF_ERROR(CheckOnlyName(volume.id, view.chain[i + 1]));
      }
      RETURN_IF_ERROR(CheckRoom(core, *share, layer, below, check.in_use));
      if (layer.image.bitmaps == 0) continue;
      spdlog::warn("operation={} volume={} {} holds {} persistent bitmap(s), which go with it",
                   check.operation_id, volume.id, layer.file, layer.image.bitmaps);
    }
  }
  return core.CheckNoneStandsOn(volume, {touched.begin(), touched.end()});
}

}  // namespace cairn
