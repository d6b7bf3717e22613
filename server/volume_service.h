// VolumeService: turns calls into engine calls. Holds no state.
#ifndef CAIRN_SERVER_VOLUME_SERVICE_H_
#define CAIRN_SERVER_VOLUME_SERVICE_H_

#include "cairn/v1/volume_service.grpc.pb.h"
#include "server/service_context.h"

namespace cairn {

class VolumeService final : public v1::VolumeService::CallbackService {
 public:
  explicit VolumeService(ServiceContext* services) : services_(services) {}

  grpc::ServerUnaryReactor* CreateVolume(grpc::CallbackServerContext* context,
                                         const v1::CreateVolumeRequest* request,
                                         v1::CreateVolumeResponse* response) override;
  grpc::ServerUnaryReactor* GetVolume(grpc::CallbackServerContext* context,
                                      const v1::GetVolumeRequest* request,
                                      v1::GetVolumeResponse* response) override;
  grpc::ServerUnaryReactor* ListVolumes(grpc::CallbackServerContext* context,
                                        const v1::ListVolumesRequest* request,
                                        v1::ListVolumesResponse* response) override;
  grpc::ServerUnaryReactor* UpdateVolume(grpc::CallbackServerContext* context,
                                         const v1::UpdateVolumeRequest* request,
                                         v1::UpdateVolumeResponse* response) override;
  grpc::ServerUnaryReactor* DeleteVolume(grpc::CallbackServerContext* context,
                                         const v1::DeleteVolumeRequest* request,
                                         v1::DeleteVolumeResponse* response) override;
  grpc::ServerUnaryReactor* ExtendVolume(grpc::CallbackServerContext* context,
                                         const v1::ExtendVolumeRequest* request,
                                         v1::ExtendVolumeResponse* response) override;
  grpc::ServerUnaryReactor* MigrateVolume(grpc::CallbackServerContext* context,
                                          const v1::MigrateVolumeRequest* request,
                                          v1::MigrateVolumeResponse* response) override;
  grpc::ServerUnaryReactor* AttachVolume(grpc::CallbackServerContext* context,
                                         const v1::AttachVolumeRequest* request,
                                         v1::AttachVolumeResponse* response) override;
  grpc::ServerUnaryReactor* DetachVolume(grpc::CallbackServerContext* context,
                                         const v1::DetachVolumeRequest* request,
                                         v1::DetachVolumeResponse* response) override;
  grpc::ServerUnaryReactor* AdoptVolume(grpc::CallbackServerContext* context,
                                        const v1::AdoptVolumeRequest* request,
                                        v1::AdoptVolumeResponse* response) override;
  grpc::ServerReadReactor<v1::ImportVolumeRequest>* ImportVolume(
      grpc::CallbackServerContext* context, v1::ImportVolumeResponse* response) override;
  grpc::ServerWriteReactor<v1::ExportVolumeResponse>* ExportVolume(
      grpc::CallbackServerContext* context, const v1::ExportVolumeRequest* request) override;
  grpc::ServerWriteReactor<v1::WatchVolumesResponse>* WatchVolumes(
      grpc::CallbackServerContext* context, const v1::WatchVolumesRequest* request) override;

 private:
  ServiceContext* const services_;
};

}  // namespace cairn

#endif  // CAIRN_SERVER_VOLUME_SERVICE_H_
