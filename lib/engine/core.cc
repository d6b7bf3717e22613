#include "lib/engine/core.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/image/image_lock.h"
#include "lib/os/absence.h"
#include "lib/os/file_error.h"

namespace cairn {
namespace {

absl::Status OpenElsewhere(const VolumeRecord& volume) {
  return Error(Reason::kVolumeInUse,
               fmt::format("{} on {} is open for writing in a program of QEMU's that no attachment "
                           "names: end it, or attach the volume with that machine's address",
                           volume.active_file, volume.share),
               {{"volume", volume.id}, {"share", volume.share}, {"file", volume.active_file}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Core>> Core::Create(EngineOptions options) {
  if (options.files == nullptr) options.files = FileSystem::Posix();
  if (options.processes == nullptr) options.processes = ProcessRunner::Posix();
  if (options.mounts == nullptr) options.mounts = MountTable::Posix();
  if (options.clock == nullptr) options.clock = Clock::System();
  if (!options.connect_hypervisor) {
    options.connect_hypervisor = [](const HypervisorAddress& address) {
      return ConnectHypervisor(address, {});
    };
  }
  if (options.pools.empty()) return InvalidField("pools", "at least one pool is needed");
  auto core = std::unique_ptr<Core>(new Core(std::move(options)));
  const EngineOptions& o = core->options_;
  RETURN_IF_ERROR(o.files->MakeDirectories(o.state_path));
  SqliteCatalogOptions catalog;
  catalog.path = o.state_path + "/catalog.db";
  catalog.history = o.history;
  ASSIGN_OR_RETURN(core->catalog_, OpenSqliteCatalog(catalog));
  core->clock_ = std::make_unique<RecordClock>(o.clock);
  RETURN_IF_ERROR(core->clock_->StartAfter(*core->catalog_));
  // On the catalog's disk, as that is, and not among the files of shares.
  core->retention_ = std::make_unique<Retention>(FileSystem::Posix(), o.state_path, o.clock,
                                                 o.operation_retention, core->catalog_->revision());
  core->tool_ = MakeQemuImageTool(
      o.processes, {.address_space_bytes = o.tool_address_space_bytes, .cpu_seconds = 0});
  core->foreign_files_ = std::make_unique<ForeignFiles>(o.files, core->catalog_.get(), o.clock);
  core->shares_ = std::make_unique<CatalogShares>(
      core->catalog_.get(), o.clock,
      [core = core.get()](const std::string& address) { return core->ShareAt(address).ok(); });
  const Share::System system{o.files, o.processes, o.mounts, core->shares_.get()};
  for (const PoolOptions& pool : o.pools) {
    auto [it, added] = core->pools_.try_emplace(pool.name);
    if (!added) return InvalidField("pools", "two pools have the same name", pool.name);
    it->second =
        std::make_unique<Pool>(pool, system, ProbeOptions{o.probe_period, o.probe_timeout});
  }
  return core;
}

absl::StatusOr<VolumePtr> Core::Volume(const std::string& id) const {
  VolumePtr volume = catalog_->FindVolume(id);
  if (volume == nullptr) {
    return Error(Reason::kVolumeNotFound, fmt::format("there is no volume {}", id),
                 {{"volume", id}});
  }
  return volume;
}

absl::StatusOr<SnapshotPtr> Core::Snapshot(const std::string& id) const {
  SnapshotPtr snapshot = catalog_->FindSnapshot(id);
  if (snapshot == nullptr) {
    return Error(Reason::kSnapshotNotFound, fmt::format("there is no snapshot {}", id),
                 {{"snapshot", id}});
  }
  return snapshot;
}

absl::StatusOr<Pool*> Core::PoolNamed(const std::string& name) const {
  if (name.empty() && pools_.size() == 1) return pools_.begin()->second.get();
  auto it = pools_.find(name.empty() ? "default" : name);
  if (it != pools_.end()) return it->second.get();
  std::string known;
  for (const auto& [pool_name, pool] : pools_) known += (known.empty() ? "" : ", ") + pool_name;
  if (name.empty()) {
    return InvalidField("pool",
                        fmt::format("is required, as none is called \"default\": {}", known));
  }
  std::string shown = name.substr(0, 80);
  return Error(Reason::kPoolNotFound,
               fmt::format("there is no pool \"{}\"; there is: {}", shown, known),
               {{"pool", shown}});
}

absl::StatusOr<Share*> Core::ShareOf(const VolumeRecord& volume) const {
  ASSIGN_OR_RETURN(Pool * pool, PoolNamed(volume.pool));
  Share* share = pool->FindShare(volume.share);
  if (share != nullptr) return share;
  return Error(Reason::kShareNotFound,
               fmt::format("volume {} lies on {}, which pool {} no longer lists", volume.id,
                           volume.share, volume.pool),
               {{"volume", volume.id}, {"share", volume.share}, {"pool", volume.pool}});
}

std::vector<Share*> Core::Shares() const {
  std::vector<Share*> all;
  for (const auto& [name, pool] : pools_) {
    for (Share* share : pool->shares()) all.push_back(share);
  }
  return all;
}

absl::StatusOr<Share*> Core::ShareAt(const std::string& address) const {
  for (const auto& [name, pool] : pools_) {
    if (Share* share = pool->FindShare(address); share != nullptr) return share;
  }
  return Error(Reason::kShareNotFound, fmt::format("no pool lists the share {}", address),
               {{"share", address}});
}

absl::StatusOr<std::string> Core::DirectoryOf(const std::string& address) const {
  ASSIGN_OR_RETURN(Share * share, ShareAt(address));
  RETURN_IF_ERROR(share->CheckUsable());
  return share->directory();
}

absl::Status Core::SubmitClosing(const std::string& address, Task task) const {
  ASSIGN_OR_RETURN(Share * share, ShareAt(address));
  return share->Submit(Lane::kClosing, std::move(task), /*even_if_down=*/true);
}

Executor& Core::Between(const std::set<std::string>& addresses) {
  MutexLock lock(&between_mutex_);
  std::unique_ptr<Executor>& executor = between_[addresses];
  if (executor == nullptr) {
    executor = std::make_unique<Executor>(ExecutorOptions{.name = "between", .threads = 2});
  }
  return *executor;
}

bool Core::ShutdownBetween(absl::Duration grace) {
  MutexLock lock(&between_mutex_);
  bool all_ended = true;
  for (const auto& [addresses, executor] : between_) all_ended &= executor->Shutdown(grace);
  return all_ended;
}

FileAbilities Core::AbilitiesOf(const std::string& address) const {
  auto share = ShareAt(address);
  return share.ok() ? (*share)->status().abilities.value_or(kTryAll) : kTryAll;
}

FilePermissions Core::PermissionsOf(const Pool& pool) const {
  return {.mode = static_cast<mode_t>(pool.options().nas_secure_file_permissions ? 0660 : 0666),
          .owner_of_backing = pool.options().nas_secure_file_operations};
}

absl::StatusOr<ChainView> Core::ReadView(const VolumeRecord& volume, Use use) const {
  ASSIGN_OR_RETURN(std::string directory, DirectoryOf(volume.share));
  ChainView view{.share = volume.share,
                 .volume_id = volume.id,
                 .size_bytes = volume.size_bytes,
                 .chain = {},
                 .map = std::nullopt};
  // Another host may have changed it: what this one remembers of the names counts for nothing.
  RETURN_IF_ERROR(files().RefreshDirectory(directory));
  ASSIGN_OR_RETURN(view.chain, OnceMoreIfStale([&] {
                     return ReadChain(files(), directory, volume.id, volume.active_file,
                                      volume.base_format,
                                      use == Use::kNoWriter ? LookAtLocks::kYes : LookAtLocks::kNo);
                   }));
  if (view.active().image.open_for_writing) return OpenElsewhere(volume);
  if (!IsRecordedChain(volume, view.chain)) {
    return Error(
        Reason::kChainCorrupt,
        fmt::format("the files of volume {} on {} are not those of its record: the headers "
                    "show {} files up to {}, recorded are {}",
                    volume.id, volume.share, view.chain.size(), volume.active_file,
                    volume.chain.size()),
        {{"volume", volume.id}, {"share", volume.share}});
  }
  if (int64_t found = view.active().image.virtual_size; found != volume.size_bytes) {
    return Error(
        Reason::kImageMismatch,
        fmt::format("{} has a virtual size of {} bytes, recorded are {}: somebody else has "
                    "changed it",
                    volume.active_file, found, volume.size_bytes),
        {{"volume", volume.id}, {"share", volume.share}, {"file", volume.active_file}});
  }
  RETURN_IF_ERROR(RepairMap(volume, directory, view));
  return view;
}

absl::Status Core::CheckNoWriter(const VolumeRecord& volume) const {
  ASSIGN_OR_RETURN(std::string directory, DirectoryOf(volume.share));
  const auto file = files().Open(directory + "/" + volume.active_file, OpenMode::kRead);
  if (!file.ok()) return absl::OkStatus();
  const auto open = IsOpenForWriting(**file);
  if (absl::IsUnimplemented(open.status())) return absl::OkStatus();
  RETURN_IF_ERROR(open.status());
  return *open ? OpenElsewhere(volume) : absl::OkStatus();
}

absl::Status Core::CheckNoneStandsOn(const VolumeRecord& volume,
                                     const std::vector<std::string>& files) const {
  ASSIGN_OR_RETURN(std::string directory, DirectoryOf(volume.share));
  return foreign_files_->CheckNoneStandsOn({volume.share, std::move(directory), volume.id}, files);
}

bool Core::IsRecordedChain(const VolumeRecord& volume, const Chain& chain) const {
  // A deletion that failed half-way may have taken its layer out of the chain already.
  std::vector<std::string> merged;
  for (const SnapshotPtr& snapshot : catalog_->SnapshotsOf(volume.id)) {
    if (snapshot->state == SnapshotState::kError) merged.push_back(snapshot->layer);
  }
  size_t i = 0;
  for (const std::string& file : volume.chain) {
    if (i < chain.size() && chain[i].file == file) {
      ++i;
    } else if (std::find(merged.begin(), merged.end(), file) == merged.end()) {
      return false;
    }
  }
  return i == chain.size();
}

absl::Status Core::RepairMap(const VolumeRecord& volume, const std::string& directory,
                             ChainView& view) const {
  InfoMap expected{volume.active_file, {}};
  for (const SnapshotPtr& snapshot : catalog_->SnapshotsOf(volume.id)) {
    if (snapshot->state != SnapshotState::kCreating) {
      expected.layers[snapshot->id] = snapshot->layer;
    }
  }
  auto read = OnceMoreIfStale([&] { return ReadInfoMap(files(), directory, volume.id); });
  if (read.ok() && read->has_value() && **read == expected) {
    view.map = expected;
    return absl::OkStatus();
  }
  if (read.ok() && !read->has_value() && expected.layers.empty() && volume.chain.size() == 1) {
    return absl::OkStatus();  // there was never a snapshot
  }
  if (!read.ok() && !HasReason(read.status(), Reason::kMapCorrupt)) return read.status();
  if (read.ok() && read->has_value() && IndexOf(view.chain, (*read)->active) < 0 &&
      files().Stat(directory + "/" + (*read)->active).ok()) {
    return Error(
        Reason::kMapCorrupt,
        fmt::format("the map of volume {} names {} as active, its record {}: another system "
                    "has changed the chain",
                    volume.id, (*read)->active, volume.active_file),
        {{"volume", volume.id}, {"share", volume.share}});
  }
  // Nor is one that knows a snapshot which the catalog does not, as when an older catalog was restored.
  if (read.ok() && read->has_value()) {
    for (const auto& [snapshot, layer] : (*read)->layers) {
      if (expected.layers.count(snapshot) != 0 || catalog_->FindSnapshot(snapshot) != nullptr) {
        continue;
      }
      ASSIGN_OR_RETURN(const bool gone, IsAbsent(files(), directory, layer));
      if (gone) continue;
      return Error(Reason::kMapCorrupt,
                   fmt::format("the map of volume {} has snapshot {} in {}, which the catalog does "
                               "not know: another system, or a newer catalog, has made it",
                               volume.id, snapshot, layer),
                   {{"volume", volume.id}, {"share", volume.share}, {"snapshot", snapshot}});
    }
  }
  spdlog::warn(
      "volume={} share={} the map {} is unusable or stale ({}): written anew from the "
      "catalog, which the headers confirm",
      volume.id, volume.share, InfoFileName(volume.id),
      read.ok() ? "contradicts the catalog" : Describe(read.status()));
  ASSIGN_OR_RETURN(Pool * pool, PoolNamed(volume.pool));
  const std::string name = InfoFileName(volume.id);
  RETURN_IF_ERROR(ReplaceFile(files(),
                              {.directory = directory,
                               .name = name,
                               .temporary = TemporaryName(name, NewId()),
                               .mode = PermissionsOf(*pool).mode},
                              FormatInfoMap(expected)));
  view.map = std::move(expected);
  return absl::OkStatus();
}

void Core::Measure(VolumeRecord& volume) const {
  auto share = ShareOf(volume);
  if (!share.ok()) return;
  int64_t physical = 0;
  int64_t apparent = 0;
  for (const std::string& file : volume.chain) {
    auto stat = files().Stat((*share)->directory() + "/" + file);
    if (!stat.ok()) return;  // the figures stay as they were until the next measurement
    physical += stat->physical_bytes;
    apparent += stat->size_bytes;
  }
  volume.physical_bytes = physical;
  volume.file_bytes = apparent;
}

void Core::Account(const VolumePtr& before, const VolumePtr& after) const {
  if (before != nullptr) {
    if (auto share = ShareOf(*before); share.ok()) (*share)->AddAllocated(-before->file_bytes);
    // It has left the share: the revision of that is at most this one.
    if (after == nullptr || after->share != before->share) {
      shares_->Changed(before->share, catalog_->revision());
    }
  }
  if (after != nullptr) {
    if (auto share = ShareOf(*after); share.ok()) (*share)->AddAllocated(after->file_bytes);
    shares_->Changed(after->share, after->revision);
  }
}

absl::Status WrongState(const VolumeRecord& volume, std::string_view attempted) {
  std::string_view state = VolumeStateName(volume.state);
  std::string message = fmt::format("cannot {} volume {}: it is {}", attempted, volume.id, state);
  if (!volume.state_reason.empty()) message += fmt::format(" ({})", volume.state_reason);
  return Error(Reason::kVolumeState, std::move(message),
               {{"volume", volume.id},
                {"state", std::string(state)},
                {"operation", volume.current_operation}});
}

absl::Status WrongState(const SnapshotRecord& snapshot, std::string_view attempted) {
  std::string_view state = SnapshotStateName(snapshot.state);
  std::string message =
      fmt::format("cannot {} snapshot {}: it is {}", attempted, snapshot.id, state);
  if (!snapshot.state_reason.empty()) message += fmt::format(" ({})", snapshot.state_reason);
  return Error(
      Reason::kSnapshotState, std::move(message),
      {{"snapshot", snapshot.id}, {"volume", snapshot.volume_id}, {"state", std::string(state)}});
}

absl::Status InUse(const VolumeRecord& volume, std::string_view attempted) {
  std::string holders;
  for (const Attachment& attachment : volume.attachments) {
    holders += fmt::format("{}{} by instance {} on host {}", holders.empty() ? "" : ", ",
                           attachment.id, attachment.instance_id, attachment.host);
  }
  return Error(Reason::kVolumeInUse,
               fmt::format("cannot {} volume {} while it is attached ({}); detach it first",
                           attempted, volume.id, holders),
               {{"volume", volume.id},
                {"attachment", volume.attachments.empty() ? "" : volume.attachments[0].id},
                {"instance", volume.attachments.empty() ? "" : volume.attachments[0].instance_id},
                {"host", volume.attachments.empty() ? "" : volume.attachments[0].host}});
}

}  // namespace cairn
