// CreateVolume: empty, or with the content of a snapshot, of a volume, or of an image file.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/chain/live_plans.h"
#include "lib/engine/fields.h"
#include "lib/engine/machines.h"
#include "lib/engine/work.h"
#include "lib/engine/work/new_volume.h"

namespace cairn {
namespace {

using Kind = VolumeSource::Kind;

class CreateVolume : public WorkOn<CreateVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    ASSIGN_OR_RETURN(r().volume_id, IdOrNew("volume_id", r().volume_id));
    RETURN_IF_ERROR(CheckText("name", r().name));
    RETURN_IF_ERROR(CheckLabels(r().labels));
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(r().pool));
    r().pool = pool->options().name;
    const bool sized = r().size_bytes != 0 || r().source.kind == Kind::kNone;
    if (sized) RETURN_IF_ERROR(CheckVolumeSize("size_bytes", r().size_bytes));
    AskedVolume asked{r().volume_id,  r().name,   r().pool,   r().share,
                      r().size_bytes, r().format, r().labels, r().source};
    ASSIGN_OR_RETURN(auto same, FindSameVolume(core_, asked));
    if (same.has_value()) return *std::move(same);
    ASSIGN_OR_RETURN(Source source, CheckSource(*pool));
    if (asked.size_bytes == 0) asked.size_bytes = RoundUpToSector(source.size_bytes);
    ASSIGN_OR_RETURN(PlacedVolume placed,
                     PlaceVolume(core_, *pool, asked, source.physical_bytes, operation_id_));
    reservation_ = std::move(placed.reservation);
    placed_ = placed.record;
    Admission admission;
    admission.volume_id = admission.target = r().volume_id;
    admission.locks.push_back({r().volume_id, true});
    if (!source.volume_id.empty()) {
      admission.locks.push_back({source.volume_id, /*exclusive=*/r().source_in_use});
    }
    admission.records.put_volumes.push_back(std::move(placed.record));
    return admission;
  }

  std::string HomeShare() const override {
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    return volume == nullptr ? placed_.share : volume->share;
  }

  std::set<std::string> OtherShares() const override {
    std::string id = r().source.id_or_path;
    if (r().source.kind == Kind::kSnapshot) {
      SnapshotPtr snapshot = core_.catalog().FindSnapshot(id);
      id = snapshot == nullptr ? "" : snapshot->volume_id;
    } else if (r().source.kind != Kind::kVolume) {
      return {};
    }
    VolumePtr source = core_.catalog().FindVolume(id);
    return source == nullptr ? std::set<std::string>() : std::set{source->share};
  }

  bool NamesFiles() const override { return r().source.kind == Kind::kImage; }

  absl::Status CheckFiles() override { return FindImage().status(); }

  // An image lies anywhere.
  bool PlansAtOnce() const override { return r().source.kind != Kind::kImage; }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, Own());
    RETURN_IF_ERROR(CheckNamesFree(core_, *volume));
    size_bytes_ = volume->size_bytes;
    if (r().source.kind == Kind::kVolume) {
      ASSIGN_OR_RETURN(VolumePtr source, core_.Volume(r().source.id_or_path));
      ASSIGN_OR_RETURN(std::optional<Attachment> machine, CheckVolume(*source));
      if (machine.has_value()) return PlanInUse(*volume, *source, *machine);
      RETURN_IF_ERROR(core_.CheckNoWriter(*source));
    }
    Plan plan;
    ASSIGN_OR_RETURN(plan.steps, Steps(*volume));
    plan.no_return = plan.steps.size();
    plan.undo = {RemoveFilesStep{volume->share, {volume->active_file}}};
    return plan;
  }

  void Began(Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) { v.size_bytes = size_bytes_; });
    if (!r().source_in_use) return;
    ChangeVolume(r().source.id_or_path, records,
                 [&](VolumeRecord& v) { v.current_operation = operation_id_; });
  }

  void Succeeded(const Plan&, Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      Settle(v);
      core_.Measure(v);
    });
    LeaveSource(records);
  }

  void Failed(const absl::Status&, Transaction& records) override {
    records.remove_volumes.push_back(r().volume_id);
    LeaveSource(records);
  }

 private:
  void LeaveSource(Transaction& records) const {
    if (!r().source_in_use) return;
    ChangeVolume(r().source.id_or_path, records, [&](VolumeRecord& v) {
      if (v.current_operation == operation_id_) v.current_operation.clear();
      core_.Measure(v);
    });
  }

  // As recorded, or as it is going to be.
  absl::StatusOr<VolumePtr> Own() const {
    auto volume = core_.Volume(r().volume_id);
    if (volume.ok() || placed_.id.empty()) return volume;
    return std::make_shared<const VolumeRecord>(placed_);
  }

  struct Source {
    int64_t size_bytes = 0;
    int64_t physical_bytes = 0;
    std::string volume_id;  // to be held meanwhile
  };

  absl::StatusOr<Source> CheckSource(const Pool& pool) {
    Source source;
    switch (r().source.kind) {
      case Kind::kSnapshot: {
        ASSIGN_OR_RETURN(r().source.id_or_path,
                         ParseId("source.snapshot_id", r().source.id_or_path));
        ASSIGN_OR_RETURN(SnapshotPtr snapshot, core_.Snapshot(r().source.id_or_path));
        RETURN_IF_ERROR(CheckSnapshot(*snapshot));
        ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(snapshot->volume_id));
        source = {snapshot->size_bytes, volume->physical_bytes, volume->id};
        break;
      }
      case Kind::kVolume: {
        ASSIGN_OR_RETURN(r().source.id_or_path, ParseId("source.volume_id", r().source.id_or_path));
        ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().source.id_or_path));
        ASSIGN_OR_RETURN(std::optional<Attachment> machine, CheckVolume(*volume));
        r().source_in_use = machine.has_value();
        source = {volume->size_bytes, volume->physical_bytes, volume->id};
        break;
      }
      case Kind::kImage:
        RETURN_IF_ERROR(CheckImagePath(pool, r().source.id_or_path));
        break;
      default:
        break;
    }
    if (r().size_bytes != 0 && r().size_bytes < source.size_bytes)
      return TooSmall(source.size_bytes);
    // Copying holes costs nothing: never more than the source really has.
    source.physical_bytes =
        std::min(source.physical_bytes, std::max(r().size_bytes, source.size_bytes));
    return source;
  }

  absl::Status CheckSnapshot(const SnapshotRecord& snapshot) const {
    if (snapshot.state == SnapshotState::kAvailable || snapshot.state == SnapshotState::kCreating) {
      return absl::OkStatus();
    }
    return WrongState(snapshot, "create a volume from");
  }

  // The machine that writes to it, if one does. Readers are not in the way of another reader.
  static absl::StatusOr<std::optional<Attachment>> CheckVolume(const VolumeRecord& volume) {
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "clone");
    }
    const bool written =
        std::any_of(volume.attachments.begin(), volume.attachments.end(),
                    [](const Attachment& a) { return a.access == AccessMode::kReadWrite; });
    if (!written) return std::nullopt;
    return LiveUse(volume, "clone");
  }

  // Its present content is frozen first, under a layer that goes on taking the writes.
  absl::StatusOr<Plan> PlanInUse(const VolumeRecord& volume, const VolumeRecord& source,
                                 const Attachment& machine) {
    if (!r().source_in_use) {
      return Error(Reason::kVolumeState,
                   fmt::format("volume {} has been attached meanwhile; repeat it", source.id),
                   {{"volume", source.id}, {"state", "IN_USE"}});
    }
    ASSIGN_OR_RETURN(ChainView view, core_.ReadView(source));
    Freeze freeze = PlanFreeze(view, machine.id, LayerFileName(source.id, operation_id_));
    // Layers that no snapshot needs are merged on the way.
    RETURN_IF_ERROR(core_.CheckNoneStandsOn(source, FilesOf(view.chain)));
    RETURN_IF_ERROR(TakeSize(source.size_bytes));
    const std::vector<Step> copy =
        CopyOf(volume, source, freeze.frozen.file, freeze.frozen.image.format);
    Plan plan = std::move(freeze.plan);
    plan.settled = plan.steps.size();
    plan.undo_settled = {RemoveFilesStep{volume.share, {volume.active_file}}};
    plan.steps.insert(plan.steps.end(), copy.begin(), copy.end());
    return plan;
  }

  absl::Status TooSmall(int64_t source_bytes) const {
    return InvalidField("size_bytes",
                        fmt::format("is smaller than the source's {} bytes", source_bytes),
                        std::to_string(r().size_bytes));
  }

  // Absolute, without "." and "..", below an allowed directory.
  static absl::Status CheckImagePath(const Pool& pool, const std::string& path) {
    if (path.empty() || path[0] != '/' || path.size() > 4096 ||
        std::filesystem::path(path).lexically_normal().string() != path || path.ends_with('/')) {
      return InvalidField("source.image_path", "must be an absolute, plain path", path);
    }
    for (const std::string& directory : pool.options().image_directories) {
      if (path.starts_with(directory.ends_with('/') ? directory : directory + "/")) {
        return absl::OkStatus();
      }
    }
    return Error(Reason::kPathForbidden,
                 fmt::format("{} is not below a directory that image_directories of pool {} allows",
                             path.substr(0, 200), pool.options().name),
                 {{"field", "source.image_path"}, {"pool", pool.options().name}});
  }

  absl::StatusOr<std::vector<Step>> Steps(const VolumeRecord& volume) {
    switch (r().source.kind) {
      case Kind::kSnapshot: {
        ASSIGN_OR_RETURN(SnapshotPtr snapshot, core_.Snapshot(r().source.id_or_path));
        RETURN_IF_ERROR(CheckSnapshot(*snapshot));
        ASSIGN_OR_RETURN(VolumePtr source, core_.Volume(snapshot->volume_id));
        return CopySteps(volume, *source, snapshot->file, snapshot->size_bytes);
      }
      case Kind::kVolume: {
        ASSIGN_OR_RETURN(VolumePtr source, core_.Volume(r().source.id_or_path));
        return CopySteps(volume, *source, source->active_file, source->size_bytes);
      }
      case Kind::kImage:
        return ImageSteps(volume);
      default:
        return std::vector<Step>{MakeImageStep{.share = volume.share,
                                               .file = volume.active_file,
                                               .format = volume.format,
                                               .size_bytes = volume.size_bytes,
                                               .backing_file = {}}};
    }
  }

  // A raw file with nothing below it is copied as a file, by the server's own means where it can.
  // Of anything else the step itself decides: a qcow2 file with nothing below it is copied like
  // that too, the others are read through their layers.
  absl::StatusOr<std::vector<Step>> CopySteps(const VolumeRecord& volume,
                                              const VolumeRecord& source, const std::string& file,
                                              int64_t source_bytes) {
    ASSIGN_OR_RETURN(ChainView view, core_.ReadView(source));
    const int position = IndexOf(view.chain, file);
    if (position < 0) {
      return Error(Reason::kChainCorrupt, fmt::format("{} is not in its volume's chain", file),
                   {{"volume", source.id}, {"file", file}});
    }
    RETURN_IF_ERROR(TakeSize(source_bytes));
    return CopyOf(volume, source, file, view.chain[static_cast<size_t>(position)].image.format);
  }

  // It may have grown while this waited for it.
  absl::Status TakeSize(int64_t source_bytes) {
    if (r().size_bytes == 0) size_bytes_ = RoundUpToSector(source_bytes);
    return size_bytes_ < source_bytes ? TooSmall(source_bytes) : absl::OkStatus();
  }

  std::vector<Step> CopyOf(const VolumeRecord& volume, const VolumeRecord& source,
                           const std::string& file, FileFormat format) const {
    if (format == FileFormat::kRaw && volume.base_format == FileFormat::kRaw) {
      const bool thick = volume.format == VolumeFormat::kRawThick;
      return {CopyFileStep{source.share, file, volume.share, volume.active_file, thick},
              GrowImageStep{volume.share, volume.active_file, volume.format, size_bytes_}};
    }
    return {ConvertStep{source.share, file, format, volume.share, volume.active_file, volume.format,
                        size_bytes_}};
  }

  struct Image {
    std::string path;
    ImageInfo info;
  };

  absl::StatusOr<Image> FindImage() const {
    std::error_code error;
    std::filesystem::path path = std::filesystem::canonical(r().source.id_or_path, error);
    if (error) {
      return Error(Reason::kFileNotFound,
                   fmt::format("{}: {}", r().source.id_or_path, error.message()),
                   {{"field", "source.image_path"}});
    }
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(r().pool));
    // A symbolic link must not lead out of the allowed directories.
    RETURN_IF_ERROR(CheckImagePath(*pool, path.string()));
    const std::string directory = path.parent_path().string();
    const std::string name = path.filename().string();
    RETURN_IF_ERROR(CheckSaidFormat(core_.files(), directory, name, r().image_format));
    ASSIGN_OR_RETURN(ImageInfo info,
                     InspectImage(core_.files(), directory, name, r().image_format));
    if (!info.backing_file.empty()) {
      return Error(Reason::kImageUnsafe,
                   fmt::format("{} has a backing file; flatten it first", path.string()),
                   {{"field", "source.image_path"}});
    }
    if (r().size_bytes == 0) {
      RETURN_IF_ERROR(CheckVolumeSize("size_bytes", RoundUpToSector(info.virtual_size)));
    } else if (r().size_bytes < info.virtual_size) {
      return TooSmall(info.virtual_size);
    }
    return Image{path.string(), std::move(info)};
  }

  absl::StatusOr<std::vector<Step>> ImageSteps(const VolumeRecord& volume) {
    ASSIGN_OR_RETURN(const Image image, FindImage());
    if (r().size_bytes == 0) size_bytes_ = RoundUpToSector(image.info.virtual_size);
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(volume.pool));
    ASSIGN_OR_RETURN(Share * share, core_.ShareOf(volume));
    reservation_ = {};
    const bool thick = volume.format == VolumeFormat::kRawThick;
    ASSIGN_OR_RETURN(
        reservation_,
        pool->Reserve(
            share, {.promised_bytes = size_bytes_,
                    .physical_bytes =
                        thick ? size_bytes_ : std::min(image.info.physical_bytes, size_bytes_)}));
    return std::vector<Step>{ConvertStep{"", image.path, r().image_format, volume.share,
                                         volume.active_file, volume.format, size_bytes_}};
  }

  VolumeRecord placed_;  // as admitted
  int64_t size_bytes_ = 0;
  Reservation reservation_;
};

}  // namespace

std::unique_ptr<Work> MakeCreateVolume(Core& core, CreateVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<CreateVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
