// The apparent size of what is on a share, by walking it.
#ifndef CAIRN_LIB_SHARE_MEASURE_H_
#define CAIRN_LIB_SHARE_MEASURE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/os/file_system.h"

namespace cairn {

// Directories deeper than this below the share are not looked into.
inline constexpr int kMeasureDepthMax = 32;

// Sum of the apparent sizes of the regular files under `directory`, without those below a name that
// contains "snapshot", as `du --apparent-size --exclude '*snapshot*'`: filers show their own
// snapshots under .snapshot, and without Cairn's own .cairn. Files that the NFS client has renamed to
// .nfsXXXX because they were removed while open count: they take room until they are closed. Symbolic
// links are not followed; temporary files count, since they
// take room; what vanishes meanwhile, or may not be read, counts nothing. CANCELLED once cancelled.
absl::StatusOr<int64_t> MeasureApparentBytes(FileSystem& files, const std::string& directory,
                                             const CancelToken& cancel);

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_MEASURE_H_
