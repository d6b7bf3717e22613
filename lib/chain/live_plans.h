// The plans of what changes the chain of a volume that a machine has open: Cairn makes files, the
// hypervisor switches and merges, and the map follows.
//
// Two rules keep the truth findable when hypervisor and server die at any instant:
//   - the machine goes on writing into its active file, or into a new layer above it; never into a
//     file that lay below. So no active layer is committed downward with a pivot, after which nobody
//     could tell which of two files has the guest's last writes: an empty layer is put on top, and
//     what was active is merged as one in the middle;
//   - a file that was merged away stays until the hypervisor has said that all is durable: then the
//     merge can be done again, or taken back, whatever the headers say.
// The price: one layer that no snapshot needs may stay on top, until the volume is detached.
#ifndef CAIRN_LIB_CHAIN_LIVE_PLANS_H_
#define CAIRN_LIB_CHAIN_LIVE_PLANS_H_

#include <optional>
#include <string>
#include <vector>

#include "lib/chain/layer_plans.h"

namespace cairn {

// A volume of which a snapshot is taken.
struct SnapshotMember {
  ChainView view;
  std::string snapshot_id;
  std::string attachment_id;  // of the machine that has it open; empty: nobody has
};

// Snapshots of one or several volumes at one instant:
//   of one that is not in use: make the layer -> map
//   else: make the layers -> prepare the maps | no return | one switch of all in use -> maps
// A layer refers to what is there, a map to its layer. Until the switch the volumes are as before;
// without one, until the maps are written. What needs room comes before that.
Plan PlanCreateSnapshots(const std::vector<SnapshotMember>& members, bool quiesce,
                         const std::string& operation_id);

// Removes the layer of a snapshot and every other that no snapshot needs, except the active one:
//   each: the hypervisor merges it down | map | unlink
// When the snapshot's layer is the active one, then either the file below is merged up into it, or
// `fresh` is put on top first, whichever moves less data.
// `may_stream`: the former is possible. `thick`: the base is raw and has all its space, and is to have it
// also where it grows, which is done first.
Plan PlanDeleteSnapshotInUse(const ChainView& view, const std::string& snapshot_id,
                             const std::string& attachment_id, const std::string& fresh,
                             bool may_stream, bool thick = false);

// Freezes the volume's present content: `fresh` takes the writes, and what no snapshot needs is
// merged. From the plan's end on `frozen` and what lies below it stay as they are.
struct Freeze {
  Plan plan;
  ChainLink frozen;
};
Freeze PlanFreeze(const ChainView& view, const std::string& attachment_id,
                  const std::string& fresh);

// `grow`: a raw file grows first, which its user cannot see.
Plan PlanExtendInUse(const ChainView& view, const std::string& attachment_id, int64_t size_bytes,
                     std::optional<VolumeFormat> grow);

// Copies the frozen files, makes the active one anew and the map beside it, has the hypervisor copy
// what the active one holds | no return: it takes the new one | the old files go. `by_consumer`: what the
// hypervisor does here the consumer does, both at once.
Plan PlanMigrateInUse(const ChainView& view, const std::string& attachment_id, bool by_consumer,
                      const std::string& target_share, VolumeFormat format);

}  // namespace cairn

#endif  // CAIRN_LIB_CHAIN_LIVE_PLANS_H_
