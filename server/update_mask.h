// The fields that Update methods change, by their mask.
#ifndef CAIRN_SERVER_UPDATE_MASK_H_
#define CAIRN_SERVER_UPDATE_MASK_H_

#include "lib/base/status.h"
#include "server/convert.h"

namespace cairn {

// Takes `name`, `labels` and `expected_revision` into `core`. INVALID_FIELD for an empty mask and
// for a path that is neither.
template <typename Proto, typename Core>
absl::Status TakeUpdate(const Proto& request, Core* core) {
  if (request.update_mask().paths_size() == 0) {
    return InvalidField("update_mask", "must say what to change: name, labels, or both");
  }
  for (const std::string& path : request.update_mask().paths()) {
    if (path == "name") {
      core->name = request.name();
    } else if (path == "labels") {
      core->labels = LabelsFrom(request.labels());
    } else {
      return InvalidField("update_mask", "may hold only name and labels", path);
    }
  }
  if (request.expected_revision() < 0) {
    return InvalidField("expected_revision", "must not be negative");
  }
  core->expected_revision = request.expected_revision();
  return absl::OkStatus();
}

}  // namespace cairn

#endif  // CAIRN_SERVER_UPDATE_MASK_H_
