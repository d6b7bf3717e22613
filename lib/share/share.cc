#include "lib/share/share.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>

#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/share/measure.h"

namespace cairn {
namespace {

constexpr int kFastThreads = 4;
constexpr int kBulkThreads = 2;
constexpr int kQueueMax = 1000;

// The kernel's table shows mount points without symbolic links. Only the base is resolved: looking
// at the mount point itself would block on a dead server.
std::string DirectoryOf(const ShareSpec& spec, const std::string& mount_point_base) {
  if (spec.is_directory()) return MountPointOf("", spec);
  std::error_code error;
  std::filesystem::path base = std::filesystem::weakly_canonical(mount_point_base, error);
  return MountPointOf(error ? mount_point_base : base.string(), spec);
}

ExecutorOptions LaneOptions(const std::string& address, std::string_view lane, int threads) {
  ExecutorOptions options;
  options.name = fmt::format("{}/{}", address, lane);
  options.threads = threads;
  options.queue_max = kQueueMax;
  return options;
}

// The root of the share; through "." so that a directory share may be a symbolic link.
absl::StatusOr<FileStat> StatRoot(FileSystem& files, const std::string& directory) {
  ASSIGN_OR_RETURN(FileStat stat, files.Stat(directory + "/."));
  if (stat.is_directory) return stat;
  return Error(Reason::kShareUnavailable, fmt::format("{} is not a directory", directory),
               {{"path", directory}});
}

// Whether work may begin now: the share is usable and its root is still the one that was probed.
absl::Status CheckRoot(FileSystem& files, const std::string& directory, ShareHealth& health) {
  RETURN_IF_ERROR(health.CheckUsable());
  absl::StatusOr<FileStat> root = StatRoot(files, directory);
  if (root.ok() && root->device == health.device()) return absl::OkStatus();
  absl::Status problem =
      root.ok()
          ? Error(Reason::kShareUnavailable,
                  fmt::format("{}: the mount was lost (another file system is there)", directory))
          : root.status();
  // An error that may pass, such as EIO, is the next probe's to judge; this cannot pass by itself.
  if (root.ok() || absl::IsNotFound(problem)) {
    health.SetUnreachable(problem);
    return health.CheckUsable();
  }
  return Error(Reason::kShareUnavailable, std::string(problem.message()), {{"path", directory}});
}

}  // namespace

Share::Share(ShareSpec spec, MountOptions options, System system)
    : address_(spec.address),
      directory_(DirectoryOf(spec, options.mount_point_base)),
      is_directory_(spec.is_directory()),
      system_(system),
      health_(std::make_shared<ShareHealth>(spec.address)),
      mounter_(spec.address, directory_, std::move(options), system),
      specs_{std::move(spec)},
      fast_(LaneOptions(address_, "fast", kFastThreads)),
      bulk_(LaneOptions(address_, "bulk", kBulkThreads)) {}

Share::~Share() {
  stop_.Cancel();
  mounter_.Stop();
}

const ShareSpec& Share::spec() const {
  MutexLock lock(&mutex_);
  return specs_.back();
}

void Share::SetSpec(ShareSpec spec) {
  MutexLock lock(&mutex_);
  if (spec.address == address_ && spec != specs_.back()) specs_.push_back(std::move(spec));
}

absl::Status Share::Submit(Lane lane, Task task, bool even_if_down) {
  Executor& executor = lane == Lane::kFast ? fast_ : bulk_;
  if (even_if_down) return executor.Submit(std::move(task));
  RETURN_IF_ERROR(CheckUsable());
  // Nothing of `this`: a thread that hangs in the look at the root may outlive the share.
  task.run = [run = std::move(task.run), health = health_, files = system_.files,
              directory = directory_](const absl::Status& admitted) {
    run(admitted.ok() ? CheckRoot(*files, directory, *health) : admitted);
  };
  return executor.Submit(std::move(task));
}

absl::Status Share::Probe() {
  if (probing_.exchange(true)) return CheckUsable();
  absl::StatusOr<ProbeReport> report = Examine();
  absl::Status status = report.ok() ? absl::OkStatus() : report.status();
  if (report.ok()) {
    health_->SetOnline(*report);
  } else {
    health_->SetUnreachable(status);
  }
  probing_.store(false);
  return Annotate(status, "share " + address_, {{"share", address_}});
}

absl::StatusOr<ProbeReport> Share::Examine() {
  if (!is_directory_) RETURN_IF_ERROR(EnsureMounted());
  ProbeReport report;
  const absl::Time begun = absl::Now();
  ASSIGN_OR_RETURN(FileStat root, StatRoot(*system_.files, directory_));
  RETURN_IF_ERROR(CheckWritable());
  ASSIGN_OR_RETURN(report.space, system_.files->StatFileSystem(directory_));
  report.device = root.device;
  report.latency = absl::Now() - begun;
  if (is_directory_) return report;
  // Again after the look, so that what was looked at was surely not the bare mount point.
  ASSIGN_OR_RETURN(std::optional<MountEntry> entry, mounter_.Find());
  if (!entry.has_value()) {
    return Error(Reason::kShareUnavailable, fmt::format("nothing is mounted on {}", directory_),
                 {{"path", directory_}});
  }
  report.mount_options = entry->options;
  report.nfs_version = NfsVersionOf(entry->options);
  return report;
}

absl::Status Share::EnsureMounted() {
  ASSIGN_OR_RETURN(std::optional<MountEntry> entry, mounter_.Find());
  if (entry.has_value()) return absl::OkStatus();
  health_->SetMountLost();
  return mounter_.Mount(spec().mount_options);
}

// Asks the kernel (and by it the NFS server) at every probe, which leaves no trace; really writes
// only when the share comes up, since access rights may be promised and then refused (squashed
// users, quotas of zero files).
absl::Status Share::CheckWritable() {
  if (faccessat(AT_FDCWD, directory_.c_str(), R_OK | W_OK | X_OK, 0) != 0) {
    return ErrnoError(errno, fmt::format("no right to write in {}", directory_),
                      {{"path", directory_}});
  }
  if (CheckUsable().ok()) return absl::OkStatus();
  // The name is that of a temporary file of ours: should we die here, the next start sweeps it.
  const std::string path = fmt::format("{}/.cairn-probe.tmp-{}", directory_, NewId());
  absl::Status written = system_.files->Open(path, OpenMode::kCreate).status();
  // A full share is well: volumes on it can be read, changed in place and deleted.
  if (absl::IsResourceExhausted(written)) return absl::OkStatus();
  RETURN_IF_ERROR(written);
  return system_.files->Remove(path);
}

absl::Status Share::RefreshCapacity() {
  RETURN_IF_ERROR(CheckRoot(*system_.files, directory_, *health_));
  ASSIGN_OR_RETURN(FileSystemStat space, system_.files->StatFileSystem(directory_));
  health_->SetSpace(space);
  return absl::OkStatus();
}

absl::Status Share::MeasureAllocated() {
  // Work that goes on makes a walk inexact; on a busy share the last walk must do.
  constexpr int kWalksMax = 3;
  MutexLock lock(&measure_mutex_);
  for (int walk = 1;; ++walk) {
    RETURN_IF_ERROR(CheckUsable());
    ShareHealth::Mark mark = health_->mark();
    ASSIGN_OR_RETURN(int64_t bytes,
                     MeasureApparentBytes(*system_.files, directory_, stop_.token()));
    // A mount lost during the walk would have been measured as an empty directory.
    RETURN_IF_ERROR(CheckRoot(*system_.files, directory_, *health_));
    if (health_->SetMeasured(mark, bytes, /*force=*/walk == kWalksMax)) return absl::OkStatus();
  }
}

bool Share::Shutdown(absl::Duration grace) {
  const absl::Time end = absl::Now() + grace;
  stop_.Cancel();
  mounter_.Stop();
  const bool fast_ended = fast_.Shutdown(grace);
  const bool bulk_ended = bulk_.Shutdown(std::max(absl::ZeroDuration(), end - absl::Now()));
  return fast_ended && bulk_ended;
}

}  // namespace cairn
