#include "lib/engine/record_clock.h"

#include <algorithm>

#include "lib/base/status.h"

namespace cairn {
namespace {

// What the contract's timestamps tell apart.
constexpr absl::Duration kStep = absl::Nanoseconds(1);

}  // namespace

absl::Time RecordClock::Now() const {
  const absl::Time now = system_->Now();
  MutexLock lock(&mutex_);
  last_ = std::max(now, last_ + kStep);
  return last_;
}

absl::Time RecordClock::last() const {
  MutexLock lock(&mutex_);
  return last_;
}

absl::Status RecordClock::StartAfter(const Catalog& catalog) {
  const ListQuery newest{
      .filter = {}, .order_by = "create_time desc", .page_size = 1, .page_token = {}};
  ASSIGN_OR_RETURN(auto volumes, catalog.ListVolumes(newest));
  for (const VolumePtr& volume : volumes.items) StartAfter(volume->create_time);
  ASSIGN_OR_RETURN(auto snapshots, catalog.ListSnapshots(newest, ""));
  for (const SnapshotPtr& snapshot : snapshots.items) StartAfter(snapshot->create_time);
  ASSIGN_OR_RETURN(auto operations, catalog.ListOperations(newest));
  for (const OperationPtr& operation : operations.items) StartAfter(operation->create_time);
  return absl::OkStatus();
}

void RecordClock::StartAfter(absl::Time time) {
  if (time == absl::InfiniteFuture()) return;  // no clock has said that
  MutexLock lock(&mutex_);
  last_ = std::max(last_, time);
}

}  // namespace cairn
