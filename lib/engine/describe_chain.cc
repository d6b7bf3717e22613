#include "lib/engine/describe_chain.h"

#include "lib/base/status.h"
#include "lib/chain/info_map.h"
#include "lib/os/file_error.h"

namespace cairn {
namespace {

absl::StatusOr<Chain> ChainOf(const Core& core, const VolumeRecord& volume,
                              const std::string& directory) {
  auto recorded =
      ReadChain(core.files(), directory, volume.id, volume.active_file, volume.base_format);
  if (recorded.ok() || volume.current_operation.empty()) return recorded;
  // Operations change the files, then the map, then the record: the map names a chain that is whole.
  auto map = ReadInfoMap(core.files(), directory, volume.id);
  if (!map.ok() || !map->has_value()) return recorded;
  return ReadChain(core.files(), directory, volume.id, (*map)->active, volume.base_format);
}

}  // namespace

absl::StatusOr<std::vector<ChainFile>> DescribeChainNow(const Core& core,
                                                        const std::string& volume_id) {
  constexpr int kTries = 3;
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(VolumePtr volume, core.Volume(volume_id));
    auto snapshots = core.catalog().SnapshotsOf(volume_id);
    ASSIGN_OR_RETURN(std::string directory, core.DirectoryOf(volume->share));
    RETURN_IF_ERROR(core.files().RefreshDirectory(directory));
    auto chain = OnceMoreIfStale([&] { return ChainOf(core, *volume, directory); });
    if (!chain.ok()) {
      ASSIGN_OR_RETURN(VolumePtr now, core.Volume(volume_id));
      if (now->revision == volume->revision && now->current_operation.empty()) {
        return chain.status();
      }
      continue;  // an operation was at work
    }
    std::vector<ChainFile> described;
    for (const ChainLink& link : *chain) {
      ChainFile& file = described.emplace_back();
      file.file = link.file;
      file.format = link.image.format;
      file.virtual_size = link.image.virtual_size;
      file.physical_bytes = link.image.physical_bytes;
      for (const SnapshotPtr& snapshot : snapshots) {
        if (snapshot->file == link.file) file.snapshot_id = snapshot->id;
      }
    }
    return described;
  }
  ASSIGN_OR_RETURN(VolumePtr volume, core.Volume(volume_id));
  return WrongState(*volume, "read the chain of");
}

}  // namespace cairn
