// What a consumer needs to open a volume's disk.
#ifndef CAIRN_LIB_ENGINE_CONNECTION_H_
#define CAIRN_LIB_ENGINE_CONNECTION_H_

#include <string>

#include "absl/status/statusor.h"
#include "lib/engine/core.h"
#include "lib/engine/engine.h"

namespace cairn {

// From memory, for one of the volume's attachments; with an id that is none of them for a writer. The
// names in it are safe in JSON and XML whatever the mount point is called.
absl::StatusOr<ConnectionInfo> DescribeConnection(const Core& core, const VolumeRecord& volume,
                                                  const std::string& attachment_id);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_CONNECTION_H_
