#include <utility>

#include "cairn/client/client.h"
#include "cairn/client/internal/change.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/internal/list.h"

namespace cairn::client {

namespace {
using Stub = v1::VolumeService::StubInterface;
}  // namespace

absl::StatusOr<PendingOperation> Client::CreateVolume(v1::CreateVolumeRequest request,
                                                      const CallOptions& options) const {
  return internal::Change(connection_, connection_->volumes.get(), &Stub::CreateVolume,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::UpdateVolume(v1::UpdateVolumeRequest request,
                                                      const CallOptions& options) const {
  return internal::Change(connection_, connection_->volumes.get(), &Stub::UpdateVolume,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::DeleteVolume(v1::DeleteVolumeRequest request,
                                                      const CallOptions& options) const {
  return internal::Change(connection_, connection_->volumes.get(), &Stub::DeleteVolume,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::ExtendVolume(v1::ExtendVolumeRequest request,
                                                      const CallOptions& options) const {
  return internal::Change(connection_, connection_->volumes.get(), &Stub::ExtendVolume,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::MigrateVolume(v1::MigrateVolumeRequest request,
                                                       const CallOptions& options) const {
  return internal::Change(connection_, connection_->volumes.get(), &Stub::MigrateVolume,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::AttachVolume(v1::AttachVolumeRequest request,
                                                      const CallOptions& options) const {
  return internal::Change(connection_, connection_->volumes.get(), &Stub::AttachVolume,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::DetachVolume(v1::DetachVolumeRequest request,
                                                      const CallOptions& options) const {
  return internal::Change(connection_, connection_->volumes.get(), &Stub::DetachVolume,
                          std::move(request), options);
}

absl::StatusOr<PendingOperation> Client::AdoptVolume(v1::AdoptVolumeRequest request,
                                                     const CallOptions& options) const {
  return internal::Change(connection_, connection_->volumes.get(), &Stub::AdoptVolume,
                          std::move(request), options);
}

absl::StatusOr<v1::Volume> Client::GetVolume(const v1::GetVolumeRequest& request,
                                             const CallOptions& options) const {
  auto response =
      internal::Call(*connection_, connection_->volumes.get(), &Stub::GetVolume, request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_volume());
}

absl::StatusOr<v1::Volume> Client::GetVolume(const std::string& volume_id,
                                             const CallOptions& options) const {
  v1::GetVolumeRequest request;
  request.set_volume_id(volume_id);
  return GetVolume(request, options);
}

absl::StatusOr<v1::ListVolumesResponse> Client::ListVolumes(const v1::ListVolumesRequest& request,
                                                            const CallOptions& options) const {
  return internal::Call(*connection_, connection_->volumes.get(), &Stub::ListVolumes, request,
                        options);
}

PageRange<v1::Volume> Client::Volumes(v1::ListVolumesRequest request, CallOptions options) const {
  return internal::MakePages<v1::Volume>(
      connection_, connection_->volumes.get(), &Stub::ListVolumes, std::move(request),
      std::move(options), [](v1::ListVolumesResponse* page) { return page->mutable_volumes(); });
}

}  // namespace cairn::client
