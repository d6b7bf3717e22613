// What the catalog keeps: volumes, snapshots, operations, shares. Plain values; a record that was given out
// is never changed, a newer one takes its place with a higher revision.
#ifndef CAIRN_LIB_CATALOG_RECORDS_H_
#define CAIRN_LIB_CATALOG_RECORDS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/disk_change.h"
#include "lib/base/format.h"
#include "lib/base/hypervisor_address.h"
#include "lib/base/monotonic_time.h"

namespace cairn {

using Labels = std::map<std::string, std::string>;

enum class VolumeState {
  kCreating,
  kAvailable,
  kInUse,
  kExtending,
  kReverting,
  kMigrating,
  kDeleting,
  kError,
};
enum class SnapshotState { kCreating, kAvailable, kDeleting, kError };
enum class OperationState {
  kQueued,
  kRunning,
  kWaitingForConsumer,
  kCancelling,
  kSucceeded,
  kFailed,
  kCancelled,
  kAbandoned,
};
enum class OperationKind {
  kCreateVolume,
  kUpdateVolume,
  kDeleteVolume,
  kExtendVolume,
  kMigrateVolume,
  kAttachVolume,
  kDetachVolume,
  kAdoptVolume,
  kImportVolume,
  kCreateSnapshot,
  kUpdateSnapshot,
  kDeleteSnapshot,
  kRevertToSnapshot,
  kMergeLayers,
};

// "AVAILABLE", "CREATE_VOLUME" ...: the names of the public contract, also used in filters.
std::string_view VolumeStateName(VolumeState state);
std::string_view SnapshotStateName(SnapshotState state);
std::string_view OperationStateName(OperationState state);
std::string_view OperationKindName(OperationKind kind);
std::optional<VolumeState> VolumeStateFromName(std::string_view name);
std::optional<SnapshotState> SnapshotStateFromName(std::string_view name);
std::optional<OperationState> OperationStateFromName(std::string_view name);
std::optional<OperationKind> OperationKindFromName(std::string_view name);

inline bool Ended(OperationState state) {
  return state == OperationState::kSucceeded || state == OperationState::kFailed ||
         state == OperationState::kCancelled || state == OperationState::kAbandoned;
}

enum class AccessMode { kReadWrite, kReadOnly };

struct Attachment {
  std::string id;
  std::string volume_id;
  std::string instance_id;
  std::string host;
  AccessMode access = AccessMode::kReadWrite;
  HypervisorAddress hypervisor;
  absl::Time create_time;
  bool operator==(const Attachment&) const = default;
};

// Where a volume's first content came from.
struct VolumeSource {
  enum class Kind { kNone, kSnapshot, kVolume, kImage, kImport, kAdopted };
  Kind kind = Kind::kNone;
  std::string id_or_path;
  bool operator==(const VolumeSource&) const = default;
};

struct VolumeRecord {
  std::string id;
  std::string name;
  std::string pool;
  std::string share;       // "host:/export" or "file:///dir"
  int64_t size_bytes = 0;  // what the consumer sees
  VolumeFormat format = VolumeFormat::kRawSparse;
  VolumeState state = VolumeState::kCreating;
  std::string state_reason;  // for people; empty when all is well
  Labels labels;
  std::string active_file;  // bare name; "volume-<id>" before the first snapshot
  // The files of the chain, oldest first: base, then each layer up to the active one. Bare names.
  std::vector<std::string> chain;
  // Those files of the chain that are no snapshot's layer, and not its base: a volume that was in use may
  // have some until it is detached. In the chain's order.
  std::vector<std::string> surplus_layers;
  // Volumes by other systems may have a base file whose name or format differs: what is recorded
  // holds.
  FileFormat base_format = FileFormat::kRaw;
  int64_t physical_bytes = 0;  // as last measured
  int64_t file_bytes = 0;      // apparent size of all its files, as last measured
  std::vector<Attachment> attachments;
  VolumeSource source;
  absl::Time create_time;
  absl::Time update_time;
  int64_t revision = 0;           // set by the catalog
  std::string current_operation;  // id; empty when none
  std::string created_by;  // id of the operation that made it: the answer to a repeated request
};

struct SnapshotRecord {
  std::string id;
  std::string volume_id;
  std::string name;
  Labels labels;
  SnapshotState state = SnapshotState::kCreating;
  std::string state_reason;
  int64_t size_bytes = 0;  // virtual size at its instant
  std::string file;        // the backing file that holds its content
  std::string layer;       // the file that was made when it was taken (value in .info)
  bool created_in_use = false;
  bool quiesced = false;
  std::string group_id;
  bool temporary = false;  // of the engine's own: goes when what it was taken for has ended
  absl::Time create_time;
  absl::Time update_time;
  int64_t revision = 0;
  std::string created_by;  // id of the operation that made it
};

struct OperationRecord {
  std::string id;
  OperationKind kind = OperationKind::kCreateVolume;
  std::string volume_id;  // the volume it works on
  std::string target;     // volume, snapshot or attachment id that it is about
  OperationState state = OperationState::kQueued;
  std::string request;       // the engine's request as JSON: enough to begin again
  std::string request_id;    // the caller's; empty when none
  std::string requested_by;  // peer or principal, for people
  std::string plan;          // the journal: steps as JSON; empty before it is planned
  bool no_return = false;    // the point is passed after which it can only go forward
  int64_t next_step = 0;     // of the plan: those before it are done for good
  // What the consumer has to do, and the number of that among the operation's steps for consumers:
  // 1 for the first, 0 before it. The number stays when it is done.
  std::vector<DiskInstruction> instructions;
  int64_t consumer_step = 0;
  std::string step;  // in words, for people
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;
  bool cancellable = false;
  absl::Status error;   // with reason and metadata, when FAILED, CANCELLED or ABANDONED
  absl::Status parked;  // why it waits and is tried again; OK: it does not. Not kept on the disk
  absl::Time create_time;
  absl::Time start_time = absl::InfinitePast();
  absl::Time end_time = absl::InfiniteFuture();
  MonotonicTime running_since;  // of this run of the server, for estimates; never stored
  int64_t revision = 0;
};

// A share as it was when it was first used, or last accepted: another one under the same address is
// not that share.
struct ShareRecord {
  std::string address;   // its key: "host:/export" or "file:///dir"
  std::string identity;  // UUID, which the share itself holds too
  absl::Time create_time;
  absl::Time update_time;
  int64_t revision = 0;
};

// What a record is found by, whatever its kind.
template <typename Record>
const std::string& KeyOf(const Record& record) {
  return record.id;
}
inline const std::string& KeyOf(const ShareRecord& record) { return record.address; }

using VolumePtr = std::shared_ptr<const VolumeRecord>;
using SnapshotPtr = std::shared_ptr<const SnapshotRecord>;
using OperationPtr = std::shared_ptr<const OperationRecord>;
using SharePtr = std::shared_ptr<const ShareRecord>;

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_RECORDS_H_
