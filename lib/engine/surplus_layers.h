// Layers that no snapshot needs: which they are, and whether they can be merged now.
#ifndef CAIRN_LIB_ENGINE_SURPLUS_LAYERS_H_
#define CAIRN_LIB_ENGINE_SURPLUS_LAYERS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/catalog/catalog.h"
#include "lib/chain/layer_plans.h"
#include "lib/engine/core.h"

namespace cairn {

// VolumeRecord::surplus_layers of `volume` once `records` are committed, from memory.
std::vector<std::string> SurplusLayers(const Catalog& catalog, const VolumeRecord& volume,
                                       const Transaction& records = {});

// The runs of files in the volume's chain that no snapshot needs, once `gone` is none any more (empty:
// all stay).
std::vector<SurplusRun> SurplusRuns(const Catalog& catalog, const ChainView& view,
                                    std::string_view gone = {});

// Everything that could stop the merges is looked at before they begin: other names and users of the files,
// internal snapshots of QEMU, and the room. Says in the log what goes with the layers. Blocks on the share.
struct MergeCheck {
  std::string operation_id;  // for the log
  bool in_use = false;       // a machine writes to the files
};
absl::Status CheckMerges(const Core& core, const VolumeRecord& volume, const ChainView& view,
                         const std::vector<SurplusRun>& runs, const MergeCheck& check);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_SURPLUS_LAYERS_H_
