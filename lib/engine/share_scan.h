// Compares what lies on a share with the catalog, by names alone: no data is read.
#ifndef CAIRN_LIB_ENGINE_SHARE_SCAN_H_
#define CAIRN_LIB_ENGINE_SHARE_SCAN_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/engine/core.h"

namespace cairn {

struct ScanReport {
  std::vector<std::string> swept;    // temporary files of operations that have ended
  std::vector<std::string> unknown;  // volume-* files that no record names: reported, never removed
  std::vector<std::string> missing;  // files that a record names and that are not there
};

// Blocking; on the share's lane. `running`: whether an operation has not ended yet (its temporary
// files stay). What is found is also logged.
absl::StatusOr<ScanReport> ScanShare(
    const Core& core, const Share& share,
    const std::function<bool(const std::string& operation)>& running);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_SHARE_SCAN_H_
