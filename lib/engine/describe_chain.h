// The files of a volume's chain, as they are on the share now.
#ifndef CAIRN_LIB_ENGINE_DESCRIBE_CHAIN_H_
#define CAIRN_LIB_ENGINE_DESCRIBE_CHAIN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/engine/core.h"
#include "lib/engine/engine.h"

namespace cairn {

// Blocking; on the share's lane. Takes no lock, so that it answers during a commit of hours too: what
// an operation is changing meanwhile is no damage. VOLUME_STATE when there is no chain to be read
// because of that, as during a deletion; otherwise what ReadChain says.
absl::StatusOr<std::vector<ChainFile>> DescribeChainNow(const Core& core,
                                                        const std::string& volume_id);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_DESCRIBE_CHAIN_H_
