#include "lib/engine/work/new_volume.h"

#include <fmt/format.h>

#include "lib/base/status.h"

namespace cairn {
namespace {

// The first thing in which an existing volume differs from what is asked; null when in none.
const char* Difference(const VolumeRecord& volume, const AskedVolume& asked) {
  if (volume.name != asked.name) return "name";
  if (volume.labels != asked.labels) return "labels";
  if (volume.pool != asked.pool) return "pool";
  if (!asked.share.empty() && volume.share != asked.share) return "share";
  if (asked.size_bytes != 0 && volume.size_bytes != asked.size_bytes) return "size_bytes";
  if (asked.format.has_value() && volume.format != *asked.format) return "format";
  if (!(volume.source == asked.source)) return "source";
  return nullptr;
}

}  // namespace

absl::StatusOr<std::optional<Admission>> FindSameVolume(Core& core, const AskedVolume& asked) {
  VolumePtr volume = core.catalog().FindVolume(asked.id);
  if (volume == nullptr) return std::nullopt;
  if (const char* difference = Difference(*volume, asked); difference != nullptr) {
    return Error(Reason::kVolumeExists,
                 fmt::format("volume {} exists already with another {}", asked.id, difference),
                 {{"volume", asked.id}, {"field", difference}});
  }
  if (volume->state == VolumeState::kDeleting) return WrongState(*volume, "create");
  Admission admission;
  admission.volume_id = admission.target = asked.id;
  admission.immediate = true;
  admission.same_operation = volume->created_by;
  return admission;
}

absl::StatusOr<PlacedVolume> PlaceVolume(Core& core, Pool& pool, const AskedVolume& asked,
                                         int64_t physical_bytes, const std::string& operation_id) {
  VolumeFormat format = asked.format.value_or(pool.options().default_format());
  if (format == VolumeFormat::kRawThick) physical_bytes = asked.size_bytes;
  if (!asked.share.empty() && pool.FindShare(asked.share) == nullptr) {
    return Error(Reason::kShareNotFound,
                 fmt::format("pool {} has no share {}", asked.pool, asked.share.substr(0, 200)),
                 {{"pool", asked.pool}, {"share", asked.share.substr(0, 200)}});
  }
  ASSIGN_OR_RETURN(Pool::Choice choice, pool.Place({.promised_bytes = asked.size_bytes,
                                                    .physical_bytes = physical_bytes},
                                                   asked.share, /*avoid=*/{}));
  PlacedVolume placed;
  placed.reservation = std::move(choice.reservation);
  VolumeRecord& record = placed.record;
  record.id = asked.id;
  record.name = asked.name;
  record.pool = asked.pool;
  record.share = choice.share->address();
  record.size_bytes = asked.size_bytes;
  record.format = format;
  record.base_format = BaseFileFormat(format);
  record.state = VolumeState::kCreating;
  record.labels = asked.labels;
  record.active_file = BaseFileName(asked.id);
  record.chain = {record.active_file};
  record.source = asked.source;
  record.create_time = record.update_time = core.clock().Now();
  record.current_operation = record.created_by = operation_id;
  return placed;
}

absl::Status CheckNamesFree(Core& core, const VolumeRecord& volume) {
  ASSIGN_OR_RETURN(std::string directory, core.DirectoryOf(volume.share));
  RETURN_IF_ERROR(core.files().RefreshDirectory(directory));
  std::vector<std::string> names = volume.chain;
  names.push_back(InfoFileName(volume.id));
  for (const std::string& name : names) {
    absl::Status found = core.files().Stat(directory + "/" + name).status();
    if (absl::IsNotFound(found)) continue;
    RETURN_IF_ERROR(found);
    return Error(
        Reason::kFileExists,
        fmt::format("{} is on {} already, and no volume of the catalog owns it; adopt it, or "
                    "choose another volume_id",
                    name, volume.share),
        {{"volume", volume.id}, {"share", volume.share}, {"file", name}});
  }
  return absl::OkStatus();
}

}  // namespace cairn
