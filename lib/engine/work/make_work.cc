#include "lib/base/overloaded.h"
#include "lib/engine/work.h"

namespace cairn {

std::unique_ptr<Work> MakeWork(Core& core, Request request, const std::string& id) {
  return std::visit(
      Overloaded{
          [&](CreateVolumeRequest& r) { return MakeCreateVolume(core, std::move(r), id); },
          [&](UpdateVolumeRequest& r) { return MakeUpdateVolume(core, std::move(r), id); },
          [&](DeleteVolumeRequest& r) { return MakeDeleteVolume(core, std::move(r), id); },
          [&](ExtendVolumeRequest& r) { return MakeExtendVolume(core, std::move(r), id); },
          [&](MigrateVolumeRequest& r) { return MakeMigrateVolume(core, std::move(r), id); },
          [&](AttachVolumeRequest& r) { return MakeAttachVolume(core, std::move(r), id); },
          [&](DetachVolumeRequest& r) { return MakeDetachVolume(core, std::move(r), id); },
          [&](AdoptVolumeRequest& r) { return MakeAdoptVolume(core, std::move(r), id); },
          [&](ImportVolumeRequest& r) { return MakeImportVolume(core, std::move(r), id); },
          [&](CreateSnapshotRequest& r) { return MakeCreateSnapshot(core, std::move(r), id); },
          [&](UpdateSnapshotRequest& r) { return MakeUpdateSnapshot(core, std::move(r), id); },
          [&](DeleteSnapshotRequest& r) { return MakeDeleteSnapshot(core, std::move(r), id); },
          [&](RevertToSnapshotRequest& r) { return MakeRevertToSnapshot(core, std::move(r), id); },
          [&](MergeLayersRequest& r) { return MakeMergeLayers(core, std::move(r), id); },
      },
      request);
}

}  // namespace cairn
