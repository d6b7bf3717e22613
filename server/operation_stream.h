// WatchOperation: an operation as it is, at each change, until it has ended. A slow reader misses
// what lies between; nothing is queued.
#ifndef CAIRN_SERVER_OPERATION_STREAM_H_
#define CAIRN_SERVER_OPERATION_STREAM_H_

#include <memory>

#include "cairn/v1/operation_service.pb.h"
#include "server/stream.h"

namespace cairn {

absl::Status StartOperationStream(
    Engine* engine, const v1::WatchOperationRequest& request,
    const std::shared_ptr<WriterCall<v1::WatchOperationResponse>>& call);

}  // namespace cairn

#endif  // CAIRN_SERVER_OPERATION_STREAM_H_
