#include "lib/hypervisor/qmp_job.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/os/deadline.h"

namespace cairn {
namespace {

// The events say when to look; this is for one that was lost.
constexpr absl::Duration kLookAgain = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::optional<QmpJob>> FindJob(QmpClient* qmp, const std::string& id) {
  ASSIGN_OR_RETURN(const nlohmann::json jobs, qmp->Execute("query-jobs"));
  for (const nlohmann::json& json : jobs) {
    if (JsonValue<std::string>(json, "id", "") != id) continue;
    QmpJob job;
    job.id = id;
    job.type = JsonValue<std::string>(json, "type", "");
    job.status = JsonValue<std::string>(json, "status", "");
    job.error = JsonValue<std::string>(json, "error", "");
    job.done_bytes = JsonValue<int64_t>(json, "current-progress", 0);
    job.total_bytes = JsonValue<int64_t>(json, "total-progress", 0);
    return job;
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<QmpJob>> WaitForJob(QmpClient* qmp, const std::string& id,
                                                 absl::Duration patience,
                                                 std::string_view or_status) {
  const Deadline deadline(patience);
  for (;;) {
    ASSIGN_OR_RETURN(std::optional<QmpJob> job, FindJob(qmp, id));
    if (!job.has_value() || job->concluded() || job->status == or_status) return job;
    // Until something is told about a job. What was told before this look costs one look more.
    const Deadline look(std::min(deadline.left(), kLookAgain));
    for (bool told = false; !told && !look.passed();) {
      ASSIGN_OR_RETURN(const nlohmann::json event, qmp->NextEvent(look.left()));
      if (event.is_null()) continue;
      const std::string name = JsonValue<std::string>(event, "event", "");
      told = name.starts_with("JOB_") || name.starts_with("BLOCK_JOB_");
    }
    if (deadline.passed()) return FindJob(qmp, id);
  }
}

absl::StatusOr<std::optional<QmpJob>> WaitForEnd(QmpClient* qmp, const std::string& id,
                                                 absl::Duration limit) {
  ASSIGN_OR_RETURN(std::optional<QmpJob> job, WaitForJob(qmp, id, limit));
  if (job.has_value() && !job->concluded()) {
    return qmp->Unavailable(fmt::format("job {} does not end: it is {}", id, job->status));
  }
  return job;
}

absl::Status EndJob(QmpClient* qmp, const QmpJob& job) {
  const auto dismissed = qmp->Execute("job-dismiss", {{"id", job.id}});
  // Refused when somebody else did it meanwhile.
  if (!dismissed.ok() && HasReason(dismissed.status(), Reason::kHypervisorUnavailable)) {
    return dismissed.status();
  }
  if (job.error.empty()) return absl::OkStatus();
  const Reason reason =
      job.error == "Operation canceled" ? Reason::kCancelled : QmpFailureReason(job.error);
  return Error(reason,
               fmt::format("QMP at {}: job {} ({}) failed: {}", qmp->address(), job.id, job.type,
                           job.error.substr(0, 1000)),
               {{"address", qmp->address()}, {"command", job.type}});
}

}  // namespace cairn
