// Writing the content of a new volume, piece by piece.
#ifndef CAIRN_LIB_ENGINE_IMPORT_SESSION_H_
#define CAIRN_LIB_ENGINE_IMPORT_SESSION_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "lib/engine/conductor.h"
#include "lib/engine/core.h"
#include "lib/engine/streams.h"
#include "lib/exec/timer.h"

namespace cairn {

// Submits the operation and opens its file. The operation is cancelled when the session is dropped
// before Finish, or when nothing has come for a minute.
void OpenImport(Core* core, Conductor* conductor, Timer* timer, ImportVolumeRequest request,
                Caller caller,
                std::function<void(absl::StatusOr<std::unique_ptr<ImportSession>>)> done);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_IMPORT_SESSION_H_
