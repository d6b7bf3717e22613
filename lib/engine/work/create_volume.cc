// CreateVolume: empty, or with the content of a snapshot, of a volume, or of an image file.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/engine/fields.h"
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
    if (asked.size_bytes == 0) asked.size_bytes = source.size_bytes;
    ASSIGN_OR_RETURN(PlacedVolume placed,
                     PlaceVolume(core_, *pool, asked, source.physical_bytes, operation_id_));
    reservation_ = std::move(placed.reservation);
    share_ = placed.record.share;
    Admission admission;
    admission.volume_id = admission.target = r().volume_id;
    admission.locks.push_back({r().volume_id, true});
    if (!source.volume_id.empty()) admission.locks.push_back({source.volume_id, false});
    admission.records.put_volumes.push_back(std::move(placed.record));
    return admission;
  }

  std::string HomeShare() const override {
    VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
    return volume == nullptr ? share_ : volume->share;
  }

  std::string SourceShare() const override {
    std::string id = r().source.id_or_path;
    if (r().source.kind == Kind::kSnapshot) {
      SnapshotPtr snapshot = core_.catalog().FindSnapshot(id);
      id = snapshot == nullptr ? "" : snapshot->volume_id;
    } else if (r().source.kind != Kind::kVolume) {
      return {};
    }
    VolumePtr source = core_.catalog().FindVolume(id);
    return source == nullptr ? "" : source->share;
  }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    RETURN_IF_ERROR(CheckNamesFree(core_, *volume));
    size_bytes_ = volume->size_bytes;
    Plan plan;
    ASSIGN_OR_RETURN(plan.steps, Steps(*volume));
    plan.no_return = plan.steps.size();
    plan.undo = {RemoveFilesStep{volume->share, {volume->active_file}}};
    return plan;
  }

  void Began(Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) { v.size_bytes = size_bytes_; });
  }

  void Succeeded(Transaction& records) override {
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      Settle(v);
      core_.Measure(v);
    });
  }

  void Failed(const absl::Status&, bool, Transaction& records) override {
    records.remove_volumes.push_back(r().volume_id);
  }

 private:
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
        RETURN_IF_ERROR(CheckVolume(*volume));
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

  absl::Status CheckVolume(const VolumeRecord& volume) const {
    if (volume.state == VolumeState::kError || volume.state == VolumeState::kDeleting) {
      return WrongState(volume, "clone");
    }
    for (const Attachment& attachment : volume.attachments) {
      if (attachment.access == AccessMode::kReadWrite) return InUse(volume, "clone");
    }
    return absl::OkStatus();
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
        RETURN_IF_ERROR(CheckVolume(*source));
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

  // A raw file with nothing below it is copied as a file, by the server's own means where it can;
  // what lies in qcow2 or in several layers is read through them.
  absl::StatusOr<std::vector<Step>> CopySteps(const VolumeRecord& volume,
                                              const VolumeRecord& source, const std::string& file,
                                              int64_t source_bytes) {
    // It may have grown while this waited for it.
    if (r().size_bytes == 0) size_bytes_ = source_bytes;
    if (size_bytes_ < source_bytes) return TooSmall(source_bytes);
    ASSIGN_OR_RETURN(ChainView view, core_.ReadView(source));
    const int position = IndexOf(view.chain, file);
    if (position < 0) {
      return Error(Reason::kChainCorrupt, fmt::format("{} is not in its volume's chain", file),
                   {{"volume", source.id}, {"file", file}});
    }
    const ImageInfo& image = view.chain[static_cast<size_t>(position)].image;
    const bool thick = volume.format == VolumeFormat::kRawThick;
    if (image.format == FileFormat::kRaw && volume.base_format == FileFormat::kRaw) {
      return std::vector<Step>{
          CopyFileStep{source.share, file, volume.share, volume.active_file, thick},
          GrowImageStep{volume.share, volume.active_file, volume.format, size_bytes_}};
    }
    return std::vector<Step>{ConvertStep{source.share, file, image.format, volume.share,
                                         volume.active_file, volume.format, size_bytes_}};
  }

  absl::StatusOr<std::vector<Step>> ImageSteps(const VolumeRecord& volume) {
    std::error_code error;
    std::filesystem::path path = std::filesystem::canonical(r().source.id_or_path, error);
    if (error) {
      return Error(Reason::kFileNotFound,
                   fmt::format("{}: {}", r().source.id_or_path, error.message()),
                   {{"field", "source.image_path"}});
    }
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(volume.pool));
    // A symbolic link must not lead out of the allowed directories.
    RETURN_IF_ERROR(CheckImagePath(*pool, path.string()));
    ASSIGN_OR_RETURN(ImageInfo image, InspectImage(core_.files(), path.parent_path().string(),
                                                   path.filename().string(), r().image_format));
    if (!image.backing_file.empty()) {
      return Error(Reason::kImageUnsafe,
                   fmt::format("{} has a backing file; flatten it first", path.string()),
                   {{"field", "source.image_path"}});
    }
    const int64_t rounded = (image.virtual_size + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    if (r().size_bytes == 0) size_bytes_ = rounded;
    RETURN_IF_ERROR(CheckVolumeSize("size_bytes", size_bytes_));
    if (size_bytes_ < image.virtual_size) return TooSmall(image.virtual_size);
    ASSIGN_OR_RETURN(Share * share, core_.ShareOf(volume));
    reservation_ = {};
    const bool thick = volume.format == VolumeFormat::kRawThick;
    ASSIGN_OR_RETURN(
        reservation_,
        pool->Reserve(
            share,
            {.promised_bytes = size_bytes_,
             .physical_bytes = thick ? size_bytes_ : std::min(image.physical_bytes, size_bytes_)}));
    return std::vector<Step>{ConvertStep{"", path.string(), r().image_format, volume.share,
                                         volume.active_file, volume.format, size_bytes_}};
  }

  std::string share_;
  int64_t size_bytes_ = 0;
  Reservation reservation_;
};

}  // namespace

std::unique_ptr<Work> MakeCreateVolume(Core& core, CreateVolumeRequest request,
                                       const std::string& operation_id) {
  return std::make_unique<CreateVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
