#include <string>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/image.h"
#include "lib/image/new_file.h"
#include "lib/image/qcow2.h"

namespace cairn {
namespace {

absl::Status WriteContent(File& file, const CreateImageOptions& options, const CancelToken& cancel,
                          const ProgressFn& progress) {
  RETURN_IF_ERROR(cancel.Check());
  switch (options.format) {
    case VolumeFormat::kQcow2: {
      Qcow2CreateOptions create;
      create.size_bytes = options.size_bytes;
      create.backing_file = options.backing_file;
      create.backing_format = options.backing_format;
      create.preallocate_metadata = options.preallocate_metadata && options.backing_file.empty();
      return CreateQcow2(file, create, cancel);
    }
    case VolumeFormat::kRawSparse:
      return file.Truncate(options.size_bytes);
    case VolumeFormat::kRawThick:
      return AllocateRange(file, 0, options.size_bytes, options.abilities, cancel, progress);
  }
  return InvalidField("format", "is not a volume format");
}

}  // namespace

absl::Status CreateImage(FileSystem& files, const std::string& directory, const std::string& name,
                         const std::string& temporary, const CreateImageOptions& options,
                         const CancelToken& cancel, const ProgressFn& progress) {
  RETURN_IF_ERROR(CheckVolumeSize("size_bytes", options.size_bytes));
  if (!options.backing_file.empty()) {
    if (options.format != VolumeFormat::kQcow2) {
      return InvalidField("backing_file", "only a qcow2 image can have one", options.backing_file);
    }
    RETURN_IF_ERROR(CheckBackingName(options.backing_file));
    if (options.backing_file == name) {
      return InvalidField("backing_file", "is the image itself", options.backing_file);
    }
  }
  NewFileOptions file_options;
  file_options.directory = directory;
  file_options.name = name;
  file_options.temporary = temporary;
  file_options.permissions = options.permissions;
  file_options.sync_directory = options.sync_directory;
  file_options.before_name = options.before_name;
  if (!options.backing_file.empty()) {
    file_options.owner_from = directory + "/" + options.backing_file;
  }
  return MakeNewFile(files, file_options,
                     [&](File& file) { return WriteContent(file, options, cancel, progress); });
}

}  // namespace cairn
