// Pools and shares, as messages.
#include "server/convert.h"

namespace cairn {
namespace {

v1::ShareCapabilities AbilitiesToProto(const FileAbilities& abilities) {
  const auto support = [](bool present) {
    return present ? v1::SUPPORT_PRESENT : v1::SUPPORT_ABSENT;
  };
  v1::ShareCapabilities proto;
  proto.set_clone(support(abilities.clone));
  proto.set_copy(support(abilities.copy));
  proto.set_allocate(support(abilities.allocate));
  proto.set_seek(support(abilities.seek));
  return proto;
}

v1::Share ShareToProto(const PoolStatus::ShareEntry& entry) {
  const ShareStatus& status = entry.share.status;
  v1::Share proto;
  proto.set_address(entry.share.address);
  proto.set_state(ToProto(status.state));
  *proto.mutable_since() = ToProto(status.since);
  proto.set_last_error(status.last_error);
  if (status.probe_latency > absl::ZeroDuration()) {
    *proto.mutable_probe_latency() = ToProto(status.probe_latency);
  }
  proto.set_mount_point(entry.share.directory);
  proto.set_mount_options(status.mount_options);
  proto.set_nfs_version(status.nfs_version);
  if (status.abilities.has_value())
    *proto.mutable_capabilities() = AbilitiesToProto(*status.abilities);
  v1::Capacity* capacity = proto.mutable_capacity();
  capacity->set_total_bytes(status.capacity.total_bytes);
  capacity->set_available_bytes(status.capacity.available_bytes);
  capacity->set_allocated_bytes(status.capacity.allocated_bytes);
  capacity->set_provisioned_bytes(entry.provisioned_bytes);
  capacity->set_reserved_bytes(entry.share.reserved_bytes);
  proto.set_volume_count(entry.volumes);
  proto.set_identity(status.identity);
  for (const std::string& address : entry.share.same_file_system) {
    proto.add_same_file_system(address);
  }
  return proto;
}

}  // namespace

v1::Pool ToProto(const PoolStatus& pool) {
  v1::Pool proto;
  proto.set_name(pool.name);
  proto.set_usable(pool.usable);
  v1::Capacity* capacity = proto.mutable_capacity();
  capacity->set_total_bytes(pool.total_bytes);
  capacity->set_available_bytes(pool.available_bytes);
  capacity->set_allocated_bytes(pool.allocated_bytes);
  capacity->set_provisioned_bytes(pool.provisioned_bytes);
  capacity->set_reserved_bytes(pool.reserved_bytes);
  proto.set_max_over_subscription_ratio(pool.options.max_over_subscription_ratio);
  proto.set_reserved_percentage(pool.options.reserved_percentage);
  proto.set_placement_policy(pool.options.placement_policy == PlacementPolicy::kMostAvailable
                                 ? v1::PLACEMENT_POLICY_MOST_AVAILABLE
                                 : v1::PLACEMENT_POLICY_LEAST_ALLOCATED);
  proto.set_default_format(ToProto(pool.options.default_format()));
  proto.set_snapshots_enabled(pool.options.nfs_snapshot_support);
  for (const PoolStatus::ShareEntry& entry : pool.shares) *proto.add_shares() = ShareToProto(entry);
  for (const auto& [state, count] : pool.volumes_by_state) {
    if (count == 0) continue;
    v1::VolumeStateCount* counted = proto.add_volume_counts();
    counted->set_state(ToProto(state));
    counted->set_count(count);
  }
  return proto;
}

}  // namespace cairn
