// ExportVolume: header, chunks, trailer. One chunk is in hand at a time: the next one is read from
// the share when the last one has been handed to the connection.
#ifndef CAIRN_SERVER_EXPORT_STREAM_H_
#define CAIRN_SERVER_EXPORT_STREAM_H_

#include <memory>

#include "cairn/v1/volume_service.pb.h"
#include "server/stream.h"

namespace cairn {

absl::Status StartExportStream(Engine* engine, Background* background,
                               const v1::ExportVolumeRequest& request,
                               const std::shared_ptr<WriterCall<v1::ExportVolumeResponse>>& call);

}  // namespace cairn

#endif  // CAIRN_SERVER_EXPORT_STREAM_H_
