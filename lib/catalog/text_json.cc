#include "lib/catalog/text_json.h"

#include <cstdint>

#include "absl/strings/escaping.h"
#include "lib/base/strings.h"

namespace cairn {
namespace {

constexpr char kBase64[] = "base64";

// The length of the UTF-8 character at the start of `text`; 0 when there is none. Overlong forms,
// surrogates and what lies above U+10FFFF are not UTF-8 (RFC 3629).
size_t CharacterLength(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint8_t first = byte(0);
  if (first < 0x80) return 1;
  size_t length = first >= 0xC2 && first <= 0xDF   ? 2
                  : first >= 0xE0 && first <= 0xEF ? 3
                  : first >= 0xF0 && first <= 0xF4 ? 4
                                                   : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  uint8_t second = byte(1);
  if (first == 0xE0 && second < 0xA0) return 0;
  if (first == 0xED && second > 0x9F) return 0;
  if (first == 0xF0 && second < 0x90) return 0;
  if (first == 0xF4 && second > 0x8F) return 0;
  return length;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    size_t length = CharacterLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

nlohmann::json TextToJson(std::string_view text) {
  if (IsUtf8(text)) return std::string(text);
  return {{kBase64, absl::Base64Escape(ToAbsl(text))}};
}

std::optional<std::string> TextFromJson(const nlohmann::json& json) {
  if (json.is_string()) return json.get_ref<const std::string&>();
  if (!json.is_object() || json.size() != 1) return std::nullopt;
  auto it = json.find(kBase64);
  if (it == json.end() || !it->is_string()) return std::nullopt;
  std::string text;
  if (!absl::Base64Unescape(it->get_ref<const std::string&>(), &text)) return std::nullopt;
  return text;
}

}  // namespace cairn
