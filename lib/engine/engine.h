// The storage core as the server sees it: the only conductor of volumes, snapshots and operations.
//
// Changes are operations: Submit checks what can be checked from memory, writes the operation to
// the catalog, answers, and the work goes on by itself in the volume's order. Reads come from
// memory.
//
// Threads: every method may be called from any thread and none blocks on a share or on the disk
// (except Start and Stop). Callbacks run on threads of the engine: they must be quick and must not
// block.
//
//   ASSIGN_OR_RETURN(auto engine, Engine::Start(options));
//   engine->Submit(CreateVolumeRequest{.size_bytes = 10 * kGiB}, {}, [&](auto operation) { ... });
#ifndef CAIRN_LIB_ENGINE_ENGINE_H_
#define CAIRN_LIB_ENGINE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/catalog/catalog.h"
#include "lib/catalog/history.h"
#include "lib/catalog/records.h"
#include "lib/engine/requests.h"
#include "lib/engine/streams.h"
#include "lib/hypervisor/hypervisor.h"
#include "lib/image/image_tool.h"
#include "lib/os/file_system.h"
#include "lib/os/mount_table.h"
#include "lib/os/process.h"
#include "lib/pool/pool.h"

namespace cairn {

struct EngineOptions {
  std::string state_path = "/var/lib/cairn";  // the catalog lies here, never on NFS
  std::vector<PoolOptions> pools;
  int queue_depth_max = 64;  // operations that may wait for one volume
  // Of what ended; counted while the engine runs.
  absl::Duration operation_retention = absl::Hours(7 * 24);
  HistoryBounds history;  // what has ended is kept for less time when it is more
  absl::Duration sweep_period = absl::Minutes(10);  // how often it is looked for what is older
  absl::Duration probe_period = absl::Seconds(5);
  absl::Duration probe_timeout = absl::Seconds(2);  // a share that takes longer is UNREACHABLE
  absl::Duration rescan_period = absl::Hours(1);
  // An operation that can neither go on nor be undone is tried again after this, then after twice as
  // long, and so on up to the second.
  absl::Duration retry_pause = absl::Milliseconds(500);
  absl::Duration retry_pause_max = absl::Seconds(30);
  // So is a merge that nobody has asked for, after this; up to every `rescan_period`.
  absl::Duration merge_pause = absl::Seconds(15);
  int64_t tool_address_space_bytes = kToolAddressSpaceBytes;  // limit of a qemu-img child
  // The system below; null: the real one. A test puts a faulty one here.
  std::function<absl::StatusOr<std::unique_ptr<Hypervisor>>(const HypervisorAddress&)>
      connect_hypervisor = {};
  FileSystem* files = nullptr;
  ProcessRunner* processes = nullptr;
  MountTable* mounts = nullptr;
  const Clock* clock = nullptr;
};

// Who asks, and how.
struct Caller {
  std::string request_id;      // the same id and the same request again give the same operation
  std::string requested_by;    // peer or principal, for logs and people
  bool validate_only = false;  // everything is checked, nothing is done; the answer is null
};

// One file of a chain as it is on the share, for GetVolume with the full view.
struct ChainFile {
  std::string file;
  FileFormat format = FileFormat::kRaw;
  std::string snapshot_id;  // whose content this file holds; empty for the active one
  int64_t virtual_size = 0;
  int64_t physical_bytes = 0;
};

// What a consumer needs to open the disk.
struct ConnectionInfo {
  std::string export_address;  // "host:/export" or "file:///dir"
  std::string mount_options;
  std::string mount_point_base;
  std::string mount_point;
  std::string file_name;
  FileFormat file_format = FileFormat::kRaw;
  int64_t size_bytes = 0;
  std::string qemu_blockdev_json;
  std::string libvirt_disk_xml;
};

struct PoolStatus {
  std::string name;
  PoolOptions options;
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;
  int64_t allocated_bytes = 0;
  int64_t provisioned_bytes = 0;
  int64_t reserved_bytes = 0;
  bool usable = false;
  std::map<VolumeState, int64_t> volumes_by_state;
  struct ShareEntry {
    PoolShareStatus share;
    int64_t provisioned_bytes = 0;
    int64_t volumes = 0;
  };
  std::vector<ShareEntry> shares;
};

// What a consumer says of the step that it was asked to carry out.
struct ConsumerReport {
  enum class Kind { kDone, kFailed, kProgress };
  Kind kind = Kind::kDone;
  int64_t step = 0;        // OperationRecord::consumer_step
  std::string message{};   // of kFailed
  bool begun = false;      // of kFailed: a merge downward had begun to change its base
  int64_t done_bytes = 0;  // of kProgress
  int64_t total_bytes = 0;
};

using OperationCallback = std::function<void(absl::StatusOr<OperationPtr>)>;

class Engine {
 public:
  // Opens the catalog, mounts and probes the shares, compares them with the catalog and takes up
  // what was interrupted (each volume stays locked until its operation is finished or undone, so
  // the engine may be used at once). Fails when the catalog cannot be opened or a pool's options
  // are wrong; a share that cannot be reached does not fail it.
  static absl::StatusOr<std::unique_ptr<Engine>> Start(EngineOptions options);
  // Stop(0).
  virtual ~Engine() = default;

  // ---- changes

  // `done` gets the operation once it is durable (it may have ended by then), or why it was refused.
  virtual void Submit(Request request, Caller caller, OperationCallback done) = 0;
  // CANCELLED follows later, if it can still be cancelled: OPERATION_NOT_CANCELLABLE else. An ended
  // operation is returned as it is.
  virtual void Cancel(const std::string& operation_id, OperationCallback done) = 0;
  // Ends, as ABANDONED, an operation that is parked past its point of no return or while it is being
  // undone; `done` gets it once that is durable. Nothing is done about the files: its error says what is
  // left. `reason` is required, and logged. OPERATION_NOT_PARKED. One that is being tried at this moment
  // ends when the try does, as SUCCEEDED perhaps.
  virtual void Abandon(const std::string& operation_id, std::string reason,
                       OperationCallback done) = 0;
  // A consumer's answer to an operation that waits for it; `done` gets the operation once the answer
  // is durable. OPERATION_NOT_WAITING, INVALID_FIELD for a step that there is not, IMAGE_MISMATCH
  // when the files contradict it: the operation then waits on.
  virtual void Report(const std::string& operation_id, ConsumerReport report,
                      OperationCallback done) = 0;

  // ---- operations

  // With live progress. OPERATION_NOT_FOUND.
  virtual absl::StatusOr<OperationPtr> GetOperation(const std::string& id) const = 0;
  using Subscription = uint64_t;
  // Calls `done` once: when the operation ended, or at `until` with the operation as it is then.
  // Returns a handle for StopWaiting, after which `done` is not called any more (0: already
  // called).
  virtual Subscription Wait(const std::string& id, MonotonicTime until, OperationCallback done) = 0;
  // Calls `changed` with the operation as it is now and at each change (progress at most five times
  // a second), the last time when it has ended.
  virtual Subscription Watch(const std::string& id, OperationCallback changed) = 0;
  virtual void StopWaiting(Subscription subscription) = 0;

  // ---- reads

  // Volumes, snapshots, operations, changes: read-only use.
  virtual const Catalog& records() const = 0;
  // `listener` is called after each change of the catalog; for streams of changes.
  virtual uint64_t AddCatalogListener(std::function<void()> listener) = 0;
  virtual void RemoveCatalogListener(uint64_t id) = 0;
  // VOLUME_STATE while there is no whole chain to be read, as during a deletion.
  virtual void DescribeChain(const std::string& volume_id,
                             std::function<void(absl::StatusOr<std::vector<ChainFile>>)> done) = 0;
  // As the attachment opens it; with an empty id (or one that is gone) as any writer would. `share`:
  // where it is being moved to; empty: where it is.
  virtual absl::StatusOr<ConnectionInfo> ConnectionOf(const std::string& volume_id,
                                                      const std::string& attachment_id,
                                                      const std::string& share = {}) const = 0;
  virtual std::vector<std::string> PoolNames() const = 0;  // in the configuration's order
  // Empty name: the default pool. POOL_NOT_FOUND.
  virtual absl::StatusOr<PoolStatus> GetPool(const std::string& name) const = 0;
  // Reads the shares file again and measures each share; answers when that is done.
  virtual void RescanPool(const std::string& name, std::function<void(absl::Status)> done) = 0;
  // What lies on a share of the pool is the share from now on, and is what the catalog knows of it: for
  // one that was replaced, or has seen a later catalog. Answers what the share says then.
  // SHARE_NOT_FOUND.
  virtual void AcceptShare(const std::string& pool, const std::string& address,
                           std::function<void(absl::Status)> done) = 0;

  // ---- content

  virtual void StartImport(
      ImportVolumeRequest request, Caller caller,
      std::function<void(absl::StatusOr<std::unique_ptr<ImportSession>>)> done) = 0;
  virtual void StartExport(
      ExportRequest request,
      std::function<void(absl::StatusOr<std::unique_ptr<ExportSession>>)> done) = 0;

  // Takes no new work (SHUTTING_DOWN), lets what runs end for up to `grace`, then cancels what can
  // be resumed later and leaves the rest to the next start; unmounts, where that is configured. False
  // when a thread hangs on a dead share: the engine must then not be destroyed before the process
  // ends. Idempotent.
  virtual bool Stop(absl::Duration grace) = 0;
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_ENGINE_H_
