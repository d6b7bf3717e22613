// What Cairn asks of the machine that has a volume's disk open: to switch the disk to a new layer,
// to merge layers, to resize and to move it, without the guest noticing.
//
// The implementations are QMP and libvirt. A connection is made for a few questions and closed
// again: long work is a job in the hypervisor, which goes on by itself and is found again by its
// id, also by another process after a restart of the server.
//
// Every method can be repeated: what is there already is done. Errors:
//   HYPERVISOR_UNAVAILABLE  it does not answer (any more). Whether the change took effect is not
//                           known: ask Look() when it answers again. Metadata gone = "true" when
//                           nobody listens at its UNIX socket: the process has ended
//   HYPERVISOR_MISMATCH     the disk is not there, or has other files open. Nothing was changed
//   HYPERVISOR_FAILED       it refused, or its job failed; the message has its own words. The disk
//                           has the same files open as before
//   NO_SPACE                as HYPERVISOR_FAILED, for that reason
//   CANCELLED               the job was cancelled; as HYPERVISOR_FAILED else
// Each says what was attempted, at which address. Blocking, with the limits of HypervisorOptions;
// one thread at a time.
//
//   ASSIGN_OR_RETURN(auto hypervisor, ConnectHypervisor(attachment.hypervisor, {}));
//   ASSIGN_OR_RETURN(DiskState disk, hypervisor->Look({attachment.hypervisor.disk, volume_id}));
#ifndef CAIRN_LIB_HYPERVISOR_HYPERVISOR_H_
#define CAIRN_LIB_HYPERVISOR_HYPERVISOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/disk_change.h"
#include "lib/base/format.h"
#include "lib/base/hypervisor_address.h"

namespace cairn {

struct HypervisorOptions {
  // Of a connection with its greeting, and of one answer. A live QEMU answers within milliseconds; a
  // switch waits for the guest's writes in flight, a slow share makes those slow.
  absl::Duration connect_timeout = absl::Seconds(5);
  absl::Duration answer_timeout = absl::Seconds(30);
};

// A disk of the machine. The volume's id finds it again when the name that was given is no longer
// that of the active layer: a QMP node name stays with the file it was given to.
struct DiskRef {
  std::string disk;  // HypervisorAddress::disk
  std::string volume_id;
};

// What a disk has open: the truth after an interruption.
struct DiskState {
  std::string directory;           // where its files are, as the hypervisor sees them
  std::vector<std::string> files;  // bare names, the active one first, then each backing file
  int64_t size_bytes = 0;          // as the guest sees it
};

struct JobState {
  enum class Phase {
    kRunning,
    kReady,  // of a move: both files are the same, and nothing is written to the disk
    kDone,
  };
  Phase phase = Phase::kRunning;
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;
  bool begun = false;  // by this call: one that was on its way before has ended without a word
};

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  virtual absl::StatusOr<DiskState> Look(const DiskRef& disk) = 0;

  // Of several disks of this machine at one instant: all or none. After OK every later write goes
  // to the new layers. With `quiesce` in any of them the guest's file systems are frozen meanwhile.
  struct DiskSwitch {
    DiskRef disk;
    LayerSwitch change;
  };
  virtual absl::Status SwitchToLayers(const std::vector<DiskSwitch>& switches) = 0;

  // One look at a long merge: begins it when it is neither done nor on its way, waits for its end
  // for up to `patience`, and says how far it is. `job_id`: a name for it, unique in this machine,
  // of letters, digits and hyphens, beginning with a letter. After kDone nothing of the machine has
  // the file open that left the chain.
  virtual absl::StatusOr<JobState> Merge(const DiskRef& disk, const LayerMerge& merge,
                                         const std::string& job_id, absl::Duration patience) = 0;

  // One look at a long copy of the active file into its counterpart in `target_directory` (as the
  // hypervisor sees that), up to kReady: the copy is then durable, and the guest's writes wait for
  // FinishMirror or CancelJob, which should be some milliseconds away. If the machine dies before
  // FinishMirror was called, the old file has everything; if after, the copy has. Begins it when it
  // is not on its way. kDone: the disk has moved already.
  virtual absl::StatusOr<JobState> Mirror(const DiskRef& disk, const DiskMove& move,
                                          const std::string& target_directory,
                                          const std::string& job_id, absl::Duration patience) = 0;
  // Lets a mirror that is kReady take the disk over. HYPERVISOR_MISMATCH when there is none any
  // more and the disk has not moved.
  virtual absl::Status FinishMirror(const DiskRef& disk, const DiskMove& move,
                                    const std::string& target_directory,
                                    const std::string& job_id) = 0;

  // Ends a job that has not ended; none of that name is no error. After OK it is gone, done or not:
  // Look() tells. A merge downward must not be cancelled for good: its base has changed.
  virtual absl::Status CancelJob(const DiskRef& disk, const std::string& job_id) = 0;

  // The present size is no error.
  virtual absl::Status Resize(const DiskRef& disk, const DiskResize& resize) = 0;
};

// For kQmp and kLibvirt. INVALID_FIELD for an address of another form, HYPERVISOR_UNAVAILABLE when
// nobody answers there: nothing was asked yet, so nothing has changed.
absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectHypervisor(const HypervisorAddress& address,
                                                              const HypervisorOptions& options);

// INVALID_FIELD when `address` cannot be right: what AttachVolume checks.
absl::Status CheckHypervisorAddress(const HypervisorAddress& address);

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_HYPERVISOR_H_
