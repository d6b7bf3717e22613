#include "server/volume_service.h"

#include <fmt/format.h>

#include "lib/base/id.h"
#include "server/change.h"
#include "server/export_stream.h"
#include "server/import_stream.h"
#include "server/paging.h"
#include "server/watch_stream.h"

namespace cairn {
namespace {

// The bare record, or with what only the share knows.
absl::Status StartGetVolume(Engine* engine, const v1::GetVolumeRequest& request,
                            const std::shared_ptr<UnaryCall<v1::GetVolumeResponse>>& call) {
  NoteTargets(request, call.get());
  if (!v1::VolumeView_IsValid(request.view())) {
    return InvalidField("view", "is no known view", fmt::format("{}", int{request.view()}));
  }
  ASSIGN_OR_RETURN(std::string id, ParseId("volume_id", request.volume_id()));
  VolumePtr volume = engine->records().FindVolume(id);
  if (volume == nullptr) {
    return Error(Reason::kVolumeNotFound, fmt::format("there is no volume {}", id),
                 {{"volume", id}});
  }
  v1::GetVolumeResponse response;
  *response.mutable_volume() = ToProto(*volume);
  if (request.view() != v1::VOLUME_VIEW_FULL) {
    call->Reply(std::move(response));
    return absl::OkStatus();
  }
  for (v1::Attachment& attachment : *response.mutable_volume()->mutable_attachments()) {
    absl::StatusOr<ConnectionInfo> connection = engine->ConnectionOf(id, attachment.id());
    if (connection.ok()) *attachment.mutable_connection() = ToProto(*connection);
  }
  engine->DescribeChain(
      id, [call, response](const absl::StatusOr<std::vector<ChainFile>>& chain) mutable {
        if (!chain.ok()) return call->Reply(chain.status());
        for (const ChainFile& file : *chain)
          *response.mutable_volume()->add_chain() = ToProto(file);
        call->Reply(std::move(response));
      });
  return absl::OkStatus();
}

}  // namespace

#define CAIRN_VOLUME_CHANGE(method)                                                               \
  grpc::ServerUnaryReactor* VolumeService::method(grpc::CallbackServerContext* context,           \
                                                  const v1::method##Request* request,             \
                                                  v1::method##Response* response) {               \
    return ServeUnary(services_, {"VolumeService." #method, CallKind::kChange}, context, request, \
                      response, StartChange());                                                   \
  }
CAIRN_VOLUME_CHANGE(CreateVolume)
CAIRN_VOLUME_CHANGE(UpdateVolume)
CAIRN_VOLUME_CHANGE(DeleteVolume)
CAIRN_VOLUME_CHANGE(ExtendVolume)
CAIRN_VOLUME_CHANGE(MigrateVolume)
CAIRN_VOLUME_CHANGE(AttachVolume)
CAIRN_VOLUME_CHANGE(DetachVolume)
CAIRN_VOLUME_CHANGE(AdoptVolume)
#undef CAIRN_VOLUME_CHANGE

grpc::ServerUnaryReactor* VolumeService::GetVolume(grpc::CallbackServerContext* context,
                                                   const v1::GetVolumeRequest* request,
                                                   v1::GetVolumeResponse* response) {
  return ServeUnary(services_, {"VolumeService.GetVolume", CallKind::kRead}, context, request,
                    response, StartGetVolume);
}

grpc::ServerUnaryReactor* VolumeService::ListVolumes(grpc::CallbackServerContext* context,
                                                     const v1::ListVolumesRequest* request,
                                                     v1::ListVolumesResponse* response) {
  return ServeUnary(
      services_, {"VolumeService.ListVolumes", CallKind::kRead}, context, request, response,
      [this](Engine* engine, const v1::ListVolumesRequest& asked, const auto& call) {
        return ServePage(
            services_, ListQueryFrom(asked), call,
            [engine](const ListQuery& query) { return engine->records().ListVolumes(query); },
            [](const VolumeRecord& volume) { return ToProto(volume); },
            [](v1::ListVolumesResponse* page) { return page->mutable_volumes(); });
      });
}

grpc::ServerReadReactor<v1::ImportVolumeRequest>* VolumeService::ImportVolume(
    grpc::CallbackServerContext* context, v1::ImportVolumeResponse* response) {
  return ServeReader<v1::ImportVolumeRequest>(
      services_, {"VolumeService.ImportVolume", CallKind::kUpload}, context, response,
      [this](Engine* engine, const auto& call) {
        return StartImportStream(engine, &services_->background, call);
      });
}

grpc::ServerWriteReactor<v1::ExportVolumeResponse>* VolumeService::ExportVolume(
    grpc::CallbackServerContext* context, const v1::ExportVolumeRequest* request) {
  return ServeWriter<v1::ExportVolumeResponse>(
      services_, {"VolumeService.ExportVolume", CallKind::kDownload}, context, request,
      [this](Engine* engine, const v1::ExportVolumeRequest& asked, const auto& call) {
        return StartExportStream(engine, &services_->background, asked, call);
      });
}

grpc::ServerWriteReactor<v1::WatchVolumesResponse>* VolumeService::WatchVolumes(
    grpc::CallbackServerContext* context, const v1::WatchVolumesRequest* request) {
  return ServeWriter<v1::WatchVolumesResponse>(
      services_, {"VolumeService.WatchVolumes", CallKind::kWatch}, context, request,
      [this](Engine* engine, const v1::WatchVolumesRequest& asked, const auto& call) {
        return StartWatchStream(engine, &services_->background, asked, call);
      });
}

}  // namespace cairn
