// Jobs of QEMU, which are found again by their ids. Most are kept after their end (auto-dismiss is
// off), so that whoever comes back learns how it was.
//
// One thread at a time, as QmpClient.
//
//   ASSIGN_OR_RETURN(std::optional<QmpJob> job, WaitForJob(&qmp, "merge-1", patience));
//   if (job.has_value() && job->concluded()) RETURN_IF_ERROR(EndJob(&qmp, *job));
#ifndef CAIRN_LIB_HYPERVISOR_QMP_JOB_H_
#define CAIRN_LIB_HYPERVISOR_QMP_JOB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/hypervisor/hypervisor.h"
#include "lib/hypervisor/qmp_client.h"

namespace cairn {

// The status of a job that has done its work, and waits for the word to change the disk.
inline constexpr std::string_view kJobPending = "pending";

struct QmpJob {
  std::string id;
  std::string type;    // "commit", "stream", "mirror"
  std::string status;  // "running", "ready", "pending", "concluded" ...
  std::string error;   // of one that is concluded; empty: it succeeded
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;

  bool concluded() const { return status == "concluded"; }
  JobState State(JobState::Phase phase) const {
    return {.phase = phase, .done_bytes = done_bytes, .total_bytes = total_bytes};
  }
};

// `command` begins a job of a name that no job has. What was told of an earlier one of that name is
// forgotten.
absl::Status StartJob(QmpClient* qmp, std::string_view command, const nlohmann::json& arguments);

// Nothing when there is no job of that name.
absl::StatusOr<std::optional<QmpJob>> FindJob(QmpClient* qmp, const std::string& id);

// The job when it is concluded or has the status `or_status`, or as it is when `patience` is over. One
// that dismisses itself is concluded as its last event said; nothing when none was heard.
absl::StatusOr<std::optional<QmpJob>> WaitForJob(QmpClient* qmp, const std::string& id,
                                                 absl::Duration patience,
                                                 std::string_view or_status = {});

// As WaitForJob, for the end of something that takes moments: HYPERVISOR_UNAVAILABLE when the job
// has not ended within `limit`.
absl::StatusOr<std::optional<QmpJob>> WaitForEnd(QmpClient* qmp, const std::string& id,
                                                 absl::Duration limit);

// Dismisses a job that is concluded, and returns its own error: HYPERVISOR_FAILED, NO_SPACE or
// CANCELLED.
absl::Status EndJob(QmpClient* qmp, const QmpJob& job);

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_QMP_JOB_H_
