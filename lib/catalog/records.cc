#include "lib/catalog/records.h"

#include <array>
#include <utility>

namespace cairn {
namespace {

template <typename Enum, size_t N>
using Names = std::array<std::pair<Enum, std::string_view>, N>;

constexpr Names<VolumeState, 8> kVolumeStates = {{
    {VolumeState::kCreating, "CREATING"},
    {VolumeState::kAvailable, "AVAILABLE"},
    {VolumeState::kInUse, "IN_USE"},
    {VolumeState::kExtending, "EXTENDING"},
    {VolumeState::kReverting, "REVERTING"},
    {VolumeState::kMigrating, "MIGRATING"},
    {VolumeState::kDeleting, "DELETING"},
    {VolumeState::kError, "ERROR"},
}};

constexpr Names<SnapshotState, 4> kSnapshotStates = {{
    {SnapshotState::kCreating, "CREATING"},
    {SnapshotState::kAvailable, "AVAILABLE"},
    {SnapshotState::kDeleting, "DELETING"},
    {SnapshotState::kError, "ERROR"},
}};

constexpr Names<OperationState, 8> kOperationStates = {{
    {OperationState::kQueued, "QUEUED"},
    {OperationState::kRunning, "RUNNING"},
    {OperationState::kWaitingForConsumer, "WAITING_FOR_CONSUMER"},
    {OperationState::kCancelling, "CANCELLING"},
    {OperationState::kSucceeded, "SUCCEEDED"},
    {OperationState::kFailed, "FAILED"},
    {OperationState::kCancelled, "CANCELLED"},
    {OperationState::kAbandoned, "ABANDONED"},
}};

constexpr Names<OperationKind, 14> kOperationKinds = {{
    {OperationKind::kCreateVolume, "CREATE_VOLUME"},
    {OperationKind::kUpdateVolume, "UPDATE_VOLUME"},
    {OperationKind::kDeleteVolume, "DELETE_VOLUME"},
    {OperationKind::kExtendVolume, "EXTEND_VOLUME"},
    {OperationKind::kMigrateVolume, "MIGRATE_VOLUME"},
    {OperationKind::kAttachVolume, "ATTACH_VOLUME"},
    {OperationKind::kDetachVolume, "DETACH_VOLUME"},
    {OperationKind::kAdoptVolume, "ADOPT_VOLUME"},
    {OperationKind::kImportVolume, "IMPORT_VOLUME"},
    {OperationKind::kCreateSnapshot, "CREATE_SNAPSHOT"},
    {OperationKind::kUpdateSnapshot, "UPDATE_SNAPSHOT"},
    {OperationKind::kDeleteSnapshot, "DELETE_SNAPSHOT"},
    {OperationKind::kRevertToSnapshot, "REVERT_TO_SNAPSHOT"},
    {OperationKind::kMergeLayers, "MERGE_LAYERS"},
}};

template <typename Enum, size_t N>
std::string_view NameOf(const Names<Enum, N>& names, Enum value) {
  for (const auto& [each, name] : names) {
    if (each == value) return name;
  }
  return "";
}

template <typename Enum, size_t N>
std::optional<Enum> FromName(const Names<Enum, N>& names, std::string_view name) {
  for (const auto& [value, each] : names) {
    if (each == name) return value;
  }
  return std::nullopt;
}

}  // namespace

std::string_view VolumeStateName(VolumeState state) { return NameOf(kVolumeStates, state); }
std::string_view SnapshotStateName(SnapshotState state) { return NameOf(kSnapshotStates, state); }
std::string_view OperationStateName(OperationState state) {
  return NameOf(kOperationStates, state);
}
std::string_view OperationKindName(OperationKind kind) { return NameOf(kOperationKinds, kind); }

std::optional<VolumeState> VolumeStateFromName(std::string_view name) {
  return FromName(kVolumeStates, name);
}
std::optional<SnapshotState> SnapshotStateFromName(std::string_view name) {
  return FromName(kSnapshotStates, name);
}
std::optional<OperationState> OperationStateFromName(std::string_view name) {
  return FromName(kOperationStates, name);
}
std::optional<OperationKind> OperationKindFromName(std::string_view name) {
  return FromName(kOperationKinds, name);
}

}  // namespace cairn
