// A disk moves to another directory: blockdev-mirror.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/base/format.h"
#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/hypervisor/qmp_hypervisor.h"

namespace cairn {
namespace {

bool IsReady(const QmpJob& job) {
  return job.status == "ready" || job.status == "waiting" || job.status == kJobPending;
}

}  // namespace

absl::Status QmpHypervisor::StartMirror(const DiskRef& disk, const DiskMove& move,
                                        const std::string& target_directory,
                                        const std::string& job_id) {
  ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
  ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(graph, disk));
  const QmpLayer& active = found.active();
  if (active.file != move.file || active.driver != FileFormatName(move.format)) {
    return Mismatch(disk, fmt::format("{} ({}) is active, not {} ({})", active.file, active.driver,
                                      move.file, FileFormatName(move.format)));
  }
  // The whole chain, from the base up; never what a header says.
  const QmpNode& present = *graph.Node(active.node);
  nlohmann::json options;
  for (auto layer = found.chain.rbegin(); layer != found.chain.rend(); ++layer) {
    nlohmann::json above =
        QmpOptionsLike(present, layer->driver, target_directory + "/" + layer->file);
    if (!options.is_null() || layer->driver == "qcow2") above["backing"] = std::move(options);
    options = std::move(above);
  }
  ASSIGN_OR_RETURN(const std::string target,
                   AddNode(graph, target_directory + "/" + move.file, std::move(options)));
  nlohmann::json arguments = {{"job-id", job_id},
                              {"device", found.root},
                              {"target", target},
                              {"sync", found.chain.size() == 1 ? "full" : "top"},
                              // A write that the guest was told is done is in both files.
                              {"copy-mode", "write-blocking"},
                              {"auto-dismiss", false},
                              {"auto-finalize", false}};
  if (found.root != active.node) arguments["replaces"] = active.node;
  const absl::Status started = StartJob(qmp_.get(), "blockdev-mirror", arguments);
  if (!started.ok()) RemoveNode(target);
  return started;
}

absl::StatusOr<bool> QmpHypervisor::HasMoved(const DiskRef& disk, const DiskMove& move,
                                             const std::string& target_directory) {
  ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(disk));
  if (found.active().directory != target_directory) return false;
  if (found.active().file != move.file) {
    return Mismatch(disk, fmt::format("{} is active, not {}", found.active().file, move.file));
  }
  RETURN_IF_ERROR(RemoveUnused([&](const QmpNode&, const std::string& path) {
    // The same files, elsewhere.
    return std::any_of(found.chain.begin(), found.chain.end(), [&](const QmpLayer& layer) {
      return path.ends_with("/" + layer.file) && path != layer.path();
    });
  }));
  return true;
}

absl::Status QmpHypervisor::MirrorEnded(const DiskRef& disk, const DiskMove& move,
                                        const std::string& target_directory,
                                        const std::optional<QmpJob>& job) {
  if (job.has_value()) {
    const absl::Status ended = EndJob(qmp_.get(), *job);
    if (!ended.ok()) {
      if (!HasReason(ended, Reason::kHypervisorUnavailable)) RemoveLeftovers(disk).IgnoreError();
      return ended;
    }
  }
  ASSIGN_OR_RETURN(const bool moved, HasMoved(disk, move, target_directory));
  if (moved) return absl::OkStatus();
  RETURN_IF_ERROR(RemoveLeftovers(disk));
  return Failed(disk, "blockdev-mirror", "the mirror ended, and the disk has not moved");
}

// The job brings the copy up to date, flushes it, and then holds the guest's writes back: from here to
// its end whoever survives has everything, in either of the files.
absl::StatusOr<std::optional<QmpJob>> QmpHypervisor::Complete(const std::string& job_id,
                                                              const QmpJob& job) {
  // Refused by QEMU while it is not ready. One that is on its way needs no word.
  if (job.status != "waiting" && job.status != kJobPending) {
    RETURN_IF_ERROR(qmp_->Execute("job-complete", {{"id", job_id}}).status());
  }
  ASSIGN_OR_RETURN(std::optional<QmpJob> done,
                   WaitForJob(qmp_.get(), job_id, options_.answer_timeout, kJobPending));
  if (done.has_value() && !done->concluded() && done->status != kJobPending) {
    return qmp_->Unavailable(
        fmt::format("job {} does not complete: it is {}", job_id, done->status));
  }
  return done;
}

absl::StatusOr<JobState> QmpHypervisor::Mirror(const DiskRef& disk, const DiskMove& move,
                                               const std::string& target_directory,
                                               const std::string& job_id, absl::Duration patience) {
  ASSIGN_OR_RETURN(std::optional<QmpJob> job, FindJob(qmp_.get(), job_id));
  if (!job.has_value()) {
    ASSIGN_OR_RETURN(const bool moved, HasMoved(disk, move, target_directory));
    if (moved) return JobState{.phase = JobState::Phase::kDone};
    RETURN_IF_ERROR(StartMirror(disk, move, target_directory, job_id));
  }
  if (!job.has_value() || !IsReady(*job)) {
    ASSIGN_OR_RETURN(job, WaitForJob(qmp_.get(), job_id, patience, "ready"));
  }
  if (job.has_value() && !job->concluded()) {
    if (!IsReady(*job)) return job->State(JobState::Phase::kRunning);
    ASSIGN_OR_RETURN(job, Complete(job_id, *job));
    if (job.has_value() && job->status == kJobPending) return job->State(JobState::Phase::kReady);
  }
  RETURN_IF_ERROR(MirrorEnded(disk, move, target_directory, job));
  return JobState{.phase = JobState::Phase::kDone};
}

absl::Status QmpHypervisor::FinishMirror(const DiskRef& disk, const DiskMove& move,
                                         const std::string& target_directory,
                                         const std::string& job_id) {
  ASSIGN_OR_RETURN(std::optional<QmpJob> job, FindJob(qmp_.get(), job_id));
  if (!job.has_value()) {
    ASSIGN_OR_RETURN(const bool moved, HasMoved(disk, move, target_directory));
    if (moved) return absl::OkStatus();
    return Mismatch(disk, fmt::format("there is no mirror {}, and it has not moved", job_id));
  }
  if (!job->concluded()) {
    ASSIGN_OR_RETURN(job, Complete(job_id, *job));
    if (job.has_value() && job->status == kJobPending) {
      RETURN_IF_ERROR(qmp_->Execute("job-finalize", {{"id", job_id}}).status());
    }
  }
  ASSIGN_OR_RETURN(job, WaitForEnd(qmp_.get(), job_id, options_.answer_timeout));
  const bool ended_well = job.has_value() && job->error.empty();
  const absl::Status moved = MirrorEnded(disk, move, target_directory, job);
  if (!ended_well || !HasReason(moved, Reason::kHypervisorFailed)) return moved;
  // The job says that it has moved. Before that is cleared up, nobody may think that it has not.
  return qmp_->Unavailable(ToStd(moved.message()));
}

}  // namespace cairn
