#include <utility>

#include "cairn/client/client.h"
#include "cairn/client/internal/change.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/internal/list.h"

namespace cairn::client {

namespace {
using Stub = v1::SnapshotService::StubInterface;
}  // namespace

absl::StatusOr<PendingOperation> Client::CreateSnapshot(v1::CreateSnapshotRequest request,
                                                        const CallOptions& options) const {
  return internal::Change(connection_, connection_->snapshots.get(), &Stub::CreateSnapshot,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::UpdateSnapshot(v1::UpdateSnapshotRequest request,
                                                        const CallOptions& options) const {
  return internal::Change(connection_, connection_->snapshots.get(), &Stub::UpdateSnapshot,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::DeleteSnapshot(v1::DeleteSnapshotRequest request,
                                                        const CallOptions& options) const {
  return internal::Change(connection_, connection_->snapshots.get(), &Stub::DeleteSnapshot,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::RevertToSnapshot(v1::RevertToSnapshotRequest request,
                                                          const CallOptions& options) const {
  return internal::Change(connection_, connection_->snapshots.get(), &Stub::RevertToSnapshot,
                          std::move(request), options);
}

absl::StatusOr<v1::Snapshot> Client::GetSnapshot(const std::string& snapshot_id,
                                                 const CallOptions& options) const {
  v1::GetSnapshotRequest request;
  request.set_snapshot_id(snapshot_id);
  auto response = internal::Call(*connection_, connection_->snapshots.get(), &Stub::GetSnapshot,
                                 request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_snapshot());
}

absl::StatusOr<v1::ListSnapshotsResponse> Client::ListSnapshots(
    const v1::ListSnapshotsRequest& request, const CallOptions& options) const {
  return internal::Call(*connection_, connection_->snapshots.get(), &Stub::ListSnapshots, request,
                        options);
}

PageRange<v1::Snapshot> Client::Snapshots(v1::ListSnapshotsRequest request,
                                          CallOptions options) const {
  return internal::MakePages<v1::Snapshot>(
      connection_, connection_->snapshots.get(), &Stub::ListSnapshots, std::move(request),
      std::move(options),
      [](v1::ListSnapshotsResponse* page) { return page->mutable_snapshots(); });
}

}  // namespace cairn::client
