// Merges a small qcow2 layer into the file below, natively: `qemu-img commit` takes longer to start
// than such a merge takes.
//
// Only the plain case is done here; everything else is UNIMPLEMENTED and left to qemu-img. That is
// decided before the first write, from the two files alone: nothing has been changed then.
//
// What holds at every instant, a loss of power included: the base has no corruption (`qemu-img
// check`; leaked clusters at worst), and what is read through the layer is the same as before,
// since only what the layer covers is changed below it. It can be run again from the start.
#ifndef CAIRN_LIB_IMAGE_QCOW2_COMMIT_H_
#define CAIRN_LIB_IMAGE_QCOW2_COMMIT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "lib/base/cancel.h"
#include "lib/base/format.h"
#include "lib/base/size.h"
#include "lib/os/file_system.h"

namespace cairn {

// What is small: clusters and mapping tables of the layer, and zeros to be written, together.
inline constexpr int64_t kNativeCommitBytesMax = 16 * kMiB;

// Writes what `layer` holds into `base`, which must be the file that it lies on, and makes it
// durable. A base that is smaller grows. Zeros in the layer are zeros in the base; the base keeps
// the room that it takes there. Left to qemu-img are:
//   in either file: incompatible or autoclear features (a dirty or corrupt image, a data file,
//     subclusters, zstd), internal snapshots, encryption, bitmaps, compressed clusters, an L1 or
//     refcount table of more than 1 MiB, and anything that looks corrupt;
//   a layer that is not small, or has other clusters than the base;
//   a base that has other refcounts than one where data would go, that has a full refcount table,
//     or in which something else would appear when it grows.
//
// Two fsyncs when the base takes new clusters (three when it needs a new refcount block), else one.
// CANCELLED, and any other error, may come half-way. The caller holds the locks of both files.
absl::Status CommitQcow2(File& layer, File& base, FileFormat base_format, const CancelToken& cancel,
                         const ProgressFn& progress);

// The same for files on a share, under QEMU's locks. UNIMPLEMENTED also when a process has either
// file open in a way that forbids it, when there are no locks, and when the layer's header does not
// say that it lies on `base`.
absl::Status CommitSmallLayer(FileSystem& files, const std::string& directory,
                              const std::string& layer, const std::string& base,
                              const CancelToken& cancel, const ProgressFn& progress);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_QCOW2_COMMIT_H_
