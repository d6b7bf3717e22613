// Reading the content of a volume or snapshot, piece by piece.
#ifndef CAIRN_LIB_ENGINE_EXPORT_SESSION_H_
#define CAIRN_LIB_ENGINE_EXPORT_SESSION_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/engine/conductor.h"
#include "lib/engine/core.h"
#include "lib/engine/streams.h"
#include "lib/exec/timer.h"

namespace cairn {

// A volume that is being written to is read through a temporary snapshot, which goes with the session.
// Holds the volume shared from when `done` is called until the session is dropped, or until nobody
// has asked for a piece for a minute: a reader that went to sleep must not hold up the volume's
// operations.
void OpenExport(Core* core, Conductor* conductor, Timer* timer, ExportRequest request,
                std::function<void(absl::StatusOr<std::unique_ptr<ExportSession>>)> done);

// Deletes a snapshot that an export took for itself; one that is gone is no error.
void RemoveTemporarySnapshot(Conductor& conductor, const std::string& snapshot_id);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_EXPORT_SESSION_H_
