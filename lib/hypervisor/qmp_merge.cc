// Two neighbouring layers become one: block-commit and block-stream.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
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

absl::Status QmpHypervisor::Flush(const DiskRef& disk, const std::string& file) {
  ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
  ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(graph, disk));
  const size_t place = PlaceOf(found, file);
  if (place == found.chain.size()) {
    return Mismatch(disk, fmt::format("{} is not in its chain", file));
  }
  const QmpNode& node = *graph.Node(found.chain[place].node);
  // It was flushed when it became that.
  if (node.read_only) return absl::OkStatus();
  // QMP has no command for it. But a node is flushed before it is reopened, whatever comes of that:
  // here nothing, because there is no such node to put below it.
  constexpr char kNoNode[] = "cairn-no-node";
  const auto below = node.children.find("file");
  const nlohmann::json options = {
      {"driver", "qcow2"},
      {"node-name", node.name},
      {"file", below == node.children.end() ? std::string(kNoNode) : below->second},
      {"backing", kNoNode}};
  const absl::Status refused =
      qmp_->Execute("blockdev-reopen", {{"options", nlohmann::json::array({options})}}).status();
  if (HasReason(refused, Reason::kHypervisorFailed) &&
      refused.message().find(kNoNode) != absl::string_view::npos) {
    return absl::OkStatus();
  }
  return refused;
}

absl::Status QmpHypervisor::FinalizeMerge(const DiskRef& disk, const LayerMerge& merge,
                                          const std::string& job_id) {
  // QEMU 7.2 names the new backing file in the header before it flushes what the job wrote, and
  // what it streamed it does not flush at all: killed then, it would have lost what was in the
  // file that left.
  const absl::Status flushed =
      Flush(disk, merge.direction == MergeDirection::kCommit ? merge.base : merge.top);
  if (!flushed.ok()) {
    if (!HasReason(flushed, Reason::kHypervisorUnavailable)) CancelJob(disk, job_id).IgnoreError();
    return flushed;
  }
  return qmp_->Execute("job-finalize", {{"id", job_id}}).status();
}

absl::Status QmpHypervisor::CloseMerged(const LayerMerge& merge) {
  const std::string& left = merge.direction == MergeDirection::kCommit ? merge.top : merge.base;
  ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
  if (!graph.HasChain(merge.rebased, left)) return absl::OkStatus();
  return RemoveUnused(
      [&](const QmpNode&, const std::string& path) { return path.ends_with("/" + left); });
}

absl::Status QmpHypervisor::StartMerge(const DiskRef& disk, const QmpDisk& found,
                                       const LayerMerge& merge, const std::string& job_id) {
  const bool commit = merge.direction == MergeDirection::kCommit;
  // A stream that has ended and is not dismissed yet makes QEMU 7.2 crash when anybody asks it for its
  // named nodes.
  nlohmann::json arguments = {
      {"job-id", job_id}, {"auto-dismiss", !commit}, {"auto-finalize", false}};
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
  return StartJob(qmp_.get(), commit ? "block-commit" : "block-stream", arguments);
}

absl::StatusOr<JobState> QmpHypervisor::Merge(const DiskRef& disk, const LayerMerge& merge,
                                              const std::string& job_id, absl::Duration patience) {
  bool begun = false;
  ASSIGN_OR_RETURN(std::optional<QmpJob> job, FindJob(qmp_.get(), job_id));
  if (!job.has_value()) {
    RETURN_IF_ERROR(CloseMerged(merge));
    ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(disk));
    ASSIGN_OR_RETURN(const bool merged, IsMerged(disk, found, merge));
    begun = !merged;
    if (begun) RETURN_IF_ERROR(StartMerge(disk, found, merge, job_id));
  }
  ASSIGN_OR_RETURN(job, WaitForJob(qmp_.get(), job_id, patience, kJobPending));
  if (job.has_value() && job->status == kJobPending) {
    RETURN_IF_ERROR(FinalizeMerge(disk, merge, job_id));
    ASSIGN_OR_RETURN(job, WaitForEnd(qmp_.get(), job_id, options_.answer_timeout));
  }
  JobState state;
  if (job.has_value()) {
    if (!job->concluded()) {
      state = job->State(JobState::Phase::kRunning);
      state.begun = begun;
      return state;
    }
    RETURN_IF_ERROR(EndJob(qmp_.get(), *job));
    state = job->State(JobState::Phase::kDone);
  }
  state.phase = JobState::Phase::kDone;
  // First: the disk may have the name of the node that has left.
  RETURN_IF_ERROR(CloseMerged(merge));
  ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(disk));
  ASSIGN_OR_RETURN(const bool merged, IsMerged(disk, found, merge));
  if (!merged) {
    return Failed(disk,
                  merge.direction == MergeDirection::kCommit ? "block-commit" : "block-stream",
                  fmt::format("job {} ended, and {} is still open", job_id,
                              merge.direction == MergeDirection::kCommit ? merge.top : merge.base));
  }
  // The header that names the other backing file: before the file that left is removed.
  RETURN_IF_ERROR(Flush(disk, merge.rebased));
  return state;
}

}  // namespace cairn
