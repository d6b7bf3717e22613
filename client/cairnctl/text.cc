#include "cairnctl/text.h"

#include <fmt/format.h>

#include <cstdint>

namespace cairn::cairnctl {
namespace {

struct Character {
  uint32_t code = 0;
  size_t length = 0;  // in bytes; 0: the text does not begin with valid UTF-8
};

Character FirstCharacter(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {};
  uint32_t code = first & (0xffU >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[length] || surrogate || code > 0x10ffff) return {};
  return {code, length};
}

bool Steers(uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return true;
  if (code == 0x61c || code == 0x200e || code == 0x200f) return true;  // direction marks
  // Separators, embeddings and overrides of the direction; isolates.
  return (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    if (character.length == 0) return false;
    text.remove_prefix(character.length);
  }
  return true;
}

std::string Printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    if (character.length == 0 || Steers(character.code)) {
      result += '?';
    } else {
      result += text.substr(0, character.length);
    }
    text.remove_prefix(character.length == 0 ? 1 : character.length);
  }
  return result;
}

std::string EscapeControls(std::string_view json) {
  std::string result;
  while (!json.empty()) {
    const Character character = FirstCharacter(json);
    const size_t length = character.length == 0 ? 1 : character.length;
    if (character.length != 0 && character.code != '\n' && Steers(character.code)) {
      result += fmt::format("\\u{:04x}", character.code);
    } else {
      result += json.substr(0, length);
    }
    json.remove_prefix(length);
  }
  return result;
}

}  // namespace cairn::cairnctl
