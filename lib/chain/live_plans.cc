#include "lib/chain/live_plans.h"

#include <algorithm>

#include "lib/chain/step_runner.h"

namespace cairn {
namespace {

// What undoes a layer, and the map that may have been written for it.
void UndoWithMap(const ChainView& view, const std::string& snapshot_id, const std::string& layer,
                 std::vector<Step>& undo) {
  std::vector<std::string> made;
  if (view.map.has_value()) {
    undo.push_back(WriteMapStep{.share = view.share,
                                .volume_id = view.volume_id,
                                .map = *view.map,
                                .former = FormerMap{layer, {snapshot_id}}});
  } else {
    made.push_back(InfoFileName(view.volume_id));
  }
  made.push_back(layer);
  undo.push_back(RemoveFilesStep{view.share, made});
}

// The map that a member's snapshot brings.
InfoMap MapWith(const SnapshotMember& member) {
  InfoMap map = member.view.map_or_new();
  map.active = LayerFileName(member.view.volume_id, member.snapshot_id);
  map.layers[member.snapshot_id] = map.active;
  return map;
}

CheckDiskStep CheckDisk(const ChainView& view, const std::string& attachment_id) {
  std::vector<std::string> files = FilesOf(view.chain);
  std::reverse(files.begin(), files.end());
  return {view.share, view.volume_id, attachment_id, std::move(files), view.size_bytes};
}

// Puts a plan for one disk together, and follows what the chain becomes by it.
class DiskPlan {
 public:
  DiskPlan(const ChainView& view, std::string attachment_id)
      : view_(view), attachment_id_(std::move(attachment_id)), chain_(view.chain), at_map_(view) {
    plan_.no_return = static_cast<size_t>(-1);
    plan_.steps.push_back(CheckDisk(view, attachment_id_));
  }

  void Change(DiskChange change) {
    plan_.no_return = std::min(plan_.no_return, plan_.steps.size());
    plan_.steps.push_back(
        ChangeDisksStep{view_.share, {{view_.volume_id, attachment_id_, std::move(change)}}});
  }

  // What is merged into the base makes it as large as this, and the hypervisor allocates nothing there.
  void AllocateBase(int64_t size_bytes) {
    const ChainLink& base = chain_.front();
    if (base.image.virtual_size >= size_bytes) return;
    plan_.steps.push_back(
        GrowImageStep{view_.share, base.file, VolumeFormat::kRawThick, size_bytes});
    plan_.undo.push_back(
        UngrowImageStep{view_.share, base.file, base.image.format, base.image.virtual_size});
  }

  void SwitchTo(const std::string& fresh) {
    plan_.steps.push_back(EmptyLayer(view_, fresh, chain_.size() - 1));
    plan_.undo.push_back(RemoveFilesStep{view_.share, {fresh}});
    Change(LayerSwitch{fresh, chain_.back().file, chain_.back().image.format});
    ChainLink link{fresh, {}};
    link.image.format = FileFormat::kQcow2;
    chain_.push_back(std::move(link));
  }

  // Merges chain[at] into the one below; not the active one.
  void CommitDown(size_t at) {
    const ChainLink below = chain_[at - 1];
    const std::string above = chain_[at + 1].file;
    Change(LayerMerge{MergeDirection::kCommit, chain_[at].file, below.file, above, below.file,
                      below.image.format, below.image.format});
    Drop(at);
  }

  // Merges the file below the active one into it.
  void StreamUp() {
    const size_t top = chain_.size() - 1;
    LayerMerge merge{.direction = MergeDirection::kStream,
                     .top = chain_[top].file,
                     .base = chain_[top - 1].file,
                     .rebased = chain_[top].file,
                     .backing_after = {}};
    if (top >= 2) {
      merge.backing_after = chain_[top - 2].file;
      merge.backing_format_after = chain_[top - 2].image.format;
    }
    merge.base_format = chain_[top - 1].image.format;
    Change(merge);
    Drop(top - 1);
  }

  // Everything that no snapshot needs, but the active one. Lowest first, so that data moves once: a
  // merge that the headers show as done is not done again.
  void CommitSurplus(const InfoMap& map) {
    const std::set<std::string> kept = LayersIn(map);
    for (size_t i = 1; i + 1 < chain_.size();) {
      if (kept.count(chain_[i].file) != 0) {
        ++i;
      } else {
        CommitDown(i);
      }
    }
  }

  void WriteMap(InfoMap map) {
    map.active = chain_.back().file;
    plan_.steps.push_back(ReplaceMap(at_map_, map));
    at_map_.map = std::move(map);
  }

  void RemoveDropped() {
    if (dropped_.empty()) return;
    std::reverse(dropped_.begin(), dropped_.end());
    plan_.steps.push_back(RemoveFilesStep{view_.share, dropped_});
  }

  const Chain& chain() const { return chain_; }
  Plan Take() {
    plan_.no_return = std::min(plan_.no_return, plan_.steps.size());
    return std::move(plan_);
  }

 private:
  void Drop(size_t at) {
    dropped_.push_back(chain_[at].file);
    chain_.erase(chain_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  const ChainView& view_;
  const std::string attachment_id_;
  Chain chain_;
  ChainView at_map_;  // as the volume is when the next map is written
  Plan plan_;
  std::vector<std::string> dropped_;
};

// A stream moves what the lower file holds, a commit what the upper one holds; only a clear
// advantage is worth that the upper one grows.
bool StreamIsBetter(const Chain& chain) {
  const size_t top = chain.size() - 1;
  return chain[top - 1].image.physical_bytes * 2 <= chain[top].image.physical_bytes;
}

}  // namespace

Plan PlanCreateSnapshots(const std::vector<SnapshotMember>& members, bool quiesce,
                         const std::string& operation_id) {
  Plan plan;
  const bool in_use = std::any_of(members.begin(), members.end(), [](const SnapshotMember& member) {
    return !member.attachment_id.empty();
  });
  const bool prepares = in_use || members.size() > 1;
  ChangeDisksStep change;
  for (const SnapshotMember& member : members) {
    if (!member.attachment_id.empty()) {
      plan.steps.push_back(CheckDisk(member.view, member.attachment_id));
    }
  }
  for (const SnapshotMember& member : members) {
    const ChainView& view = member.view;
    const std::string layer = LayerFileName(view.volume_id, member.snapshot_id);
    plan.steps.push_back(EmptyLayer(view, layer, view.chain.size() - 1));
    if (prepares) {
      plan.undo.push_back(RemoveFilesStep{
          view.share, {TemporaryName(InfoFileName(view.volume_id), operation_id), layer}});
    } else {
      UndoWithMap(view, member.snapshot_id, layer, plan.undo);
    }
    if (member.attachment_id.empty()) continue;
    change.share = view.share;
    change.instructions.push_back(
        {view.volume_id, member.attachment_id,
         LayerSwitch{layer, view.active().file, view.active().image.format, quiesce}});
  }
  if (prepares) {
    for (const SnapshotMember& member : members) {
      plan.steps.push_back(
          PrepareMapStep{member.view.share, member.view.volume_id, MapWith(member)});
    }
  }
  const size_t prepared = plan.steps.size();
  if (in_use) plan.steps.push_back(std::move(change));
  for (const SnapshotMember& member : members) {
    plan.steps.push_back(ReplaceMap(member.view, MapWith(member)));
  }
  plan.no_return = prepares ? prepared : plan.steps.size();
  return plan;
}

Plan PlanDeleteSnapshotInUse(const ChainView& view, const std::string& snapshot_id,
                             const std::string& attachment_id, const std::string& fresh,
                             bool may_stream, bool thick) {
  const InfoMap before = view.map_or_new();
  InfoMap after = before;
  after.layers.erase(snapshot_id);
  const auto found = before.layers.find(snapshot_id);
  const std::string layer = found == before.layers.end() ? "" : found->second;
  DiskPlan disk(view, attachment_id);
  const std::vector<SurplusRun> runs = FindSurplus(FilesOf(view.chain), LayersIn(after));
  if (thick && !runs.empty() && runs[0].first == 1) {
    disk.AllocateBase(view.chain[runs[0].last].image.virtual_size);
  }
  if (layer == view.active().file) {
    if (may_stream && StreamIsBetter(view.chain)) {
      disk.StreamUp();
      // The snapshot below, if there is one, lies directly below the active file now.
      for (auto& [id, of] : after.layers) {
        if (of == view.chain[view.chain.size() - 2].file) of = layer;
      }
    } else {
      disk.SwitchTo(fresh);
      disk.WriteMap(before);
    }
  }
  disk.CommitSurplus(after);
  disk.WriteMap(std::move(after));
  disk.RemoveDropped();
  return disk.Take();
}

Freeze PlanFreeze(const ChainView& view, const std::string& attachment_id,
                  const std::string& fresh) {
  DiskPlan disk(view, attachment_id);
  disk.SwitchTo(fresh);
  disk.WriteMap(view.map_or_new());
  disk.CommitSurplus(view.map_or_new());
  disk.RemoveDropped();
  const Chain& chain = disk.chain();
  ChainLink frozen = chain[chain.size() - 2];
  return {disk.Take(), std::move(frozen)};
}

Plan PlanExtendInUse(const ChainView& view, const std::string& attachment_id, int64_t size_bytes,
                     std::optional<VolumeFormat> grow) {
  const std::string& active = view.active().file;
  Plan plan;
  plan.steps.push_back(CheckDisk(view, attachment_id));
  if (grow.has_value()) {
    plan.steps.push_back(GrowImageStep{view.share, active, *grow, size_bytes});
    plan.undo.push_back(UngrowImageStep{view.share, active, FileFormat::kRaw, view.size_bytes});
  }
  plan.no_return = plan.steps.size();
  plan.steps.push_back(ChangeDisksStep{
      view.share, {{view.volume_id, attachment_id, DiskResize{active, size_bytes}}}});
  return plan;
}

Plan PlanMigrateInUse(const ChainView& view, const std::string& attachment_id, bool by_consumer,
                      const std::string& target_share, VolumeFormat format) {
  const ChainLink& active = view.active();
  const std::vector<DiskInstruction> move = {
      {view.volume_id, attachment_id,
       DiskMove{active.file, active.image.format, target_share, by_consumer}}};
  Plan plan;
  plan.steps.push_back(CheckDisk(view, attachment_id));
  // One of an earlier try would go on writing into a file that is about to be replaced.
  if (!by_consumer) plan.steps.push_back(StopMirrorStep{view.share, move});
  for (size_t i = 0; i + 1 < view.chain.size(); ++i) {
    plan.steps.push_back(CopyFileStep{.source_share = view.share,
                                      .source_file = view.chain[i].file,
                                      .share = target_share,
                                      .file = view.chain[i].file,
                                      .allocate = i == 0 && format == VolumeFormat::kRawThick &&
                                                  view.chain[i].image.format == FileFormat::kRaw});
  }
  MakeImageStep make{.share = target_share,
                     .file = active.file,
                     .format = format,
                     .size_bytes = view.size_bytes,
                     .backing_file = {}};
  if (view.chain.size() > 1) {
    make = EmptyLayer(view, active.file, view.chain.size() - 2);
    make.share = target_share;
  } else if (active.image.format == FileFormat::kQcow2) {
    make.format = VolumeFormat::kQcow2;
  }
  plan.steps.push_back(std::move(make));
  if (view.map.has_value()) {
    plan.steps.push_back(WriteMapStep{.share = target_share,
                                      .volume_id = view.volume_id,
                                      .map = *view.map,
                                      .former = FormerMap{}});
  }
  if (!by_consumer) plan.steps.push_back(MirrorDiskStep{view.share, move});
  plan.no_return = plan.steps.size();
  plan.steps.push_back(ChangeDisksStep{view.share, move});
  std::vector<std::string> files = FilesOf(view.chain);
  std::reverse(files.begin(), files.end());
  files.insert(files.begin(), InfoFileName(view.volume_id));
  if (!by_consumer) plan.undo.push_back(StopMirrorStep{view.share, move});
  plan.undo.push_back(RemoveFilesStep{target_share, files});
  plan.steps.push_back(RemoveFilesStep{view.share, std::move(files)});
  return plan;
}

}  // namespace cairn
