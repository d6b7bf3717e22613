#include "server/utf8.h"

#include <algorithm>
#include <cstdint>

namespace cairn {
namespace {

// The length of the valid character that `text` begins with; 0: there is none.
size_t CharacterLength(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint8_t first = byte(0);
  if (first < 0x80) return 1;
  size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what is beyond U+10FFFF.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) > 0x9f) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

bool IsBetween(std::string_view text, std::string_view first, std::string_view last) {
  return text >= first && text <= last;
}

std::string Valid(std::string_view text, size_t bytes_max, bool printable) {
  std::string valid;
  while (!text.empty()) {
    size_t length = CharacterLength(text);
    if (valid.size() + (length == 0 ? 1 : length) > bytes_max) break;
    if (length == 0 || (printable && SteeringLength(text) > 0)) {
      const bool space = text[0] == '\n' || text[0] == '\t';
      valid += space ? ' ' : '?';
      length = std::max<size_t>(length, 1);
    } else {
      valid += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return valid;
}

}  // namespace

size_t SteeringLength(std::string_view text) {
  // Nearly all that is ever asked about.
  if (text.empty() || (text[0] >= ' ' && text[0] <= '~')) return 0;
  const size_t length = CharacterLength(text);
  if (length == 0) return 0;
  // The bytes of UTF-8 are in the order of the characters.
  const std::string_view character = text.substr(0, length);
  const bool steers = IsBetween(character, std::string_view("\x00", 1), "\x1f") ||
                      IsBetween(character, "\x7f", "\u009f") || character == "\u061c" ||
                      IsBetween(character, "\u200e", "\u200f") ||
                      IsBetween(character, "\u2028", "\u202e") ||
                      IsBetween(character, "\u2066", "\u2069");
  return steers ? length : 0;
}

std::string ValidUtf8(std::string_view text, size_t bytes_max) {
  return Valid(text, bytes_max, /*printable=*/false);
}

std::string PrintableUtf8(std::string_view text, size_t bytes_max) {
  return Valid(text, bytes_max, /*printable=*/true);
}

}  // namespace cairn
