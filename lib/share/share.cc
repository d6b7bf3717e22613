#include "lib/share/share.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <future>
#include <system_error>
#include <utility>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/os/file_abilities.h"
#include "lib/share/measure.h"

namespace cairn {
namespace {

// Metadata work that takes longer than this makes the share suspect before its next probe is due.
constexpr absl::Duration kSuspicious = absl::Seconds(1);

// The kernel's table shows mount points without symbolic links. Only the base is resolved: looking
// at the mount point itself would block on a dead server.
std::string DirectoryOf(const ShareSpec& spec, const std::string& mount_point_base) {
  if (spec.is_directory()) return MountPointOf("", spec);
  std::error_code error;
  std::filesystem::path base = std::filesystem::weakly_canonical(mount_point_base, error);
  return MountPointOf(error ? mount_point_base : base.string(), spec);
}

// The root of the share; through "." so that a directory share may be a symbolic link.
absl::StatusOr<FileStat> StatRoot(FileSystem& files, const std::string& directory) {
  ASSIGN_OR_RETURN(FileStat stat, files.Stat(directory + "/."));
  if (stat.is_directory) return stat;
  return Error(Reason::kShareUnavailable, fmt::format("{} is not a directory", directory),
               {{"path", directory}});
}

ShareRoot RootOf(const FileStat& stat) { return {.device = stat.device, .inode = stat.inode}; }

// Whether work may begin now: the share is usable and its root is still the one that was probed.
// Leaves it to the caller when another file system is there: sets `lost`.
absl::Status CheckRoot(FileSystem& files, const std::string& directory, ShareHealth& health,
                       bool* lost = nullptr) {
  RETURN_IF_ERROR(health.CheckUsable());
  absl::StatusOr<FileStat> root = StatRoot(files, directory);
  if (root.ok() && RootOf(*root) == health.root()) return absl::OkStatus();
  absl::Status problem =
      root.ok() ? Error(Reason::kShareUnavailable,
                        fmt::format("{}: the mount was lost, or the directory replaced (another "
                                    "one is there)",
                                    directory))
                : root.status();
  if (root.ok() && lost != nullptr) {
    *lost = true;
    return problem;
  }
  // An error that may pass, such as EIO, is the next probe's to judge; this cannot pass by itself.
  if (root.ok() || absl::IsNotFound(problem)) {
    health.SetUnreachable(problem);
    return health.CheckUsable();
  }
  return Error(Reason::kShareUnavailable, std::string(problem.message()), {{"path", directory}});
}

}  // namespace

Share::Share(ShareSpec spec, MountOptions options, System system, ProbeOptions probe)
    : address_(spec.address),
      directory_(DirectoryOf(spec, options.mount_point_base)),
      is_directory_(spec.is_directory()),
      system_(system),
      probe_options_(probe),
      health_(std::make_shared<ShareHealth>(spec.address)),
      mounter_(spec.address, directory_, std::move(options), system),
      owner_(directory_),
      identity_(address_, directory_, system.files, system.registry),
      specs_{std::move(spec)},
      lanes_(address_) {}

Share::~Share() { Shutdown(absl::InfiniteDuration()); }

const ShareSpec& Share::spec() const {
  MutexLock lock(&mutex_);
  return specs_.back();
}

void Share::SetSpec(ShareSpec spec) {
  MutexLock lock(&mutex_);
  if (spec.address == address_ && spec != specs_.back()) specs_.push_back(std::move(spec));
}

absl::Status Share::Submit(Lane lane, Task task, bool even_if_down) {
  if (even_if_down) return lanes_.Submit(lane, std::move(task));
  RETURN_IF_ERROR(CheckUsable());
  return lanes_.Submit(
      lane, Guarded(std::move(task), is_directory_ ? std::nullopt : std::optional(lane)));
}

Task Share::Guarded(Task task) const { return Guarded(std::move(task), std::nullopt); }

Task Share::Guarded(Task task, std::optional<Lane> lane) const {
  Task guarded = task;
  // Nothing of `this`: a thread that hangs in the look at the root may outlive the share.
  guarded.run = [task = std::move(task), lane, held = held_, health = health_,
                 files = system_.files, directory = directory_](const absl::Status& admitted) {
    if (!admitted.ok()) return task.run(admitted);
    bool lost = false;
    absl::Status usable = CheckRoot(*files, directory, *health, lane ? &lost : nullptr);
    if (!lost) return task.run(usable);
    health->SetMountLost();
    MutexLock lock(&held->mutex);
    held->tasks.emplace_back(*lane, task);
  };
  return guarded;
}

void Share::ReleaseHeld(const absl::Status& probed) {
  std::vector<std::pair<Lane, Task>> tasks;
  {
    MutexLock lock(&held_->mutex);
    tasks.swap(held_->tasks);
  }
  for (auto& [lane, task] : tasks) {
    const auto run = task.run;
    absl::Status taken = probed.ok() ? Submit(lane, std::move(task)) : probed;
    if (!taken.ok()) run(taken);
  }
}

void Share::Tend() {
  const MonotonicTime now = MonotonicTime::Now();
  bool due = false;
  bool late = false;
  absl::Status dead;
  {
    MutexLock lock(&mutex_);
    if (!probe_begun_.has_value()) {
      const absl::Duration since = now - probe_asked_;
      due = since >= probe_options_.period || HasHeld() ||
            (since >= kSuspicious && lanes_.longest_fast_run() >= kSuspicious);
      if (due) probe_asked_ = now;
    } else if (now - *probe_begun_ >= probe_options_.timeout) {
      // While it is being mounted it is not usable anyway, and mounting has its own limits; but nobody
      // is to wait for that.
      late = !CheckUsable().ok() && HasHeld();
      // Under the mutex, so that the probe, should it come back now, has the last word.
      if (CheckUsable().ok() && !std::exchange(probe_given_up_, true)) {
        health_->SetUnreachable(
            Error(Reason::kShareUnavailable,
                  fmt::format("the server does not answer: a probe has not come back within {}",
                              absl::FormatDuration(probe_options_.timeout))));
        dead = CheckUsable();
      }
    }
  }
  if (!dead.ok()) lanes_.Abandon(dead);
  if (late) {
    lanes_.Tell([this] { ReleaseHeld(CheckUsable()); });
  }
  if (due) StartProbe({});
}

bool Share::HasHeld() const {
  MutexLock lock(&held_->mutex);
  return !held_->tasks.empty();
}

void Share::StartProbe(std::function<void(absl::Status)> done) {
  if (!done) done = [](const absl::Status&) {};
  const auto answer = OnlyOnce<absl::Status>(std::move(done));
  Task task;
  task.run = [this, answer](const absl::Status& admitted) {
    answer(admitted.ok() ? Probe() : admitted);
  };
  task.abandoned = answer;
  absl::Status submitted = lanes_.SubmitProbe(std::move(task));
  if (!submitted.ok()) answer(submitted);
}

absl::Status Share::Probe() {
  {
    MutexLock lock(&mutex_);
    if (probe_begun_.has_value()) return CheckUsable();
    probe_begun_ = MonotonicTime::Now();
    probe_given_up_ = false;
  }
  absl::StatusOr<ProbeReport> report = Examine();
  {
    MutexLock lock(&mutex_);
    probe_begun_.reset();
    probe_asked_ = MonotonicTime::Now();
  }
  if (report.ok()) {
    health_->SetOnline(*report);
    ReleaseHeld(absl::OkStatus());
    return absl::OkStatus();
  }
  SetUnreachable(report.status());
  ReleaseHeld(CheckUsable());
  return Annotate(report.status(), "share " + address_, {{"share", address_}});
}

void Share::SetUnreachable(const absl::Status& error) {
  const bool was_usable = CheckUsable().ok();
  health_->SetUnreachable(error);
  if (was_usable) lanes_.AbandonWork(CheckUsable());
}

absl::StatusOr<ProbeReport> Share::Examine() {
  if (!is_directory_) RETURN_IF_ERROR(EnsureMounted());
  ProbeReport report;
  const MonotonicTime begun = MonotonicTime::Now();
  ASSIGN_OR_RETURN(FileStat root, StatRoot(*system_.files, directory_));
  // NFS answers this one from no cache.
  ASSIGN_OR_RETURN(report.space, system_.files->StatFileSystem(directory_));
  report.latency = MonotonicTime::Now() - begun;
  report.root = RootOf(root);
  if (!is_directory_) {
    // Again after the look, so that what was looked at was surely not the bare mount point.
    ASSIGN_OR_RETURN(std::optional<MountEntry> entry, mounter_.Find());
    if (!entry.has_value()) {
      return Error(Reason::kShareUnavailable, fmt::format("nothing is mounted on {}", directory_),
                   {{"path", directory_}});
    }
    report.mount_options = entry->options;
    report.nfs_version = NfsVersionOf(entry->options);
  }
  const ShareTerms terms = terms_.exchange(ShareTerms::kAsRecorded);
  const bool another = health_->root() != report.root;
  // Before anything is made there.
  if (absl::Status known = identity_.Check(terms, another || !CheckUsable().ok()); !known.ok()) {
    if (another) owner_.Release();  // it holds what was there before
    return known;
  }
  RETURN_IF_ERROR(ExamineWriting(report));
  if (report.latency > probe_options_.timeout / 2) {
    report.problem =
        fmt::format("slow: it took {} to answer a probe",
                    absl::FormatDuration(absl::Trunc(report.latency, absl::Milliseconds(1))));
  }
  return report;
}

absl::Status Share::EnsureMounted() {
  ASSIGN_OR_RETURN(std::optional<MountEntry> entry, mounter_.Find());
  if (entry.has_value()) return absl::OkStatus();
  health_->SetMountLost();
  owner_.Release();
  return mounter_.Mount(spec().mount_options);
}

// Asks the kernel (and by it the NFS server) at every probe, which leaves no trace; really writes
// only when the share comes up, since access rights may be promised and then refused (squashed
// users, quotas of zero files).
absl::Status Share::ExamineWriting(ProbeReport& report) {
  if (faccessat(AT_FDCWD, directory_.c_str(), R_OK | W_OK | X_OK, 0) != 0) {
    return ErrnoError(errno, fmt::format("no right to write in {}", directory_),
                      {{"path", directory_}});
  }
  absl::Status owned = owner_.Ensure();
  if (absl::IsUnimplemented(owned)) {
    report.problem = fmt::format("it has no locks, so nothing keeps another cairnd from it: {}",
                                 ToStd(owned.message()));
  } else if (absl::IsResourceExhausted(owned)) {
    report.problem =
        fmt::format("it is full, and has no room for the lock on it: {}", ToStd(owned.message()));
  } else {
    RETURN_IF_ERROR(owned);
  }
  if (!absl::IsResourceExhausted(owned)) RETURN_IF_ERROR(Settle(report));
  report.identity = identity_.identity();
  if (CheckUsable().ok()) return absl::OkStatus();
  // The names are those of temporary files of ours: should we die here, the next start sweeps them.
  const std::string id = NewId();
  auto abilities = TryAbilities(*system_.files, fmt::format("{}/.cairn-a.tmp-{}", directory_, id),
                                fmt::format("{}/.cairn-b.tmp-{}", directory_, id));
  // A full share is well: volumes on it can be read, changed in place and deleted.
  if (absl::IsResourceExhausted(abilities.status())) return absl::OkStatus();
  RETURN_IF_ERROR(abilities.status());
  // Below 4.2 the kernel copies by reading and writing, and holes are filled by it.
  if (!is_directory_ && report.nfs_version < "4.2") abilities->copy = false;
  report.abilities = *abilities;
  return absl::OkStatus();
}

absl::Status Share::Settle(ProbeReport& report) {
  absl::Status settled = identity_.Settle();
  if (absl::IsResourceExhausted(settled)) {
    report.problem =
        fmt::format("it is full, and has no room for its identity: {}", ToStd(settled.message()));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(settled);
  absl::Status marked = identity_.Mark();
  return absl::IsResourceExhausted(marked) ? absl::OkStatus() : marked;  // the next probe may
}

void Share::Accept(std::function<void(absl::Status)> done) {
  const auto answer = OnlyOnce<absl::Status>(std::move(done));
  Task task;
  task.run = [this, answer](const absl::Status& admitted) {
    if (!admitted.ok()) return answer(admitted);
    terms_ = ShareTerms::kAsItIs;
    absl::Status probed = Probe();
    if (probed.ok()) {
      spdlog::warn("share={} accepted as it is: identity={}", address_, status().identity);
    }
    answer(probed);
  };
  task.abandoned = answer;
  absl::Status submitted = lanes_.SubmitProbe(std::move(task));
  if (!submitted.ok()) answer(submitted);
}

void Share::LeaveMark(absl::Duration grace) {
  {
    MutexLock lock(&mutex_);
    if (retirement_ != Retirement::kNone) return;  // it may be another server's now
  }
  if (system_.registry == nullptr || !CheckUsable().ok()) return;
  auto left = std::make_shared<std::promise<void>>();
  std::future<void> marked = left->get_future();
  const auto answer = OnlyOnce<absl::Status>([left](const absl::Status&) { left->set_value(); });
  Task task;
  task.run = [this, answer](const absl::Status& admitted) {
    absl::Status status = admitted;
    if (status.ok()) status = CheckRoot(*system_.files, directory_, *health_);
    if (status.ok()) status = identity_.Mark();
    if (admitted.ok() && !status.ok()) {
      spdlog::warn("share={} no mark is left on it: {}", address_, Describe(status));
    }
    answer(status);
  };
  task.abandoned = answer;
  if (!lanes_.SubmitProbe(std::move(task)).ok()) return;
  constexpr absl::Duration kMost = absl::Seconds(2);
  marked.wait_for(absl::ToChronoMilliseconds(std::min(grace, kMost)));
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

bool Share::Retire() {
  bool failed_before;
  {
    MutexLock lock(&mutex_);
    if (retirement_ == Retirement::kDone) return true;
    if (retirement_ == Retirement::kUnderWay) return false;
    failed_before = retirement_ == Retirement::kFailed;
    retirement_ = Retirement::kUnderWay;
  }
  mounter_.Stop();
  auto retire = [this, failed_before](const absl::Status& admitted) {
    absl::Status unmounted = admitted;
    if (admitted.ok()) {
      if (CheckRoot(*system_.files, directory_, *health_).ok()) identity_.Mark().IgnoreError();
      owner_.Release();
      unmounted = Unmount();
    }
    if (!unmounted.ok() && !failed_before) {
      spdlog::warn("stays mounted until nobody uses it: {}", Describe(unmounted));
    }
    MutexLock lock(&mutex_);
    retirement_ = unmounted.ok() ? Retirement::kDone : Retirement::kFailed;
  };
  lanes_.SubmitProbe({.run = retire}).IgnoreError();  // refused only while shutting down
  return false;
}

bool Share::Shutdown(absl::Duration grace) {
  if (!stop_.cancelled()) LeaveMark(grace);
  stop_.Cancel();
  mounter_.Stop();
  const bool all_ended = lanes_.Shutdown(grace);
  ReleaseHeld(Error(Reason::kShuttingDown, "the server is shutting down"));
  if (all_ended) owner_.Release();
  return all_ended;
}

absl::Status Share::Unmount() {
  return is_directory_ ? absl::OkStatus() : Annotate(mounter_.Unmount(), "share " + address_);
}

}  // namespace cairn
