// The files of a volume, walked from the active one down to the base by their headers, natively.
#ifndef CAIRN_LIB_CHAIN_CHAIN_H_
#define CAIRN_LIB_CHAIN_CHAIN_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/format.h"
#include "lib/image/image.h"
#include "lib/os/file_system.h"

namespace cairn {

struct ChainLink {
  std::string file;  // bare name
  ImageInfo image;
};

// Oldest first: the base, then each layer, the active file last.
using Chain = std::vector<ChainLink>;

// Which file is where in `chain`; npos (-1) when it is not there.
int IndexOf(const Chain& chain, std::string_view file);

// Walks from `active` down. Each layer must be qcow2, name a file of the same volume as its backing
// file and record that file's format; the base must be of `base_format`. Errors: CHAIN_CORRUPT (a
// file is missing, a loop, sizes that shrink upward), IMAGE_UNSAFE (a name that leads elsewhere, no
// recorded format), IMAGE_MISMATCH (the base's format is not the recorded one), IMAGE_CORRUPT. No
// tool is run and nothing is probed, so a hostile header costs one read. `locks`: of the active file.
absl::StatusOr<Chain> ReadChain(FileSystem& files, const std::string& directory,
                                std::string_view volume_id, const std::string& active,
                                FileFormat base_format, LookAtLocks locks = LookAtLocks::kNo);

// The names of files on the share that look like files of this volume's chain (a directory read).
absl::StatusOr<std::vector<std::string>> ListChainFiles(FileSystem& files,
                                                        const std::string& directory,
                                                        std::string_view volume_id);

// IMAGE_UNSAFE when the file has other names, so that it may not be changed in place.
absl::Status CheckOnlyName(std::string_view volume_id, const ChainLink& link);

// IMAGE_UNSAFE when internal snapshots would be lost with the file.
absl::Status CheckNoInternalSnapshots(std::string_view volume_id, const ChainLink& link);

}  // namespace cairn

#endif  // CAIRN_LIB_CHAIN_CHAIN_H_
