// WatchVolumes: what there is, then every change.
//
// Nothing is buffered for a reader beyond one piece of the catalog's own list of changes: a reader
// that is slower than that list is long is told to begin again.
#ifndef CAIRN_SERVER_WATCH_STREAM_H_
#define CAIRN_SERVER_WATCH_STREAM_H_

#include <memory>

#include "cairn/v1/volume_service.pb.h"
#include "server/stream.h"

namespace cairn {

absl::Status StartWatchStream(Engine* engine, Background* background,
                              const v1::WatchVolumesRequest& request,
                              const std::shared_ptr<WriterCall<v1::WatchVolumesResponse>>& call);

}  // namespace cairn

#endif  // CAIRN_SERVER_WATCH_STREAM_H_
