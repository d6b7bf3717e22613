#include "server/wire_field.h"

#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/strings.h"

namespace cairn {
namespace {

constexpr std::pair<std::string_view, std::string_view> kWireNames[] = {
    {"source.snapshot_id", "source_snapshot_id"},
    {"source.volume_id", "source_volume_id"},
    {"source.image_path", "source_image.path"},
};

}  // namespace

absl::Status NameWireField(const absl::Status& status, std::string_view prefix) {
  auto details = GetErrorDetails(status);
  if (!details.has_value() || details->reason != Reason::kInvalidField) return status;
  auto field = details->metadata.find("field");
  if (field == details->metadata.end()) return status;
  const std::string core_name = field->second;
  std::string wire_name = core_name;
  for (const auto& [core, wire] : kWireNames) {
    if (core_name == core) wire_name = wire;
  }
  wire_name.insert(0, prefix);
  if (wire_name == core_name) return status;
  std::string message(ToStd(status.message()));
  // As InvalidField makes it.
  if (message.starts_with(core_name)) message.replace(0, core_name.size(), wire_name);
  field->second = wire_name;
  return Error(Reason::kInvalidField, std::move(message), std::move(details->metadata));
}

}  // namespace cairn
