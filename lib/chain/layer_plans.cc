#include "lib/chain/layer_plans.h"

#include <algorithm>

#include "lib/chain/step_runner.h"

namespace cairn {
namespace {

// What a run is merged into is made as large as the run first.
void GrowBelow(const ChainView& view, const SurplusRun& run, VolumeFormat base_format, Plan& plan) {
  const int64_t size_bytes = view.chain[run.last].image.virtual_size;
  // From above, so that no file is ever larger than the one above it; taken back from below.
  for (size_t i = run.last; i >= run.first; --i) {
    const ChainLink& below = view.chain[i - 1];
    if (below.image.virtual_size >= size_bytes) continue;
    const bool raw = below.image.format == FileFormat::kRaw;
    plan.steps.push_back(GrowImageStep{view.share, below.file,
                                       raw ? base_format : VolumeFormat::kQcow2, size_bytes});
    plan.undo.insert(plan.undo.begin(), UngrowImageStep{view.share, below.file, below.image.format,
                                                        below.image.virtual_size});
  }
}

// From the top down, so that to begin again does no harm.
void CommitRun(const ChainView& view, const SurplusRun& run, Plan& plan,
               std::vector<std::string>& merged) {
  int64_t bytes = 0;
  for (size_t i = run.last; i >= run.first; --i) {
    bytes += view.chain[i].image.physical_bytes;
    plan.steps.push_back(CommitStep{view.share, view.chain[i].file, view.chain[i - 1].file, bytes});
    merged.push_back(view.chain[i].file);
  }
}

// Takes a run that has been merged out of the chain: out of the header above it, or out of the map.
void PointPast(const ChainView& view, const SurplusRun& run, Plan& plan, InfoMap& map) {
  const ChainLink& below = view.chain[run.first - 1];
  if (run.last + 1 == view.chain.size()) {
    map.active = below.file;
    return;
  }
  plan.steps.push_back(RepointStep{.share = view.share,
                                   .layer = view.chain[run.last + 1].file,
                                   .backing_file = below.file,
                                   .backing_format = below.image.format,
                                   .instead_of = view.chain[run.last].file});
}

}  // namespace

std::vector<std::string> FilesOf(const Chain& chain) {
  std::vector<std::string> files;
  for (const ChainLink& link : chain) files.push_back(link.file);
  return files;
}

std::set<std::string> LayersIn(const InfoMap& map) {
  std::set<std::string> layers;
  for (const auto& [snapshot, layer] : map.layers) layers.insert(layer);
  return layers;
}

WriteMapStep ReplaceMap(const ChainView& view, InfoMap map) {
  FormerMap former;
  if (view.map.has_value()) {
    former.active = view.map->active;
    for (const auto& [snapshot, layer] : view.map->layers) {
      if (map.layers.count(snapshot) == 0) former.dropped.push_back(snapshot);
    }
  }
  return {.share = view.share,
          .volume_id = view.volume_id,
          .map = std::move(map),
          .former = std::move(former)};
}

MakeImageStep EmptyLayer(const ChainView& view, std::string file, size_t below) {
  return {.share = view.share,
          .file = std::move(file),
          .format = VolumeFormat::kQcow2,
          .size_bytes = view.size_bytes,
          .backing_file = view.chain[below].file,
          .backing_format = view.chain[below].image.format};
}

std::vector<SurplusRun> FindSurplus(const std::vector<std::string>& chain,
                                    const std::set<std::string>& layers_of_snapshots) {
  std::vector<SurplusRun> runs;
  for (size_t i = 1; i < chain.size(); ++i) {
    if (layers_of_snapshots.count(chain[i]) != 0) continue;
    if (!runs.empty() && runs.back().last + 1 == i) {
      runs.back().last = i;
    } else {
      runs.push_back({i, i});
    }
  }
  return runs;
}

Plan PlanDeleteSnapshot(const ChainView& view, const std::string& snapshot_id,
                        VolumeFormat base_format) {
  InfoMap map = view.map_or_new();
  const std::string layer = map.layers[snapshot_id];
  map.layers.erase(snapshot_id);
  const std::vector<SurplusRun> runs = FindSurplus(FilesOf(view.chain), LayersIn(map));
  Plan plan;
  for (const SurplusRun& run : runs) GrowBelow(view, run, base_format, plan);
  plan.no_return = plan.steps.size();
  std::vector<std::string> merged;
  for (const SurplusRun& run : runs) {
    CommitRun(view, run, plan, merged);
    PointPast(view, run, plan, map);
  }
  if (std::find(merged.begin(), merged.end(), layer) == merged.end()) merged.push_back(layer);
  plan.steps.push_back(ReplaceMap(view, std::move(map)));
  plan.steps.push_back(RemoveFilesStep{view.share, std::move(merged)});
  return plan;
}

Plan PlanMergeLayers(const ChainView& view, const std::vector<SurplusRun>& runs,
                     VolumeFormat base_format, const std::string& operation_id) {
  InfoMap map = view.map_or_new();
  Plan plan;
  for (const SurplusRun& run : runs) GrowBelow(view, run, base_format, plan);
  std::vector<std::string> merged;
  for (const SurplusRun& run : runs) CommitRun(view, run, plan, merged);
  Plan after;
  for (const SurplusRun& run : runs) PointPast(view, run, after, map);
  if (view.map != map) {
    plan.steps.push_back(PrepareMapStep{view.share, view.volume_id, map});
    plan.undo.push_back(
        RemoveFilesStep{view.share, {TemporaryName(InfoFileName(view.volume_id), operation_id)}});
    after.steps.push_back(ReplaceMap(view, std::move(map)));
  }
  plan.no_return = plan.steps.size();
  plan.steps.insert(plan.steps.end(), after.steps.begin(), after.steps.end());
  plan.steps.push_back(RemoveFilesStep{view.share, std::move(merged)});
  return plan;
}

Plan PlanRevert(const ChainView& view, const std::string& snapshot_id,
                const std::vector<std::string>& newer, const std::string& operation_id) {
  InfoMap map = view.map_or_new();
  const std::string layer = map.layers[snapshot_id];
  const auto i = static_cast<size_t>(IndexOf(view.chain, layer));
  const std::string fresh = TemporaryName(layer, operation_id);
  Plan plan;
  plan.steps = {EmptyLayer(view, fresh, i - 1)};
  RemoveFilesStep undo{view.share, {fresh}};
  const bool has_newer = i + 1 < view.chain.size();
  if (has_newer) {
    for (const std::string& id : newer) map.layers.erase(id);
    map.active = layer;
    plan.steps.push_back(PrepareMapStep{view.share, view.volume_id, map});
    undo.files.push_back(TemporaryName(InfoFileName(view.volume_id), operation_id));
  }
  plan.undo = {std::move(undo)};
  plan.no_return = plan.steps.size();
  if (has_newer) plan.steps.push_back(ReplaceMap(view, std::move(map)));
  plan.steps.push_back(RenameStep{view.share, fresh, layer, /*replaces=*/true});
  std::vector<std::string> dropped;  // newest first: what is left never refers to what is gone
  for (size_t above = view.chain.size() - 1; above > i; --above) {
    dropped.push_back(view.chain[above].file);
  }
  if (!dropped.empty()) plan.steps.push_back(RemoveFilesStep{view.share, std::move(dropped)});
  return plan;
}

Plan PlanDeleteVolume(const std::string& share, const std::string& volume_id,
                      const std::vector<std::string>& chain_oldest_first) {
  std::vector<std::string> files{InfoFileName(volume_id)};
  files.insert(files.end(), chain_oldest_first.rbegin(), chain_oldest_first.rend());
  Plan plan;
  plan.steps = {RemoveFilesStep{share, std::move(files)}};
  plan.no_return = 0;
  return plan;
}

Plan PlanMigrate(const ChainView& view, const std::string& target_share, bool allocate_base) {
  Plan plan;
  std::vector<std::string> files;
  for (const ChainLink& link : view.chain) {
    plan.steps.push_back(CopyFileStep{.source_share = view.share,
                                      .source_file = link.file,
                                      .share = target_share,
                                      .file = link.file,
                                      .allocate = allocate_base && files.empty()});
    files.push_back(link.file);
  }
  if (view.map.has_value()) {
    plan.steps.push_back(WriteMapStep{.share = target_share,
                                      .volume_id = view.volume_id,
                                      .map = *view.map,
                                      .former = FormerMap{}});
  }
  plan.no_return = plan.steps.size();
  std::reverse(files.begin(), files.end());
  files.insert(files.begin(), InfoFileName(view.volume_id));
  plan.undo = {RemoveFilesStep{target_share, files}};
  plan.steps.push_back(RemoveFilesStep{view.share, files});
  return plan;
}

}  // namespace cairn
