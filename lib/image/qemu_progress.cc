#include "lib/image/qemu_progress.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace cairn {

void QemuProgress::Feed(std::string_view piece) {
  constexpr size_t kTextMax = 32;  // "100.00/100%" and then some
  for (char c : piece) {
    if (c == '(') {
      text_.clear();
    } else if (c == ')') {
      TakeText(text_);
      text_.clear();
    } else if (text_.size() < kTextMax) {
      text_ += c;
    }
  }
}

void QemuProgress::TakeText(std::string_view text) {
  if (!report_ || !text.ends_with("/100%")) return;
  double percent = 0;
  const char* end = text.data() + text.size();
  if (std::from_chars(text.data(), end, percent).ec != std::errc()) return;
  if (std::isnan(percent)) return;  // a number to from_chars
  percent = std::clamp(percent, 0.0, 100.0);
  const auto done = static_cast<int64_t>(static_cast<double>(total_bytes_) * percent / 100.0);
  if (done <= done_bytes_) return;
  done_bytes_ = done;
  report_(std::min(done, total_bytes_), total_bytes_);
}

}  // namespace cairn
