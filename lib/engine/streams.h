// Content in and out, piece by piece. One call at a time per session: the next one is made after
// the callback of the last, which is the flow control. Dropping a session gives it up.
#ifndef CAIRN_LIB_ENGINE_STREAMS_H_
#define CAIRN_LIB_ENGINE_STREAMS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/catalog/records.h"

namespace cairn {

// A piece of content: `data`, or `zero_length` zero bytes when data is empty.
struct ContentChunk {
  int64_t offset = 0;
  std::string data;
  int64_t zero_length = 0;
  uint32_t crc32c = 0;  // of the piece's bytes (of that many zeros)
  int64_t length() const { return data.empty() ? zero_length : static_cast<int64_t>(data.size()); }
};

// Of all the bytes of a stream, in order.
struct ContentTotal {
  int64_t bytes = 0;
  uint32_t crc32c = 0;
};

class ImportSession {
 public:
  virtual ~ImportSession() = default;
  virtual const std::string& operation_id() const = 0;
  // Chunks come in order without a gap: INVALID_FIELD else; CHECKSUM_MISMATCH when the bytes are
  // not what was said. After an error the session is over.
  virtual void Write(ContentChunk chunk, std::function<void(absl::Status)> done) = 0;
  // The volume appears when everything is durable and the total fits; the rest of a volume that is
  // larger than the stream reads as zeros.
  virtual void Finish(ContentTotal total,
                      std::function<void(absl::StatusOr<OperationPtr>)> done) = 0;
};

struct ExportRequest {
  std::string volume_id;  // one of the two
  std::string snapshot_id;
  int64_t offset = 0;       // a multiple of 512
  int64_t length = 0;       // 0: to the end
  int64_t chunk_bytes = 0;  // 0: 1 MiB; at most 2 MiB
  std::string requested_by;
  // Nobody wants it any more: what waits for its turn gives the turn up at once, and may never be
  // told.
  CancelToken cancel{};
};

class ExportSession {
 public:
  virtual ~ExportSession() = default;
  struct Piece {
    bool last = false;  // then `total` is set and there is no chunk
    ContentChunk chunk;
    ContentTotal total;
  };
  virtual void Next(std::function<void(absl::StatusOr<Piece>)> done) = 0;
};

// CRC-32C (Castagnoli), continued from `crc` (0 at the start).
uint32_t Crc32c(uint32_t crc, std::string_view data);
uint32_t Crc32cOfZeros(uint32_t crc, int64_t count);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_STREAMS_H_
