// What the kinds that bring a volume into being share: the record that it has meanwhile, its place,
// and the check that its names are free on the share.
#ifndef CAIRN_LIB_ENGINE_WORK_NEW_VOLUME_H_
#define CAIRN_LIB_ENGINE_WORK_NEW_VOLUME_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "lib/engine/core.h"
#include "lib/engine/work.h"

namespace cairn {

// Creation is idempotent by id. Nothing when no volume has the id; the admission that answers with
// it when it was asked for in the same way; VOLUME_EXISTS when it differs.
struct AskedVolume {
  std::string id;
  std::string name;
  std::string pool;        // resolved
  std::string share;       // empty: any
  int64_t size_bytes = 0;  // 0: the source's
  std::optional<VolumeFormat> format;
  Labels labels;
  VolumeSource source;
};
absl::StatusOr<std::optional<Admission>> FindSameVolume(Core& core, const AskedVolume& asked);

// Chooses a share and makes the record of a volume that is being created. `physical_bytes`: what
// its content will really take, besides what thick allocation takes.
struct PlacedVolume {
  VolumeRecord record;
  Reservation reservation;
};
absl::StatusOr<PlacedVolume> PlaceVolume(Core& core, Pool& pool, const AskedVolume& asked,
                                         int64_t physical_bytes, const std::string& operation_id);

// FILE_EXISTS when the share has a file of that volume's names that no record knows: it is never
// replaced.
absl::Status CheckNamesFree(Core& core, const VolumeRecord& volume);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_WORK_NEW_VOLUME_H_
