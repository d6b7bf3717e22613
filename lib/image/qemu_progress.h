// The progress that `qemu-img -p` writes to its standard output. Private to lib/image.
//
// Values only; one user at a time.
#ifndef CAIRN_LIB_IMAGE_QEMU_PROGRESS_H_
#define CAIRN_LIB_IMAGE_QEMU_PROGRESS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/cancel.h"

namespace cairn {

// Turns "    (12.34/100%)\r", in pieces of any size, into calls of a ProgressFn that never go back.
class QemuProgress {
 public:
  QemuProgress(int64_t total_bytes, ProgressFn report)
      : total_bytes_(total_bytes), report_(std::move(report)) {}
  void Feed(std::string_view piece);

 private:
  void TakeText(std::string_view text);

  const int64_t total_bytes_;
  const ProgressFn report_;
  std::string text_;  // since the last '('
  int64_t done_bytes_ = -1;
};

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_QEMU_PROGRESS_H_
