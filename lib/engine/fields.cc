#include "lib/engine/fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/id.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

constexpr size_t kLabelsMax = 64;
constexpr size_t kLabelNameMax = 63;
constexpr size_t kLabelPrefixMax = 253;

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Begins and ends with a letter or digit, with those and `inner` between.
bool IsToken(std::string_view text, size_t length_max, std::string_view inner) {
  return !text.empty() && text.size() <= length_max && IsAlphanumeric(text.front()) &&
         IsAlphanumeric(text.back()) && std::all_of(text.begin(), text.end(), [&](char c) {
           return IsAlphanumeric(c) || inner.find(c) != std::string_view::npos;
         });
}

bool IsLabelKey(std::string_view key) {
  if (size_t slash = key.find('/'); slash != std::string_view::npos) {
    if (!IsToken(key.substr(0, slash), kLabelPrefixMax, "-.")) return false;
    key.remove_prefix(slash + 1);
  }
  return IsToken(key, kLabelNameMax, "-_.");
}

// Length of the UTF-8 sequence that `text` begins with (RFC 3629); 0 when it is none.
size_t Utf8SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  size_t length = lead < 0x80                   ? 1
                  : lead >= 0xC2 && lead < 0xE0 ? 2
                  : (lead & 0xF0) == 0xE0       ? 3
                  : lead >= 0xF0 && lead < 0xF5 ? 4
                                                : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xED && byte(1) >= 0xA0;
  const bool too_high = lead == 0xF4 && byte(1) >= 0x90;
  return overlong || surrogate || too_high ? 0 : length;
}

}  // namespace

absl::Status CheckText(std::string_view field, std::string_view text, size_t bytes_max) {
  if (text.size() > bytes_max) {
    return InvalidField(field, fmt::format("is longer than {} bytes", bytes_max), text);
  }
  while (!text.empty()) {
    size_t length = Utf8SequenceLength(text);
    if (length == 0) return InvalidField(field, "is not valid UTF-8");
    const char c = text[0];
    const bool c0 = length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f);
    // U+0080 to U+009F: U+009B begins a command to a terminal, as ESC [ does.
    const bool c1 = length == 2 && c == '\xc2' && static_cast<unsigned char>(text[1]) < 0xa0;
    if (c0 || c1) {
      return InvalidField(field, "contains a control character");
    }
    text.remove_prefix(length);
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(const Labels& labels) {
  if (labels.size() > kLabelsMax) {
    return InvalidField("labels", fmt::format("at most {} are allowed", kLabelsMax),
                        std::to_string(labels.size()));
  }
  for (const auto& [key, value] : labels) {
    if (!IsLabelKey(key)) {
      return InvalidField("labels",
                          "a key must be as a Kubernetes label key, such as tier or "
                          "example.com/tier",
                          key);
    }
    RETURN_IF_ERROR(CheckText(fmt::format("labels[{}]", key), value));
  }
  return absl::OkStatus();
}

absl::Status CheckRequestId(std::string_view request_id) {
  constexpr size_t kRequestIdMax = 128;
  return CheckText("request_id", request_id, kRequestIdMax);
}

absl::StatusOr<std::string> IdOrNew(std::string_view field, std::string_view text) {
  if (text.empty()) return NewId();
  return ParseId(field, text);
}

}  // namespace cairn
