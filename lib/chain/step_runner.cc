#include "lib/chain/step_runner.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_commit.h"
#include "lib/os/absence.h"
#include "lib/os/file_error.h"

namespace cairn {
namespace {

constexpr std::string_view kTemporaryMark = ".tmp-";

class Runner {
 public:
  explicit Runner(const StepContext& context) : context_(context), files_(*context.files) {}

  absl::Status operator()(const MakeImageStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    RETURN_IF_ERROR(DropTemporary(directory, step.file));
    if (context_.again) {
      ASSIGN_OR_RETURN(const bool absent, IsAbsent(files_, directory, step.file));
      if (!absent) {
        return context_.synced_by_next ? absl::OkStatus() : files_.SyncDirectory(directory);
      }
    }
    CreateImageOptions options{.format = step.format,
                               .size_bytes = step.size_bytes,
                               .preallocate_metadata = context_.preallocate_metadata,
                               .backing_file = step.backing_file,
                               .backing_format = {},
                               .permissions = context_.permissions,
                               .abilities = Abilities(step.share),
                               .sync_directory = !context_.synced_by_next,
                               .before_name = context_.before_name};
    if (!step.backing_file.empty()) {
      options.backing_format = FileFormatName(step.backing_format);
      options.preallocate_metadata = false;
    }
    return CreateImage(files_, directory, step.file, Temporary(step.file), options, context_.cancel,
                       context_.progress);
  }

  absl::Status operator()(const GrowImageStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    const absl::Status grown = GrowImage(files_, directory, step.file, step.format, step.size_bytes,
                                         context_.cancel, context_.progress, Abilities(step.share));
    RETURN_IF_ERROR(OrByTool(grown, directory, step.file, step.size_bytes));
    RepairLeaks(directory, step.file, BaseFileFormat(step.format));
    return absl::OkStatus();
  }

  absl::Status operator()(const CopyFileStep& step) {
    ASSIGN_OR_RETURN(std::string from, context_.directory_of(step.source_share));
    ASSIGN_OR_RETURN(std::string to, context_.directory_of(step.share));
    RETURN_IF_ERROR(DropTemporary(to, step.file));
    return CopyImageFile(files_,
                         {.source_directory = from,
                          .source_name = step.source_file,
                          .target_directory = to,
                          .target_name = step.file,
                          .temporary = Temporary(step.file),
                          .permissions = context_.permissions,
                          .allocate = step.allocate,
                          .abilities = Abilities(step.share),
                          .replace = context_.again},
                         context_.cancel, context_.progress);
  }

  absl::Status operator()(const ConvertStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    RETURN_IF_ERROR(DropTemporary(directory, step.file));
    std::string source = step.source_file;
    if (!step.source_share.empty()) {
      ASSIGN_OR_RETURN(std::string from, context_.directory_of(step.source_share));
      ASSIGN_OR_RETURN(const bool copied, CopyWhole(step, from, directory));
      if (copied) return absl::OkStatus();
      source = from + "/" + source;
    }
    // A tool would follow a link, and wait for the other end of a FIFO.
    RETURN_IF_ERROR(files_.Open(source, OpenMode::kRead).status());
    const std::string temporary = directory + "/" + Temporary(step.file);
    absl::Status status = context_.tool->Convert({.source_path = source,
                                                  .source_format = step.source_format,
                                                  .target_path = temporary,
                                                  .target_format = step.format,
                                                  .preallocate_metadata = false,
                                                  .size_bytes = step.size_bytes},
                                                 context_.cancel, context_.progress);
    if (status.ok()) status = SetPermissions(temporary);
    if (status.ok()) {
      status = Publish(directory, Temporary(step.file), step.file, /*replace=*/context_.again);
    }
    if (!status.ok()) files_.Remove(temporary).IgnoreError();  // the undo steps do not know it
    return status;
  }

  absl::Status operator()(const CommitStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    if (context_.again) {
      ASSIGN_OR_RETURN(const bool merged, IsAbsent(files_, directory, step.layer));
      if (merged) return absl::OkStatus();
    }
    // The header is read natively before qemu-img sees it; it may have changed since the plan was
    // made.
    ASSIGN_OR_RETURN(ImageInfo layer,
                     InspectImage(files_, directory, step.layer, FileFormat::kQcow2));
    if (layer.backing_file != step.base) {
      return Error(Reason::kChainCorrupt,
                   fmt::format("{} should lie on {}, its header says \"{}\"", step.layer, step.base,
                               layer.backing_file),
                   {{"file", step.layer}});
    }
    absl::Status status = CommitSmallLayer(files_, directory, step.layer, step.base,
                                           context_.cancel, context_.progress);
    if (absl::IsUnimplemented(status)) {
      spdlog::debug("{} is merged by qemu-img: {}", step.layer, ToStd(status.message()));
      RETURN_IF_ERROR(CheckWritableInPlace(files_, directory + "/" + step.base));
      status = context_.tool->Commit(directory, step.layer, context_.cancel, context_.progress);
    }
    if (!status.ok() && !IsRefused(status)) Changes();
    RETURN_IF_ERROR(status);
    Changes();
    RepairLeaks(directory, step.base, FileFormatFromName(layer.backing_format));
    return absl::OkStatus();
  }

  absl::Status operator()(const RepointStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    RETURN_IF_ERROR(CheckBackingName(step.backing_file));
    Changes();
    ASSIGN_OR_RETURN(auto file, files_.Open(directory + "/" + step.layer, OpenMode::kReadWrite));
    if (context_.again && step.instead_of.has_value()) {
      ASSIGN_OR_RETURN(const Qcow2Header header, ReadQcow2Header(*file));
      if (header.backing_file != *step.instead_of && header.backing_file != step.backing_file) {
        return NewerThanPlan(step.layer,
                             fmt::format("lies on {}, neither on {} nor on {}", header.backing_file,
                                         *step.instead_of, step.backing_file));
      }
    }
    RETURN_IF_ERROR(SetQcow2Backing(*file, step.backing_file,
                                    std::string(FileFormatName(step.backing_format))));
    return file->Sync();
  }

  absl::Status operator()(const WriteMapStep& step) {
    Changes();
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    if (context_.again) {
      auto present = ReadInfoMap(files_, directory, step.volume_id);
      // One that is damaged is replaced; whatever else keeps it from being read may pass.
      if (!present.ok() && !HasReason(present.status(), Reason::kMapCorrupt)) {
        return present.status();
      }
      if (present.ok() && present->has_value()) {
        // On a full share the map that is already right must not need room to be written again.
        if (**present == step.map) return files_.SyncDirectory(directory);
        RETURN_IF_ERROR(CheckIsFormer(step, **present));
      }
    }
    ReplaceFileOptions file = MapFile(step.volume_id, directory);
    // Where there was no map when the plan was made, one that has come since is somebody else's.
    file.replace = context_.again || !step.former.has_value() || !step.former->active.empty();
    if (context_.prepared) {
      const absl::Status published = PublishFile(files_, file);
      if (!absl::IsNotFound(published)) return published;
    }
    RETURN_IF_ERROR(DropTemporary(directory, file.name));
    return ReplaceFile(files_, file, FormatInfoMap(step.map));
  }

  absl::Status operator()(const PrepareMapStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    const ReplaceFileOptions file = MapFile(step.volume_id, directory);
    RETURN_IF_ERROR(DropTemporary(directory, file.name));
    return PrepareFile(files_, file, FormatInfoMap(step.map));
  }

  absl::Status operator()(const RemoveFilesStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    for (const std::string& file : step.files) {
      const absl::Status removed = files_.Remove(directory + "/" + file);
      if (removed.ok() || !IsRefused(removed)) Changes();
      RETURN_IF_ERROR(removed);
    }
    return files_.SyncDirectory(directory);
  }

  absl::Status operator()(const RenameStep& step) {
    Changes();
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    if (context_.again) {
      ASSIGN_OR_RETURN(const bool renamed, IsAbsent(files_, directory, step.from));
      if (renamed) {
        RETURN_IF_ERROR(files_.Stat(directory + "/" + step.to).status());
        return files_.SyncDirectory(directory);
      }
    }
    return Publish(directory, step.from, step.to, /*replace=*/step.replaces.value_or(true));
  }

  absl::Status operator()(const UngrowImageStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    return OrByTool(UngrowImage(files_, directory, step.file, step.format, step.size_bytes),
                    directory, step.file, step.size_bytes);
  }

  absl::Status operator()(const ReceiveContentStep&) { return absl::OkStatus(); }

  absl::Status operator()(const CheckBackingStep& step) {
    ASSIGN_OR_RETURN(std::string directory, context_.directory_of(step.share));
    RETURN_IF_ERROR(files_.RefreshDirectory(directory));
    ASSIGN_OR_RETURN(ImageInfo layer,
                     InspectImage(files_, directory, step.layer, FileFormat::kQcow2));
    const bool recorded = step.backing_file.empty() || !layer.backing_format.empty();
    if (layer.backing_file == step.backing_file && recorded) return absl::OkStatus();
    return Error(
        Reason::kImageMismatch,
        fmt::format("{} should lie on \"{}\", its header says \"{}\" ({})", step.layer,
                    step.backing_file, layer.backing_file,
                    recorded ? layer.backing_format : "no format"),
        {{"file", step.layer}, {"expected", step.backing_file}, {"found", layer.backing_file}});
  }

  // Those on disks are the engine's: it knows the hypervisors.
  template <OnDisks T>
  absl::Status operator()(const T&) {
    return Error(Reason::kInternal, "a step on disks in use is no work on files");
  }

 private:
  void Changes() {
    if (context_.changed != nullptr) *context_.changed = true;
  }

  // The file was not opened, or not removed: nothing was written into it.
  static bool IsRefused(const absl::Status& status) {
    return HasReason(status, Reason::kShareNotWritable) ||
           HasReason(status, Reason::kImageUnsafe) || HasReason(status, Reason::kVolumeInUse) ||
           HasReason(status, Reason::kToolMissing);
  }

  static absl::Status NewerThanPlan(const std::string& file, const std::string& why) {
    return Error(
        Reason::kCatalogOlder,
        fmt::format("{} {}: the share has changes that the catalog does not know, as after "
                    "an older catalog was restored; nothing is overwritten",
                    file, why),
        {{"file", file}});
  }

  static absl::Status CheckIsFormer(const WriteMapStep& step, const InfoMap& present) {
    if (!step.former.has_value()) return absl::OkStatus();
    const std::string name = InfoFileName(step.volume_id);
    if (present.active != step.former->active && present.active != step.map.active) {
      return NewerThanPlan(name, fmt::format("names {} as active, neither {} nor {}",
                                             present.active, step.former->active, step.map.active));
    }
    const std::vector<std::string>& dropped = step.former->dropped;
    for (const auto& [snapshot, layer] : present.layers) {
      if (step.map.layers.count(snapshot) == 0 &&
          std::find(dropped.begin(), dropped.end(), snapshot) == dropped.end()) {
        return NewerThanPlan(name, fmt::format("has snapshot {}, which is not known", snapshot));
      }
    }
    return absl::OkStatus();
  }

  ReplaceFileOptions MapFile(const std::string& volume_id, const std::string& directory) const {
    const std::string name = InfoFileName(volume_id);
    return {.directory = directory,
            .name = name,
            .temporary = Temporary(name),
            .mode = context_.permissions.mode};
  }

  // What is no work for us, qemu-img does.
  absl::Status OrByTool(const absl::Status& status, const std::string& directory,
                        const std::string& file, int64_t size_bytes) {
    if (!absl::IsUnimplemented(status)) return status;
    RETURN_IF_ERROR(CheckWritableInPlace(files_, directory + "/" + file));
    return context_.tool->Resize(directory, file, size_bytes, context_.cancel);
  }

  FileAbilities Abilities(const std::string& share) const {
    return context_.abilities_of ? context_.abilities_of(share) : kTryAll;
  }

  // Where a name is given by a link, who died before the old name was removed has left the file with two:
  // it would be taken for a stranger's hard link, and writing to the old name would change it.
  absl::Status DropTemporary(const std::string& directory, const std::string& file) {
    if (!context_.again) return absl::OkStatus();
    return files_.Remove(directory + "/" + Temporary(file));
  }

  // A file that is written in place has each cluster counted before anything names it: who died
  // between the two leaves it counted for ever.
  void RepairLeaks(const std::string& directory, const std::string& file,
                   std::optional<FileFormat> format) {
    if (!context_.again || format != FileFormat::kQcow2) return;
    if (absl::Status status = context_.tool->RepairLeaks(directory, file, context_.cancel);
        !status.ok()) {
      spdlog::warn("operation={} {} may hold clusters that nothing uses, which harms nothing: {}",
                   context_.operation_id, file, Describe(status));
    }
  }

  // A qcow2 file of a volume whose content lies in it alone is copied as a file, by the share's own
  // means where it has some. An image of somebody else's is always written anew.
  absl::StatusOr<bool> CopyWhole(const ConvertStep& step, const std::string& from,
                                 const std::string& directory) {
    if (step.source_format != FileFormat::kQcow2 || step.format != VolumeFormat::kQcow2) {
      return false;
    }
    CopyFileOptions options{.source_directory = from,
                            .source_name = step.source_file,
                            .target_directory = directory,
                            .target_name = step.file,
                            .temporary = Temporary(step.file),
                            .permissions = context_.permissions,
                            .allocate = false,
                            .abilities = Abilities(step.share),
                            .replace = context_.again};
    // As after a conversion; the source's may be that of a machine.
    options.permissions.owner_of_backing = false;
    return CopyQcow2File(files_, options, step.size_bytes, context_.cancel, context_.progress);
  }

  std::string Temporary(const std::string& file) const {
    return TemporaryName(file, context_.operation_id);
  }

  absl::Status SetPermissions(const std::string& path) {
    ASSIGN_OR_RETURN(auto file, files_.Open(path, OpenMode::kReadWrite));
    return file->SetOwnerAndMode(static_cast<uid_t>(-1), static_cast<gid_t>(-1),
                                 context_.permissions.mode);
  }

  absl::Status Publish(const std::string& directory, const std::string& from, const std::string& to,
                       bool replace) {
    const std::string source = directory + "/" + from;
    const std::string target = directory + "/" + to;
    RETURN_IF_ERROR(replace ? files_.Rename(source, target) : files_.RenameNew(source, target));
    return files_.SyncDirectory(directory);
  }

  const StepContext& context_;
  FileSystem& files_;
};

}  // namespace

absl::Status RunStep(const Step& step, const StepContext& context) {
  // A step can be done twice, so it is when another host has replaced a file under it. What the first
  // time has made is then its own.
  StepContext at = context;
  absl::Status status = OnceMoreIfStale([&] {
    const absl::Status done = std::visit(Runner(at), step);
    at.again = true;
    return done;
  });
  return Annotate(status, DescribeStep(step), {{"share", ShareOf(step)}});
}

std::string TemporaryName(std::string_view file, std::string_view operation_id) {
  return fmt::format(".{}{}{}", file, kTemporaryMark, operation_id);
}

std::string OperationOfTemporary(std::string_view file) {
  if (!file.starts_with('.')) return {};
  size_t mark = file.rfind(kTemporaryMark);
  if (mark == std::string_view::npos) return {};
  std::string_view id = file.substr(mark + kTemporaryMark.size());
  return IsCanonicalId(id) ? std::string(id) : std::string();
}

}  // namespace cairn
