// What all work of the engine stands on: records, pools, files, tools, and the look-ups among them.
// Lives as long as the engine. Thread-safe.
#ifndef CAIRN_LIB_ENGINE_CORE_H_
#define CAIRN_LIB_ENGINE_CORE_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/catalog/catalog.h"
#include "lib/chain/layer_plans.h"
#include "lib/chain/step_runner.h"
#include "lib/engine/catalog_shares.h"
#include "lib/engine/engine.h"
#include "lib/engine/foreign_files.h"
#include "lib/engine/record_clock.h"
#include "lib/engine/retention.h"
#include "lib/image/image_tool.h"
#include "lib/pool/pool.h"

namespace cairn {

class Core {
 public:
  static absl::StatusOr<std::unique_ptr<Core>> Create(EngineOptions options);

  const EngineOptions& options() const { return options_; }
  // For records: see RecordClock.
  const RecordClock& clock() const { return *clock_; }
  Retention& retention() const { return *retention_; }
  Catalog& catalog() const { return *catalog_; }
  FileSystem& files() const { return *options_.files; }
  ProcessRunner& processes() const { return *options_.processes; }
  ImageTool& tool() const { return *tool_; }
  ForeignFiles& foreign_files() const { return *foreign_files_; }
  const std::map<std::string, std::unique_ptr<Pool>>& pools() const { return pools_; }

  // VOLUME_NOT_FOUND, SNAPSHOT_NOT_FOUND with the id in the metadata.
  absl::StatusOr<VolumePtr> Volume(const std::string& id) const;
  absl::StatusOr<SnapshotPtr> Snapshot(const std::string& id) const;
  // Empty: the only pool, or the one called "default". POOL_NOT_FOUND lists those that are there.
  absl::StatusOr<Pool*> PoolNamed(const std::string& name) const;
  // SHARE_NOT_FOUND when the configuration has no such share any more.
  absl::StatusOr<Share*> ShareOf(const VolumeRecord& volume) const;
  // Of all pools.
  std::vector<Share*> Shares() const;
  // A share of any pool, by its address.
  absl::StatusOr<Share*> ShareAt(const std::string& address) const;
  // Where a share's files are, if it is usable: what RunStep asks.
  absl::StatusOr<std::string> DirectoryOf(const std::string& address) const;
  // Runs `task` where it may hang as long as the share does, also while that is down.
  absl::Status SubmitClosing(const std::string& address, Task task) const;
  // The threads for work on several shares at once: of their own, so that an outage of one of them
  // holds up neither the others' lanes nor work between other shares.
  Executor& Between(const std::set<std::string>& addresses);
  bool ShutdownBetween(absl::Duration grace);  // false: a thread is stuck
  // What the share can do by itself; all that is worth a try, when that is not known.
  FileAbilities AbilitiesOf(const std::string& address) const;
  FilePermissions PermissionsOf(const Pool& pool) const;

  // ---- on the share: blocking, from its lane

  // The volume's files, checked against its record: the same files, the recorded size. A map that
  // cannot be read or that is stale is written anew from the record, because the headers agree with
  // it; a map that knows a layer that the record does not is MAP_CORRUPT.
  //
  // kNoWriter, before anything is done to a volume that no attachment says is written to: VOLUME_IN_USE
  // when a program of QEMU's, here or on another host of an NFS share, has the active file open for
  // writing.
  enum class Use { kAny, kNoWriter };
  absl::StatusOr<ChainView> ReadView(const VolumeRecord& volume, Use use = Use::kAny) const;
  // The same, where nothing else of the files is of interest. A file that cannot be opened is no
  // reason.
  absl::Status CheckNoWriter(const VolumeRecord& volume) const;
  // Before `files` of the volume are changed or removed: see ForeignFiles::CheckNoneStandsOn.
  absl::Status CheckNoneStandsOn(const VolumeRecord& volume,
                                 const std::vector<std::string>& files) const;
  // Fills physical_bytes and file_bytes from the files; as they were where a file cannot be looked
  // at.
  void Measure(VolumeRecord& volume) const;

  // ---- accounts

  // Tells the shares what a committed change of a volume's record (null: none) means for their
  // allocated figure.
  void Account(const VolumePtr& before, const VolumePtr& after) const;

 private:
  explicit Core(EngineOptions options) : options_(std::move(options)) {}
  bool IsRecordedChain(const VolumeRecord& volume, const Chain& chain) const;
  absl::Status RepairMap(const VolumeRecord& volume, const std::string& directory,
                         ChainView& view) const;

  EngineOptions options_;
  std::unique_ptr<RecordClock> clock_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Retention> retention_;
  std::unique_ptr<ImageTool> tool_;
  std::unique_ptr<ForeignFiles> foreign_files_;
  std::unique_ptr<CatalogShares> shares_;
  std::map<std::string, std::unique_ptr<Pool>> pools_;
  Mutex between_mutex_;
  std::map<std::set<std::string>, std::unique_ptr<Executor>> between_
      ABSL_GUARDED_BY(between_mutex_);
};

// A state for a volume on which nothing runs.
inline VolumeState SettledState(const VolumeRecord& volume) {
  return volume.attachments.empty() ? VolumeState::kAvailable : VolumeState::kInUse;
}

// FAILED_PRECONDITION that says which state is in the way.
absl::Status WrongState(const VolumeRecord& volume, std::string_view attempted);
absl::Status WrongState(const SnapshotRecord& snapshot, std::string_view attempted);
// VOLUME_IN_USE, naming the attachments.
absl::Status InUse(const VolumeRecord& volume, std::string_view attempted);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_CORE_H_
