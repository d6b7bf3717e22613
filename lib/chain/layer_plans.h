// The plans of everything that changes a chain: pure functions from what is there to what to do.
//
// The order in them is what keeps a chain readable at every instant; each function says why. Those here
// are for a volume that nobody has open; live_plans.h has the others.
#ifndef CAIRN_LIB_CHAIN_LAYER_PLANS_H_
#define CAIRN_LIB_CHAIN_LAYER_PLANS_H_

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/chain/chain.h"
#include "lib/chain/info_map.h"
#include "lib/chain/plan.h"

namespace cairn {

// A volume's files as they are before a change.
struct ChainView {
  std::string share;
  std::string volume_id;
  int64_t size_bytes = 0;      // of the volume
  Chain chain;                 // as read from the headers
  std::optional<InfoMap> map;  // nothing: there was never a snapshot

  const ChainLink& active() const { return chain.back(); }
  // The map, or what it would say.
  InfoMap map_or_new() const { return map.value_or(InfoMap{active().file, {}}); }
};

std::vector<std::string> FilesOf(const Chain& chain);
std::set<std::string> LayersIn(const InfoMap& map);
// Replaces the view's map by `map`; the step knows what the former one says.
WriteMapStep ReplaceMap(const ChainView& view, InfoMap map);
// An empty layer of the volume's present size on top of `chain[below]`.
MakeImageStep EmptyLayer(const ChainView& view, std::string file, size_t below);

// Layers that lie directly on one another and that no snapshot needs: positions in the chain. They are
// merged into the file below `first`, which is never the base.
struct SurplusRun {
  size_t first = 0;
  size_t last = 0;
  bool operator==(const SurplusRun&) const = default;
};
// In a chain (bare names, oldest first) those that are not the layer of a snapshot, lowest first. A
// volume that was in use may have one that was made for no snapshot.
std::vector<SurplusRun> FindSurplus(const std::vector<std::string>& chain,
                                    const std::set<std::string>& layers_of_snapshots);

// Removes the layer that was made for a snapshot, and every other that no snapshot needs, by merging
// them into the file below:
//   middle: commit -> point the layer above at the file below -> map -> unlink
//   newest: commit -> map (active = the file below) -> unlink
// A file below that is smaller, as after an extension, is grown first: really allocated where the volume
// is thick, with zeros where a raw file ends within a sector or a qcow2 file holds old data behind its end.
// Not undoable from the first commit on: it overwrites what the snapshot holds. Unlinking
// before the header and the map have changed would leave a chain that cannot be read after a crash.
// Several that lie on one another are merged from the top down, so that to begin again does no harm.
// A commit knows what it moves at most: its layer, and those that were merged into that before.
// A layer that is no longer in the chain was merged by an earlier try: map -> unlink.
Plan PlanDeleteSnapshot(const ChainView& view, const std::string& snapshot_id,
                        VolumeFormat base_format);

// Merges `runs`, all that no snapshot needs, where no snapshot's deletion asks for it:
//   grow -> commits -> prepare the map | no return | point the layers above at the files below -> map -> unlink
// Until the point of no return it can be given up at any instant, in the midst of a commit too: what a run is
// merged into holds no snapshot's content, and is covered by the run.
Plan PlanMergeLayers(const ChainView& view, const std::vector<SurplusRun>& runs,
                     VolumeFormat base_format, const std::string& operation_id);

// Throws away everything written since a snapshot: an empty layer takes the place of the one that
// was made for it. `newer`: the ids of the snapshots after it, whose layers go too.
//   make the empty layer under another name -> prepare the map (active = this snapshot's layer,
//   newer ones gone) | no return | map -> rename the empty layer over it -> unlink the newer layers
// What needs room comes before the point of no return. Between map and rename the volume shows the
// next snapshot's content: a state that can be read and that the journal finishes.
Plan PlanRevert(const ChainView& view, const std::string& snapshot_id,
                const std::vector<std::string>& newer, const std::string& operation_id);

// map -> active file -> ... -> base: nothing that is left refers to what is gone.
Plan PlanDeleteVolume(const std::string& share, const std::string& volume_id,
                      const std::vector<std::string>& chain_oldest_first);

// Copies every file, then the map, to another share; from `no_return` on (the volume's record then
// names the new share) the old ones go.
Plan PlanMigrate(const ChainView& view, const std::string& target_share, bool allocate_base);

}  // namespace cairn

#endif  // CAIRN_LIB_CHAIN_LAYER_PLANS_H_
