// Asks the machines that have volumes open: carries out the steps of a plan that are about disks in use.
//
// Blocking, for seconds at most: work that takes longer is a job in the hypervisor, which is looked
// at again and again. Call it on the executor of its own, so that a hypervisor that hangs holds up
// neither a share nor another operation for long. Thread-safe.
#ifndef CAIRN_LIB_ENGINE_MACHINES_H_
#define CAIRN_LIB_ENGINE_MACHINES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/chain/plan.h"
#include "lib/engine/core.h"
#include "lib/exec/executor.h"
#include "lib/hypervisor/hypervisor.h"

namespace cairn {

class Machines {
 public:
  explicit Machines(Core* core);  // not owned, must outlive this

  Executor& executor() { return executor_; }

  struct Call {
    std::string operation_id;
    size_t step = 0;  // its place in the plan
    CancelToken cancel;
    // Set once the machine may have been told to change something.
    bool* asked = nullptr;
  };
  enum class Outcome {
    kDone,
    kGoesOn,         // look again later
    kNeedsConsumer,  // it must do it
    kDetached,       // no disk of the step is attached any more
  };
  struct Answer {
    Outcome outcome = Outcome::kDone;
    JobState job;
  };
  // The errors of hypervisor.h; CANCELLED when the call was cancelled and nothing has changed.
  absl::StatusOr<Answer> CarryOut(const Step& step, const Call& call);

 private:
  absl::StatusOr<Answer> CheckDisk(const CheckDiskStep& step);
  absl::StatusOr<Answer> CheckClosed(const CheckClosedStep& step);
  absl::StatusOr<Answer> NothingAtWork(const std::string& volume_id) const;
  absl::StatusOr<Answer> Change(const ChangeDisksStep& step, const Call& call);
  absl::StatusOr<Answer> Merge(const Attachment& attachment, const LayerMerge& merge,
                               const Call& call);
  absl::StatusOr<Answer> Mirror(const MirrorDiskStep& step, const Call& call);
  absl::StatusOr<Answer> StopMirror(const StopMirrorStep& step, const Call& call);
  absl::StatusOr<std::unique_ptr<Hypervisor>> Connect(const Attachment& attachment) const;
  absl::StatusOr<std::string> TargetDirectory(Hypervisor& hypervisor, const Attachment& attachment,
                                              const DiskMove& move) const;

  Core* const core_;
  Executor executor_;
};

// The attachment as it is now: its machine may have moved. Null volume record or no such attachment:
// nothing.
std::optional<Attachment> FindAttachment(const Core& core, const std::string& volume_id,
                                         const std::string& attachment_id);

// Whether nobody has any of the step's disks any more, and it can be done without them.
bool IsDetached(const Core& core, const ChangeDisksStep& step);

// Through which attachment the chain of a volume in use can be changed. Nothing when it is attached
// to nobody; VOLUME_IN_USE when nobody can be asked to change it.
absl::StatusOr<std::optional<Attachment>> LiveUse(const VolumeRecord& volume,
                                                  std::string_view attempted);

// The records as they are when the instruction has been carried out.
void RecordChange(const Core& core, const DiskInstruction& instruction, Transaction& records);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_MACHINES_H_
