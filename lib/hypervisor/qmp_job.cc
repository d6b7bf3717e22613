#include "lib/hypervisor/qmp_job.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/os/deadline.h"

namespace cairn {
namespace {

constexpr char kCancelledError[] = "Operation canceled";
// The events say when to look; this is for one that was lost.
constexpr absl::Duration kLookAgain = absl::Seconds(1);

std::string EventName(const nlohmann::json& event) {
  return JsonValue<std::string>(event, "event", "");
}

bool IsOfJobs(const nlohmann::json& event) {
  const std::string name = EventName(event);
  return name.starts_with("JOB_") || name.starts_with("BLOCK_JOB_");
}

nlohmann::json DataOf(const nlohmann::json& event) {
  return event.is_object() && event.contains("data") ? event["data"] : nlohmann::json();
}

bool TellsEnd(const nlohmann::json& event, const std::string& id) {
  const std::string name = EventName(event);
  return (name == "BLOCK_JOB_COMPLETED" || name == "BLOCK_JOB_CANCELLED") &&
         JsonValue<std::string>(DataOf(event), "device", "") == id;
}

QmpJob Concluded(QmpJob job, const nlohmann::json& event) {
  const nlohmann::json data = DataOf(event);
  job.id = JsonValue<std::string>(data, "device", "");
  job.type = JsonValue<std::string>(data, "type", "");
  job.status = "concluded";
  job.error = EventName(event) == "BLOCK_JOB_CANCELLED" ? kCancelledError
                                                        : JsonValue<std::string>(data, "error", "");
  job.done_bytes = JsonValue<int64_t>(data, "offset", job.done_bytes);
  job.total_bytes = JsonValue<int64_t>(data, "len", job.total_bytes);
  return job;
}

// Of a job that is gone: what was told of its end, if that has come.
absl::StatusOr<std::optional<QmpJob>> HearEnd(QmpClient* qmp, const std::string& id, QmpJob last) {
  const Deadline limit(kLookAgain);
  while (!limit.passed()) {
    ASSIGN_OR_RETURN(const nlohmann::json event, qmp->NextEvent(absl::ZeroDuration()));
    if (event.is_null()) break;
    if (TellsEnd(event, id)) return Concluded(std::move(last), event);
  }
  return std::nullopt;
}

}  // namespace

absl::Status StartJob(QmpClient* qmp, std::string_view command, const nlohmann::json& arguments) {
  qmp->ForgetEvents();
  return qmp->Execute(command, arguments).status();
}

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
  QmpJob last;
  for (;;) {
    ASSIGN_OR_RETURN(std::optional<QmpJob> job, FindJob(qmp, id));
    if (!job.has_value()) return HearEnd(qmp, id, std::move(last));
    if (job->concluded() || job->status == or_status || deadline.passed()) return job;
    last = *std::move(job);
    // Until something is told about a job. What was told before this look costs one look more.
    const Deadline look(std::min(deadline.left(), kLookAgain));
    for (bool told = false; !told && !look.passed();) {
      ASSIGN_OR_RETURN(const nlohmann::json event, qmp->NextEvent(look.left()));
      if (event.is_null()) continue;
      told = IsOfJobs(event);
      if (TellsEnd(event, id)) return Concluded(std::move(last), event);
    }
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
      job.error == kCancelledError ? Reason::kCancelled : QmpFailureReason(job.error);
  return Error(reason,
               fmt::format("QMP at {}: job {} ({}) failed: {}", qmp->address(), job.id, job.type,
                           job.error.substr(0, 1000)),
               {{"address", qmp->address()}, {"command", job.type}});
}

}  // namespace cairn
