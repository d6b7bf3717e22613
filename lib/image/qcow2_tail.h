// What an image's last cluster holds behind the end of the image. Private to lib/image.
#ifndef CAIRN_LIB_IMAGE_QCOW2_TAIL_H_
#define CAIRN_LIB_IMAGE_QCOW2_TAIL_H_

#include "absl/status/status.h"
#include "lib/image/qcow2_layout.h"
#include "lib/os/file_system.h"

namespace cairn::qcow2 {

// Makes zeros, durably, of what the last cluster holds behind the end: where an image was made smaller
// once, that is old data of the guest, which a larger image would show. IMAGE_UNSAFE when it cannot be
// done in place: the cluster is compressed, or an internal snapshot has it too.
absl::Status ClearBehindEnd(File& file, const HeaderBlock& block);

}  // namespace cairn::qcow2

#endif  // CAIRN_LIB_IMAGE_QCOW2_TAIL_H_
