// What a commit is to write, as a list, and writing it in few calls. Private to lib/image.
#ifndef CAIRN_LIB_IMAGE_COMMIT_PIECES_H_
#define CAIRN_LIB_IMAGE_COMMIT_PIECES_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/image/qcow2_mapping.h"
#include "lib/os/file_system.h"

namespace cairn::qcow2 {

// A cluster of the guest that a layer covers.
struct Covered {
  int64_t cluster = 0;  // of the guest
  int64_t host = 0;     // in the layer; 0: it reads as zeros
};

// All that the layer covers inside its virtual size, in the guest's order. UNIMPLEMENTED when that
// is more than what is small.
absl::StatusOr<std::vector<Covered>> FindCovered(const PlainImage& layer);

// Bytes to be written.
struct Piece {
  int64_t target = 0;
  int64_t length = 0;
  int64_t source = 0;  // in the layer; 0: zeros
};

class Pieces {
 public:
  void AddData(int64_t target, int64_t length, int64_t source) { Add({target, length, source}); }
  void AddZeros(int64_t target, int64_t length) { Add({target, length, 0}); }
  int64_t bytes() const { return bytes_; }

  // Reads from `layer`, and writes into `base` what goes next to one another as one.
  absl::Status Write(File& layer, File& base, const CancelToken& cancel,
                     const ProgressFn& progress);

 private:
  void Add(const Piece& piece);

  std::vector<Piece> pieces_;
  int64_t bytes_ = 0;
};

}  // namespace cairn::qcow2

#endif  // CAIRN_LIB_IMAGE_COMMIT_PIECES_H_
