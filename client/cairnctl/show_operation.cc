#include "cairnctl/show.h"

#include <fmt/format.h>

#include <algorithm>

#include "cairn/client/errors.h"
#include "cairn/client/operation.h"
#include "cairnctl/names.h"
#include "cairnctl/show_text.h"
#include "cairnctl/table.h"
#include "cairnctl/units.h"

namespace cairn::cairnctl {
namespace {

std::string Duration(const v1::Operation& operation, SystemTime now) {
  if (!operation.has_start_time()) return "";
  const SystemTime end = operation.has_end_time()
                             ? SystemTime(std::chrono::seconds(operation.end_time().seconds()))
                             : now;
  const SystemTime start(std::chrono::seconds(operation.start_time().seconds()));
  return FormatDuration(std::chrono::duration_cast<std::chrono::seconds>(end - start));
}

}  // namespace

std::string OperationStateText(const v1::Operation& operation) {
  const v1::OperationProgress& progress = operation.progress();
  const std::string state = Word(operation.state());
  if (client::HasEnded(operation) || progress.total_bytes() <= 0) return state;
  const double part =
      static_cast<double>(progress.done_bytes()) / static_cast<double>(progress.total_bytes());
  return fmt::format("{} {}%", state, static_cast<int>(std::clamp(part, 0.0, 1.0) * 100));
}

std::string OperationProgressText(const v1::Operation& operation) {
  const std::string state = OperationStateText(operation);
  const std::string& step = operation.progress().step();
  return client::HasEnded(operation) || step.empty() ? state : state + ", " + step;
}

std::string OperationTable(const std::vector<v1::Operation>& operations, SystemTime now) {
  Table table({{"ID"},
               {"KIND"},
               {"STATE"},
               {"TARGET"},
               {"TOOK", Align::kRight},
               {"AGE", Align::kRight},
               {"ERROR"}});
  for (const v1::Operation& operation : operations) {
    table.AddRow({operation.id(), Word(operation.kind()), OperationStateText(operation),
                  operation.target(), Duration(operation, now), Age(operation.create_time(), now),
                  operation.error().message()});
  }
  return table.Render();
}

std::string OperationDetails(const v1::Operation& operation, SystemTime now) {
  const v1::OperationProgress& progress = operation.progress();
  FieldList fields;
  fields.Add("id", operation.id());
  fields.Add("kind", Word(operation.kind()));
  fields.Add("state", OperationProgressText(operation));
  fields.Add("target", operation.target());
  fields.Add("volume", operation.volume_id());
  if (progress.total_bytes() > 0) {
    fields.Add("progress", fmt::format("{} of {}", FormatSize(progress.done_bytes()),
                                       FormatSize(progress.total_bytes())));
  }
  fields.Add("cancellable", client::HasEnded(operation) ? ""
                            : operation.cancellable()   ? "yes"
                                                        : "no");
  if (operation.has_hypervisor_step()) {
    fields.Add("awaits", fmt::format("step {} of its consumer, {} disks (-o json shows it)",
                                     operation.hypervisor_step().number(),
                                     operation.hypervisor_step().instructions_size()));
  }
  if (operation.has_parked()) {
    const absl::Status parked = client::StatusFromProto(operation.parked());
    fields.Add("parked", std::string(parked.message()));
    fields.Add("reason", client::GetReason(parked));
  }
  if (operation.has_error()) {
    const absl::Status error = client::StatusFromProto(operation.error());
    fields.Add("error", std::string(error.message()));
    fields.Add("reason", client::GetReason(error));
  }
  fields.Add("request id", operation.request_id());
  fields.Add("requested by", operation.requested_by());
  fields.Add("created", When(operation.create_time(), now));
  fields.Add("started", When(operation.start_time(), now));
  fields.Add("ended", When(operation.end_time(), now));
  fields.Add("took", Duration(operation, now));
  return fields.Render();
}

}  // namespace cairn::cairnctl
