// What a file of somebody else's stands on: the files that its header makes QEMU open besides it.
#ifndef CAIRN_LIB_IMAGE_BACKING_NAMES_H_
#define CAIRN_LIB_IMAGE_BACKING_NAMES_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/os/file_system.h"

namespace cairn {

// The names as the header has them, not checked: the backing file of a qcow (version 1 to 3) or QED
// image, the external data file of a qcow2 image, whatever the descriptor of a VMDK image quotes. None for
// any other file, and for a header that QEMU would not open either. The format is probed, as a tool that
// does not know the file does; costs a read or two. Errors are those of reading the file.
absl::StatusOr<std::vector<std::string>> ReadBackingNames(File& file);

// The local paths that QEMU takes such a name for: itself, without "file:" before it, or the file names
// in a "json:" description. A json: text that cannot be read is returned as it is. May be relative.
std::vector<std::string> LocalPathsOf(std::string_view backing_name);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_BACKING_NAMES_H_
