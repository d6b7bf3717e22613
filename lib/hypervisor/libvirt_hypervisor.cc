#include "lib/hypervisor/libvirt_hypervisor.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "lib/base/status.h"
#include "lib/hypervisor/libvirt_chain.h"
#include "lib/hypervisor/libvirt_connection.h"
#include "lib/hypervisor/libvirt_domain_xml.h"
#include "lib/os/deadline.h"

namespace cairn {
namespace {

// How often a job is looked at: each look is a question to QEMU, of well under a millisecond.
constexpr absl::Duration kLookInterval = absl::Milliseconds(20);
// How long a guest is made to wait at most for a copy to catch up.
constexpr absl::Duration kStandStillMax = absl::Seconds(1);

std::string_view JobName(LibvirtJob::Kind kind) {
  switch (kind) {
    case LibvirtJob::Kind::kPull:
      return "block pull";
    case LibvirtJob::Kind::kCommit:
      return "block commit";
    case LibvirtJob::Kind::kActiveCommit:
      return "commit of the active file";
    case LibvirtJob::Kind::kCopy:
      return "block copy";
    case LibvirtJob::Kind::kOther:
      break;
  }
  return "job of an unknown kind";
}

class LibvirtHypervisor : public Hypervisor {
 public:
  explicit LibvirtHypervisor(std::unique_ptr<LibvirtConnection> connection)
      : connection_(std::move(connection)) {}

  absl::StatusOr<DiskState> Look(const DiskRef& disk) override;
  absl::Status SwitchToLayers(const std::vector<DiskSwitch>& switches) override;
  absl::StatusOr<JobState> Merge(const DiskRef& disk, const LayerMerge& merge,
                                 const std::string& job_id, absl::Duration patience) override;
  absl::StatusOr<JobState> Mirror(const DiskRef& disk, const DiskMove& move,
                                  const std::string& target_directory, const std::string& job_id,
                                  absl::Duration patience) override;
  absl::Status FinishMirror(const DiskRef& disk, const DiskMove& move,
                            const std::string& target_directory,
                            const std::string& job_id) override;
  absl::Status CancelJob(const DiskRef& disk, const std::string& job_id) override;
  absl::Status Resize(const DiskRef& disk, const DiskResize& resize) override;

 private:
  absl::Status Mismatch(const std::string& disk, const std::string& what) const {
    return connection_->Failure(Reason::kHypervisorMismatch, fmt::format("disk {} {}", disk, what));
  }
  absl::StatusOr<LibvirtChain> LookAtChain(const std::string& disk);
  absl::StatusOr<bool> IsMerged(const std::string& disk, const LibvirtChain& chain,
                                const LayerMerge& merge) const;
  absl::Status BeginMerge(const std::string& disk, const LibvirtChain& chain,
                          const LayerMerge& merge);
  absl::Status TakeOver(const std::string& disk, const DiskMove& move,
                        const std::string& target_directory);
  // Holds the guest, and then makes both files the same, and durable. Should the machine die before it
  // is known which of them it has gone on with, it must not matter.
  absl::Status MakeSame(const std::string& disk, const std::string& target);
  absl::Status CatchUp(const std::string& disk, const std::string& target);
  // The disk's job, which must be of this kind.
  absl::StatusOr<std::optional<LibvirtJob>> FindJob(const std::string& disk, LibvirtJob::Kind kind);
  // After begin() failed with `failure`: no error when such a job is there now, begun by another.
  absl::Status UnlessBegun(const std::string& disk, LibvirtJob::Kind kind, absl::Status failure);

  const std::unique_ptr<LibvirtConnection> connection_;
  // The jobs that were on their way when they were looked at last: one that has ended without
  // having done its work has failed.
  std::set<std::string> seen_jobs_;
};

absl::StatusOr<LibvirtChain> LibvirtHypervisor::LookAtChain(const std::string& disk) {
  ASSIGN_OR_RETURN(LibvirtDomain domain, connection_->Domain());
  return FindLibvirtChain(*connection_, domain, disk);
}

absl::StatusOr<DiskState> LibvirtHypervisor::Look(const DiskRef& disk) {
  ASSIGN_OR_RETURN(LibvirtChain chain, LookAtChain(disk.disk));
  ASSIGN_OR_RETURN(int64_t size_bytes, connection_->Capacity(disk.disk));
  return DiskState{std::move(chain.directory), std::move(chain.names), size_bytes};
}

absl::Status LibvirtHypervisor::SwitchToLayers(const std::vector<DiskSwitch>& switches) {
  ASSIGN_OR_RETURN(LibvirtDomain domain, connection_->Domain());
  std::vector<LibvirtNewLayer> layers;
  std::set<std::string> named;
  bool quiesce = false;
  for (const DiskSwitch& one : switches) {
    const std::string& disk = one.disk.disk;
    ASSIGN_OR_RETURN(LibvirtChain chain, FindLibvirtChain(*connection_, domain, disk));
    named.insert(disk);
    quiesce = quiesce || one.change.quiesce;
    if (chain.names[0] == one.change.file) continue;
    if (chain.names[0] != one.change.backing_file) {
      return Mismatch(disk, fmt::format("writes to {}; neither {} nor {} is active", chain.names[0],
                                        one.change.backing_file, one.change.file));
    }
    layers.push_back({disk, chain.directory + "/" + one.change.file});
  }
  if (!layers.empty() && layers.size() < switches.size()) {
    // No transaction of ours left it so, and now they cannot be of one instant.
    return Mismatch(layers[0].target, "writes to the old layer, but another disk to the new one");
  }
  std::vector<std::string> others;
  for (const LibvirtDisk& disk : domain.disks) {
    if (named.count(disk.target) == 0) others.push_back(disk.target);
  }
  if (!layers.empty()) {
    RETURN_IF_ERROR(connection_->Snapshot(LibvirtSnapshotXml(layers, others), quiesce));
  }
  // The disks have switched, whatever comes of it.
  connection_->ForgetBacking({named.begin(), named.end()}).IgnoreError();
  return absl::OkStatus();
}

absl::StatusOr<std::optional<LibvirtJob>> LibvirtHypervisor::FindJob(const std::string& disk,
                                                                     LibvirtJob::Kind kind) {
  ASSIGN_OR_RETURN(std::optional<LibvirtJob> job, connection_->FindJob(disk));
  if (job && job->kind != kind) {
    return connection_->Failure(
        Reason::kHypervisorFailed,
        fmt::format("disk {} has another job, a {} ({} of {} bytes); libvirt runs one at a time",
                    disk, JobName(job->kind), job->done_bytes, job->total_bytes));
  }
  return job;
}

absl::Status LibvirtHypervisor::UnlessBegun(const std::string& disk, LibvirtJob::Kind kind,
                                            absl::Status failure) {
  if (failure.ok() || !HasReason(failure, Reason::kHypervisorFailed)) return failure;
  auto job = FindJob(disk, kind);
  return job.ok() && job->has_value() ? absl::OkStatus() : failure;
}

absl::StatusOr<bool> LibvirtHypervisor::IsMerged(const std::string& disk, const LibvirtChain& chain,
                                                 const LayerMerge& merge) const {
  const bool commit = merge.direction == MergeDirection::kCommit;
  const std::string& leaving = commit ? merge.top : merge.base;
  if (!chain.Has(leaving) && chain.Has(merge.rebased) &&
      chain.StandsOn(merge.rebased, merge.backing_after)) {
    return true;
  }
  const bool there = chain.Has(merge.top) && chain.StandsOn(merge.top, merge.base) &&
                     (commit ? chain.StandsOn(merge.rebased, merge.top)
                             : chain.StandsOn(merge.base, merge.backing_after));
  if (there) return false;
  return Mismatch(disk,
                  fmt::format("has open {}: neither with {} on {} nor with {} on {}",
                              fmt::join(chain.names, ", "), merge.top, merge.base, merge.rebased,
                              merge.backing_after.empty() ? "nothing" : merge.backing_after));
}

absl::Status LibvirtHypervisor::BeginMerge(const std::string& disk, const LibvirtChain& chain,
                                           const LayerMerge& merge) {
  if (merge.direction == MergeDirection::kCommit) {
    return connection_->BeginCommit(disk, chain.references[chain.Find(merge.top)],
                                    chain.references[chain.Find(merge.base)]);
  }
  if (merge.top != chain.names[0]) {
    return connection_->Failure(
        Reason::kHypervisorFailed,
        fmt::format("libvirt streams into the active file of disk {} only, which is {}, not {}",
                    disk, chain.names[0], merge.top));
  }
  return connection_->BeginPull(
      disk, merge.backing_after.empty() ? "" : chain.references[chain.Find(merge.backing_after)]);
}

absl::StatusOr<JobState> LibvirtHypervisor::Merge(const DiskRef& disk, const LayerMerge& merge,
                                                  const std::string& job_id,
                                                  absl::Duration patience) {
  const auto kind = merge.direction == MergeDirection::kCommit ? LibvirtJob::Kind::kCommit
                                                               : LibvirtJob::Kind::kPull;
  const Deadline deadline(patience);
  bool begun = false;
  for (;;) {
    // The job first: once there is none, the chain is what it has left.
    ASSIGN_OR_RETURN(std::optional<LibvirtJob> job, FindJob(disk.disk, kind));
    if (job) {
      seen_jobs_.insert(job_id);
      if (deadline.passed()) {
        return JobState{JobState::Phase::kRunning, job->done_bytes, job->total_bytes, begun};
      }
      absl::SleepFor(std::min(kLookInterval, deadline.left()));
      continue;
    }
    ASSIGN_OR_RETURN(LibvirtChain chain, LookAtChain(disk.disk));
    const bool seen = seen_jobs_.erase(job_id) > 0;
    ASSIGN_OR_RETURN(bool merged, IsMerged(disk.disk, chain, merge));
    if (merged) {
      // QEMU says that a stream is done when the header names another backing file already, but may
      // have its new mapping tables in memory only: all that was streamed is lost if it is killed
      // before the guest flushes.
      RETURN_IF_ERROR(connection_->Flush(chain.disk));
      return JobState{JobState::Phase::kDone};
    }
    if (seen) {
      return connection_->Failure(
          Reason::kHypervisorFailed,
          fmt::format("the {} of disk {} has ended without merging {} and {}; libvirtd's log may "
                      "say why",
                      JobName(kind), disk.disk, merge.top, merge.base));
    }
    RETURN_IF_ERROR(UnlessBegun(disk.disk, kind, BeginMerge(disk.disk, chain, merge)));
    begun = true;
    seen_jobs_.insert(job_id);
  }
}

absl::StatusOr<JobState> LibvirtHypervisor::Mirror(const DiskRef& disk, const DiskMove& move,
                                                   const std::string& target_directory,
                                                   const std::string& job_id,
                                                   absl::Duration patience) {
  const std::string target = target_directory + "/" + move.file;
  const Deadline deadline(patience);
  for (;;) {
    ASSIGN_OR_RETURN(std::optional<LibvirtJob> job, FindJob(disk.disk, LibvirtJob::Kind::kCopy));
    ASSIGN_OR_RETURN(LibvirtChain chain, LookAtChain(disk.disk));
    if (chain.names[0] != move.file) {
      return Mismatch(disk.disk, fmt::format("writes to {}, not {}", chain.names[0], move.file));
    }
    if (job && chain.disk.mirror && !SamePath(chain.disk.mirror->path, target)) {
      return connection_->Failure(Reason::kHypervisorFailed,
                                  fmt::format("disk {} is being copied to {} by another job",
                                              disk.disk, chain.disk.mirror->path));
    }
    if (job) {
      seen_jobs_.insert(job_id);
      const bool ready =
          chain.disk.mirror && chain.disk.mirror->ready && job->done_bytes == job->total_bytes;
      if (ready) {
        RETURN_IF_ERROR(MakeSame(disk.disk, chain.disk.mirror->path));
        return JobState{JobState::Phase::kReady, job->total_bytes, job->total_bytes};
      }
      if (deadline.passed()) {
        return JobState{JobState::Phase::kRunning, job->done_bytes, job->total_bytes};
      }
      absl::SleepFor(std::min(kLookInterval, deadline.left()));
      continue;
    }
    const bool seen = seen_jobs_.erase(job_id) > 0;
    if (SamePath(chain.directory, target_directory)) return JobState{JobState::Phase::kDone};
    if (seen) {
      return connection_->Failure(
          Reason::kHypervisorFailed,
          fmt::format("the copy of disk {} to {} has ended before it was whole; libvirtd's log may "
                      "say why",
                      disk.disk, target));
    }
    RETURN_IF_ERROR(
        UnlessBegun(disk.disk, LibvirtJob::Kind::kCopy,
                    connection_->BeginCopy(disk.disk, LibvirtCopyXml(target, move.format),
                                           chain.names.size() > 1)));
    seen_jobs_.insert(job_id);
  }
}

absl::Status LibvirtHypervisor::FinishMirror(const DiskRef& disk, const DiskMove& move,
                                             const std::string& target_directory,
                                             const std::string& job_id) {
  const absl::Status moved = TakeOver(disk.disk, move, target_directory);
  // In any case: whoever was here before may have held the guest and not come to an end.
  const absl::Status released = connection_->Release();
  RETURN_IF_ERROR(moved);
  RETURN_IF_ERROR(released);
  seen_jobs_.erase(job_id);
  return absl::OkStatus();
}

absl::Status LibvirtHypervisor::TakeOver(const std::string& disk, const DiskMove& move,
                                         const std::string& target_directory) {
  ASSIGN_OR_RETURN(std::optional<LibvirtJob> job, FindJob(disk, LibvirtJob::Kind::kCopy));
  ASSIGN_OR_RETURN(LibvirtChain chain, LookAtChain(disk));
  const bool moved = chain.names[0] == move.file && SamePath(chain.directory, target_directory);
  if (moved && !job) return absl::OkStatus();
  const std::string target = target_directory + "/" + move.file;
  if (!job || !chain.disk.mirror || !SamePath(chain.disk.mirror->path, target)) {
    return Mismatch(disk, fmt::format("has open {}/{} and is not being copied to {}",
                                      chain.directory, chain.names[0], target));
  }
  // The guest may have been let go on since Mirror() has held it.
  RETURN_IF_ERROR(MakeSame(disk, chain.disk.mirror->path));
  RETURN_IF_ERROR(connection_->EndJob(disk, /*pivot=*/true));
  ASSIGN_OR_RETURN(LibvirtChain after, LookAtChain(disk));
  if (!SamePath(after.directory, target_directory)) {
    // Before that is cleared up, nobody may think that it has not moved.
    return connection_->Failure(Reason::kHypervisorUnavailable,
                                fmt::format("disk {} seems to have {}/{} open after the move to {}",
                                            disk, after.directory, after.names[0], target));
  }
  return absl::OkStatus();
}

absl::Status LibvirtHypervisor::MakeSame(const std::string& disk, const std::string& target) {
  RETURN_IF_ERROR(connection_->Hold());
  const absl::Status same = CatchUp(disk, target);
  if (!same.ok()) connection_->Release().IgnoreError();
  return same;
}

absl::Status LibvirtHypervisor::CatchUp(const std::string& disk, const std::string& target) {
  for (const Deadline deadline(kStandStillMax);;) {
    ASSIGN_OR_RETURN(std::optional<LibvirtJob> job, FindJob(disk, LibvirtJob::Kind::kCopy));
    if (!job) return Mismatch(disk, fmt::format("is not being copied to {} any more", target));
    if (job->done_bytes == job->total_bytes) return connection_->FlushFile(target);
    if (deadline.passed()) {
      return connection_->Failure(
          Reason::kHypervisorUnavailable,
          fmt::format("the copy of disk {} did not catch up while the guest stood still", disk));
    }
    absl::SleepFor(kLookInterval / 4);
  }
}

absl::Status LibvirtHypervisor::CancelJob(const DiskRef& disk, const std::string& job_id) {
  ASSIGN_OR_RETURN(std::optional<LibvirtJob> job, connection_->FindJob(disk.disk));
  if (job) {
    absl::Status ended = connection_->EndJob(disk.disk, /*pivot=*/false);
    if (HasReason(ended, Reason::kHypervisorFailed)) {
      // It may have ended by itself meanwhile.
      ASSIGN_OR_RETURN(job, connection_->FindJob(disk.disk));
      if (job) return ended;
    } else if (!ended.ok()) {
      return ended;
    }
  }
  seen_jobs_.erase(job_id);
  // By FinishMirror, if that has not come to an end.
  return connection_->Release();
}

absl::Status LibvirtHypervisor::Resize(const DiskRef& disk, const DiskResize& resize) {
  ASSIGN_OR_RETURN(DiskState state, Look(disk));
  if (state.files[0] != resize.file) {
    return Mismatch(disk.disk, fmt::format("writes to {}, not {}", state.files[0], resize.file));
  }
  if (state.size_bytes == resize.size_bytes) return absl::OkStatus();
  if (state.size_bytes > resize.size_bytes) {
    return connection_->Failure(
        Reason::kHypervisorFailed,
        fmt::format("disk {} has {} bytes; it cannot be made smaller, to {}", disk.disk,
                    state.size_bytes, resize.size_bytes));
  }
  return connection_->Resize(disk.disk, resize.size_bytes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectLibvirt(const HypervisorAddress& address,
                                                           const HypervisorOptions& options) {
  RETURN_IF_ERROR(CheckLibvirtAddress(address));
  ASSIGN_OR_RETURN(auto connection, LibvirtConnection::Open(address, options));
  return std::unique_ptr<Hypervisor>(new LibvirtHypervisor(std::move(connection)));
}

}  // namespace cairn
