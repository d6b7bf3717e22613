// Two neighbouring layers become one: block-commit and block-stream.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/base/format.h"
#include "lib/base/status.h"
#include "lib/hypervisor/qmp_hypervisor.h"

namespace cairn {
namespace {

// The place of a file in the chain; the chain's length when it is not there.
size_t PlaceOf(const QmpDisk& disk, const std::string& file) {
  const auto it = std::find_if(disk.chain.begin(), disk.chain.end(),
                               [&](const QmpLayer& layer) { return layer.file == file; });
  return static_cast<size_t>(it - disk.chain.begin());
}

// What is below that place: empty where it ends.
std::string FileAt(const QmpDisk& disk, size_t place) {
  return place < disk.chain.size() ? disk.chain[place].file : std::string();
}

}  // namespace

absl::StatusOr<bool> QmpHypervisor::IsMerged(const DiskRef& disk, const QmpDisk& found,
                                             const LayerMerge& merge) const {
  const bool commit = merge.direction == MergeDirection::kCommit;
  const std::string& leaving = commit ? merge.top : merge.base;
  const size_t rebased = PlaceOf(found, merge.rebased);
  const std::string below = FileAt(found, rebased + 1);
  if (rebased == found.chain.size()) {
    return Mismatch(disk, fmt::format("{} is not in its chain", merge.rebased));
  }
  if (PlaceOf(found, leaving) == found.chain.size() && below == merge.backing_after) return true;
  // What goes down into its base stands below the file that is rebased; what goes up, below top.
  const bool begins = commit ? merge.backing_after == merge.base && below == merge.top &&
                                   FileAt(found, rebased + 2) == merge.base
                             : merge.rebased == merge.top && below == merge.base &&
                                   FileAt(found, rebased + 2) == merge.backing_after;
  if (begins && !below.empty()) return false;
  return Mismatch(disk, fmt::format("{} does not stand on {} and that on {}", merge.rebased, below,
                                    FileAt(found, rebased + 2)));
}

absl::Status QmpHypervisor::StartMerge(const DiskRef& disk, const QmpDisk& found,
                                       const LayerMerge& merge, const std::string& job_id) {
  const bool commit = merge.direction == MergeDirection::kCommit;
  nlohmann::json arguments = {{"job-id", job_id}, {"auto-dismiss", false}};
  if (!merge.backing_after.empty()) {
    const QmpLayer& after = found.chain[PlaceOf(found, merge.backing_after)];
    // QEMU writes the node's driver into the header as the format of the backing file.
    if (after.driver != FileFormatName(merge.backing_format_after)) {
      return Mismatch(disk, fmt::format("{} is open as {}, not as {}", after.file, after.driver,
                                        FileFormatName(merge.backing_format_after)));
    }
    arguments["base-node"] = after.node;
    arguments["backing-file"] = merge.backing_after;
  }
  const QmpLayer& top = found.chain[PlaceOf(found, merge.top)];
  if (commit) {
    arguments["device"] = found.root;
    arguments["top-node"] = top.node;
  } else {
    arguments["device"] = top.node;
  }
  return qmp_->Execute(commit ? "block-commit" : "block-stream", arguments).status();
}

absl::StatusOr<JobState> QmpHypervisor::Merge(const DiskRef& disk, const LayerMerge& merge,
                                              const std::string& job_id, absl::Duration patience) {
  ASSIGN_OR_RETURN(std::optional<QmpJob> job, FindJob(qmp_.get(), job_id));
  if (!job.has_value()) {
    ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(disk));
    ASSIGN_OR_RETURN(const bool merged, IsMerged(disk, found, merge));
    if (!merged) RETURN_IF_ERROR(StartMerge(disk, found, merge, job_id));
  }
  ASSIGN_OR_RETURN(job, WaitForJob(qmp_.get(), job_id, patience));
  JobState state;
  if (job.has_value()) {
    if (!job->concluded()) return job->State(JobState::Phase::kRunning);
    RETURN_IF_ERROR(EndJob(qmp_.get(), *job));
    state = job->State(JobState::Phase::kDone);
  }
  state.phase = JobState::Phase::kDone;
  ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(disk));
  ASSIGN_OR_RETURN(const bool merged, IsMerged(disk, found, merge));
  if (!merged) {
    return Failed(disk,
                  merge.direction == MergeDirection::kCommit ? "block-commit" : "block-stream",
                  fmt::format("job {} ended, and {} is still open", job_id,
                              merge.direction == MergeDirection::kCommit ? merge.top : merge.base));
  }
  const std::string left = found.active().directory + "/" +
                           (merge.direction == MergeDirection::kCommit ? merge.top : merge.base);
  RETURN_IF_ERROR(
      RemoveUnused([&](const QmpNode&, const std::string& path) { return path == left; }));
  return state;
}

}  // namespace cairn
