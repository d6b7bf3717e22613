// Steps that making, growing and copying an image file have in common. Private to lib/image.
//
// All functions block on the share.
#ifndef CAIRN_LIB_IMAGE_NEW_FILE_H_
#define CAIRN_LIB_IMAGE_NEW_FILE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "lib/base/cancel.h"
#include "lib/image/image.h"
#include "lib/os/file_system.h"

namespace cairn {

// Really allocates a range that holds no data yet: by fallocate or, where the share cannot, by
// writing zeros. The file grows to the range's end. Progress counts the range's bytes.
absl::Status AllocateRange(File& file, int64_t offset, int64_t length,
                           const FileAbilities& abilities, const CancelToken& cancel,
                           const ProgressFn& progress);

struct NewFileOptions {
  std::string directory;
  std::string name;
  std::string temporary;  // in the same directory
  FilePermissions permissions;
  std::string owner_from;  // path of the file whose owner `owner_of_backing` takes; empty: none
  bool sync_directory = true;
  bool replace = false;  // a file that has the name; else FILE_EXISTS
  std::function<absl::Status()> before_name;
};

// Creates the temporary file, has `write` fill it, gives it its permissions, fsyncs it and renames
// it to its name. FILE_EXISTS when something has that name, which is left alone. On failure neither name is left.
absl::Status MakeNewFile(FileSystem& files, const NewFileOptions& options,
                         const std::function<absl::Status(File&)>& write);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_NEW_FILE_H_
