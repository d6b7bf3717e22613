// The `.info` map beside a volume: which file takes writes, and which layer was made for each
// snapshot.
//
// Written exactly as Cinder's remotefs driver writes it (JSON, indent 1, keys sorted, no final
// newline), so that either system reads the other's. The map decides, never a file's name: after
// deletions in use, names stop matching snapshot ids.
#ifndef CAIRN_LIB_CHAIN_INFO_MAP_H_
#define CAIRN_LIB_CHAIN_INFO_MAP_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/os/file_system.h"

namespace cairn {

struct InfoMap {
  std::string active;                         // bare name of the file that takes writes
  std::map<std::string, std::string> layers;  // snapshot id -> bare name of the layer made for it
  bool operator==(const InfoMap&) const = default;
};

// "volume-<id>" and "volume-<id>.<snapshot-id>" and "volume-<id>.info".
std::string BaseFileName(std::string_view volume_id);
std::string LayerFileName(std::string_view volume_id, std::string_view snapshot_id);
std::string InfoFileName(std::string_view volume_id);

// True for a name that may be part of this volume's chain: the base name, or it with a suffix of
// hexadecimal digits and hyphens (with "tmp-snap-" before it, as Cinder's clones leave).
bool IsChainFileName(std::string_view volume_id, std::string_view file);

// MAP_CORRUPT for text that is empty, not JSON, without `active`, or with a value that is not the
// name of a file of this volume's chain.
absl::StatusOr<InfoMap> ParseInfoMap(std::string_view volume_id, std::string_view text);
std::string FormatInfoMap(const InfoMap& map);

// Nothing when there is no map, which is how a volume without snapshots begins.
absl::StatusOr<std::optional<InfoMap>> ReadInfoMap(FileSystem& files, const std::string& directory,
                                                   std::string_view volume_id);

}  // namespace cairn

#endif  // CAIRN_LIB_CHAIN_INFO_MAP_H_
