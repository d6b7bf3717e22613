// Moving a volume's content: where it goes to, where it comes from, how far it has come.
//
// Content is a row of pieces from the first byte to the last, each either data or a run of zeros,
// which are not sent. The library checks every piece against its checksum before a sink sees it,
// and the whole at the end.
//
// Threads: a sink or a source is used by one thread at a time, the one that calls ExportVolume or
// ImportVolume.
#ifndef CAIRN_CLIENT_TRANSFER_H_
#define CAIRN_CLIENT_TRANSFER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cairn::client {

// Bytes from the beginning of the content that is moved, zeros included.
struct TransferProgress {
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;  // 0: not known
};

struct TransferOptions {
  // Called after each piece, on the thread that moves the content.
  std::function<void(const TransferProgress&)> on_progress{};
  // Gives it up with CANCELLED. An upload that is given up leaves no volume.
  std::stop_token stop{};
};

// What was downloaded.
struct TransferSummary {
  int64_t size_bytes = 0;    // of the volume or the snapshot
  int64_t offset = 0;        // where the download began
  int64_t length_bytes = 0;  // how much was downloaded
  uint32_t crc32c = 0;       // of that
  int resumptions = 0;       // how often the stream broke and was taken up again
};

// Where downloaded content goes to. Pieces come in order and without a gap. An error ends the
// download and is given to its caller.
class ContentSink {
 public:
  virtual ~ContentSink() = default;
  // Before the first piece, once: the size of the volume, and what of it will come.
  virtual absl::Status Begin(int64_t size_bytes, int64_t offset, int64_t length_bytes) = 0;
  virtual absl::Status WriteData(int64_t offset, std::string_view data) = 0;
  virtual absl::Status WriteZeros(int64_t offset, int64_t length_bytes) = 0;
};

// A piece of content that is to be sent: `data`, or where that is empty `zero_length` zero bytes.
// Both empty: the end.
struct ContentPiece {
  std::string data{};
  int64_t zero_length = 0;
};

// Where uploaded content comes from.
class ContentSource {
 public:
  virtual ~ContentSource() = default;
  // How much there is, for progress; 0 when that cannot be told.
  virtual int64_t size_bytes() const = 0;
  // The next piece, of at most 2 MiB of data.
  virtual absl::StatusOr<ContentPiece> Next() = 0;
  // Begins at the beginning again, after a connection was lost. FAILED_PRECONDITION where that is
  // not possible, as with a pipe: the upload then ends with the error that broke it.
  virtual absl::Status Rewind() = 0;
};

// A sink that writes into an open file, at the content's own offsets: zeros become holes, and the
// file gets the size of the volume. With `sequential` it writes one byte after the other, zeros
// included, as pipes need it. The descriptor is not owned. Nothing is synced.
std::unique_ptr<ContentSink> NewFileSink(int fd, bool sequential = false);

// A source that reads an open file from the beginning; holes, and blocks that hold only zeros, are
// not sent. What cannot be sought in, such as a pipe, is read as it comes. The descriptor is not
// owned.
absl::StatusOr<std::unique_ptr<ContentSource>> NewFileSource(int fd);

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_TRANSFER_H_
