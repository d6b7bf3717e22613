#include "tests/unit/engine/faults/kinds.h"

#include <utility>

#include "tests/unit/engine/requests_of_tests.h"

namespace cairn::testing {
namespace {

constexpr VolumeFormat kQcow2 = VolumeFormat::kQcow2;
constexpr VolumeFormat kSparse = VolumeFormat::kRawSparse;
constexpr VolumeFormat kThick = VolumeFormat::kRawThick;

CampaignKind Create(std::string name, VolumeFormat format) {
  return {.name = std::move(name), .prepare = [format](Stage& stage) -> Request {
            CreateVolumeRequest create = NewVolume(format, kStageBytes);
            create.volume_id = stage.Id("NEW");
            create.share = stage.engine().address(0);
            return create;
          }};
}

enum class Source { kVolume, kLayeredVolume, kSnapshot };
CampaignKind Clone(std::string name, Source source, VolumeFormat format, size_t share) {
  const bool by_children = source != Source::kVolume || format != kQcow2;
  return {.name = std::move(name),
          .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Volume(format);
            if (source != Source::kVolume) stage.Snapshot(volume);
            const std::string snapshot = source == Source::kSnapshot ? stage.Snapshot(volume) : "";
            CreateVolumeRequest create = NewVolume(
                format, 0, snapshot.empty() ? FromVolume(volume) : FromSnapshot(snapshot));
            create.volume_id = stage.Id("NEW");
            create.share = stage.engine().address(share);
            return create;
          },
          .by_children = by_children};
}

CampaignKind Snapshot(std::string name, VolumeFormat format, int before) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Volume(format);
            for (int i = 0; i < before; ++i) stage.Snapshot(volume);
            return NewSnapshot(volume, stage.Id("S-NEW"));
          }};
}

CampaignKind GroupSnapshot(std::string name, size_t share, int before) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Volume(kQcow2);
            const std::string other = stage.Volume(kQcow2, stage.engine().address(share));
            for (int i = 0; i < before; ++i) {
              stage.Snapshot(volume);
              stage.Snapshot(other);
            }
            CreateSnapshotRequest create = NewSnapshot(volume, stage.Id("S-NEW"));
            create.group_id = stage.Id("GROUP");
            create.more = {{other, stage.Id("S-NEW-TOO")}};
            return create;
          }};
}

// Deletes the snapshot at `position` of `snapshots`, 0 for the oldest.
CampaignKind DeleteSnapshot(std::string name, VolumeFormat format, int snapshots, int position) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Volume(format);
            std::string chosen;
            for (int i = 0; i < snapshots; ++i) {
              const std::string snapshot = stage.Snapshot(volume);
              if (i == position) chosen = snapshot;
            }
            return DeleteSnapshotRequest{.snapshot_id = chosen};
          }};
}

// One whose layer is too large to be merged natively.
CampaignKind DeleteLargeSnapshot(std::string name, int snapshots, int position) {
  const CampaignKind small = DeleteSnapshot(name, kQcow2, snapshots, position);
  return {.name = std::move(name),
          .prepare = [=](Stage& stage) -> Request {
            Request request = small.prepare(stage);
            const auto& asked = std::get<DeleteSnapshotRequest>(request);
            stage.Swell(stage.engine().FindSnapshot(asked.snapshot_id)->layer);
            return request;
          },
          .by_children = true};
}

CampaignKind Extend(std::string name, VolumeFormat format, int snapshots, int64_t size_bytes) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Volume(format);
            for (int i = 0; i < snapshots; ++i) stage.Snapshot(volume);
            return ExtendVolumeRequest{.volume_id = volume, .size_bytes = size_bytes};
          }};
}

CampaignKind Revert(std::string name, VolumeFormat format, int newer) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Volume(format);
            stage.Snapshot(volume);
            const std::string snapshot = stage.Snapshot(volume);
            for (int i = 0; i < newer; ++i) stage.Snapshot(volume);
            return RevertToSnapshotRequest{.snapshot_id = snapshot, .discard_newer = newer > 0};
          }};
}

CampaignKind Move(std::string name, VolumeFormat format, int snapshots) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Volume(format);
            for (int i = 0; i < snapshots; ++i) stage.Snapshot(volume);
            return MigrateVolumeRequest{.volume_id = volume, .share = stage.engine().address(1)};
          }};
}

CampaignKind DeleteVolume(std::string name, VolumeFormat format, int snapshots) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Volume(format);
            for (int i = 0; i < snapshots; ++i) stage.Snapshot(volume);
            return DeleteVolumeRequest{.volume_id = volume, .cascade = snapshots > 0};
          }};
}

CampaignKind AdoptForeign(std::string name, bool with_snapshot) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.Foreign(with_snapshot);
            return Adopt(stage.engine().address(0), volume, kQcow2);
          }};
}

// With what no snapshot needs, which is merged when it has been adopted.
CampaignKind AdoptSurplus(std::string name, std::vector<std::string> layers) {
  return {.name = std::move(name), .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.ForeignChain(layers);
            return Adopt(stage.engine().address(0), volume, kQcow2);
          }};
}

CampaignKind AdoptLargeSurplus(std::string name) {
  return {.name = std::move(name),
          .prepare = [=](Stage& stage) -> Request {
            const std::string volume = stage.ForeignChain({"a"});
            for (const std::string& file : stage.Layers(volume)) stage.Swell(file);
            return Adopt(stage.engine().address(0), volume, kQcow2);
          },
          .by_children = true};
}

CampaignKind Import(std::string name, VolumeFormat format) {
  return {.name = std::move(name),
          .prepare = [=](Stage& stage) -> Request {
            ImportVolumeRequest import;
            import.volume_id = stage.Id("NEW");
            import.share = stage.engine().address(0);
            import.size_bytes = kStageBytes;
            import.format = format;
            return import;
          },
          .by_children = true};
}

CampaignKind AttachOne() {
  return {.name = "attach", .prepare = [](Stage& stage) -> Request {
            const std::string volume = stage.Volume(kQcow2);
            stage.Snapshot(volume);
            AttachVolumeRequest attach = Attach(volume, "machine");
            attach.attachment_id = stage.Id("ATTACHMENT");
            return attach;
          }};
}

CampaignKind DetachOne() {
  return {.name = "detach", .prepare = [](Stage& stage) -> Request {
            const std::string volume = stage.Volume(kQcow2);
            stage.Snapshot(volume);
            EXPECT_OK(stage.engine().Do(Attach(volume, "machine")));
            return Detach(volume);
          }};
}

}  // namespace

std::string ImportedContent() {
  return std::string(kPiece, 'i') + std::string(kPiece, '\0') +
         std::string(static_cast<size_t>(kStageBytes - 2 * kPiece), 'j');
}

const std::vector<CampaignKind>& CampaignKinds() {
  constexpr int64_t kLarger = 2 * kStageBytes;
  constexpr int64_t kTwoTables = kGiB;  // more than one table of mappings can hold
  static const std::vector<CampaignKind> kinds{
      Create("create_qcow2", kQcow2),
      Create("create_sparse", kSparse),
      Create("create_thick", kThick),
      Clone("clone_volume", Source::kVolume, kQcow2, 0),
      Clone("clone_volume_to_other_share", Source::kVolume, kQcow2, 1),
      Clone("clone_sparse_volume", Source::kVolume, kSparse, 0),
      Clone("clone_volume_with_snapshot", Source::kLayeredVolume, kQcow2, 0),
      Clone("clone_snapshot", Source::kSnapshot, kQcow2, 0),
      Clone("clone_snapshot_to_other_share", Source::kSnapshot, kThick, 1),
      Snapshot("snapshot_first", kQcow2, 0),
      Snapshot("snapshot_of_raw", kSparse, 0),
      Snapshot("snapshot_second", kQcow2, 1),
      GroupSnapshot("group_snapshot", 0, 1),
      GroupSnapshot("group_snapshot_first", 0, 0),
      GroupSnapshot("group_snapshot_on_two_shares", 1, 1),
      DeleteSnapshot("delete_only_snapshot", kQcow2, 1, 0),
      DeleteSnapshot("delete_newest_snapshot", kQcow2, 3, 2),
      DeleteSnapshot("delete_middle_snapshot", kQcow2, 3, 1),
      DeleteSnapshot("delete_oldest_snapshot", kQcow2, 3, 0),
      DeleteSnapshot("delete_oldest_snapshot_of_raw", kThick, 2, 0),
      DeleteLargeSnapshot("delete_newest_large_snapshot", 2, 1),
      DeleteLargeSnapshot("delete_oldest_large_snapshot", 2, 0),
      Extend("extend", kQcow2, 0, kLarger),
      Extend("extend_sparse", kSparse, 0, kLarger),
      Extend("extend_thick", kThick, 0, kLarger),
      Extend("extend_with_snapshots", kQcow2, 2, kLarger),
      Extend("extend_by_a_table", kQcow2, 1, kTwoTables),
      Revert("revert_to_newest", kQcow2, 0),
      Revert("revert_discarding_newer", kQcow2, 2),
      Revert("revert_raw_discarding_newer", kSparse, 1),
      Move("move", kQcow2, 2),
      Move("move_sparse", kSparse, 0),
      Move("move_thick", kThick, 1),
      DeleteVolume("delete_volume", kThick, 0),
      DeleteVolume("delete_volume_with_snapshots", kQcow2, 2),
      AdoptForeign("adopt", false),
      AdoptForeign("adopt_with_snapshot", true),
      AdoptSurplus("merge_newest_layer", {"S", "a"}),
      AdoptSurplus("merge_middle_layers", {"a", "b", "S"}),
      AdoptLargeSurplus("merge_large_layer"),
      Import("import", kQcow2),
      Import("import_sparse", kSparse),
      AttachOne(),
      DetachOne(),
  };
  return kinds;
}

}  // namespace cairn::testing
