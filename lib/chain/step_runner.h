// Carries out one step of a plan on the shares. Blocking; call it from a share's lane. Thread-safe.
#ifndef CAIRN_LIB_CHAIN_STEP_RUNNER_H_
#define CAIRN_LIB_CHAIN_STEP_RUNNER_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/chain/plan.h"
#include "lib/image/image.h"
#include "lib/image/image_tool.h"
#include "lib/os/file_system.h"

namespace cairn {

struct StepContext {
  FileSystem* files = nullptr;
  ImageTool* tool = nullptr;
  // Where a share's files are; UNAVAILABLE when the share is not usable.
  std::function<absl::StatusOr<std::string>(const std::string& share)> directory_of;
  // What the share can do by itself, as found out when it came up; empty: each step tries.
  std::function<FileAbilities(const std::string& share)> abilities_of;
  FilePermissions permissions;
  bool preallocate_metadata = true;
  std::function<absl::Status()> before_name;  // of a MakeImageStep: see CreateImageOptions
  bool synced_by_next = false;  // the step that follows makes new names last: see IsSyncedByNext
  bool prepared = false;        // of a WriteMapStep: see IsPrepared
  bool again = false;           // the step may have been begun, or done, before
  std::string operation_id;     // names the temporary files: ".<name>.tmp-<operation-id>"
  CancelToken cancel;
  ProgressFn progress;
  // Set to true before the step changes what cannot be brought back. A step that fails with it still
  // false has left everything as it was. May be null.
  bool* changed = nullptr;
};

// The steps' own rule holds: done twice, the outcome is the same. ReceiveContentStep only makes the
// empty file that is then filled.
absl::Status RunStep(const Step& step, const StepContext& context);

// ".<name>.tmp-<operation-id>": what nothing refers to yet. Start-up sweeps those of ended
// operations.
std::string TemporaryName(std::string_view file, std::string_view operation_id);
// The operation's id if `file` is a name of that form; else empty.
std::string OperationOfTemporary(std::string_view file);

}  // namespace cairn

#endif  // CAIRN_LIB_CHAIN_STEP_RUNNER_H_
