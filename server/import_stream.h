// ImportVolume: header, chunks, trailer. The next message is asked for when the last one has been
// dealt with, so a slow share slows the client and nothing piles up.
#ifndef CAIRN_SERVER_IMPORT_STREAM_H_
#define CAIRN_SERVER_IMPORT_STREAM_H_

#include <memory>

#include "cairn/v1/volume_service.pb.h"
#include "server/stream.h"

namespace cairn {

absl::Status StartImportStream(
    Engine* engine, Background* background,
    const std::shared_ptr<ReaderCall<v1::ImportVolumeRequest, v1::ImportVolumeResponse>>& call);

}  // namespace cairn

#endif  // CAIRN_SERVER_IMPORT_STREAM_H_
