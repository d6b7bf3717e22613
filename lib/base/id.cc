#include "lib/base/id.h"

#include <unistd.h>
#include <uuid/uuid.h>

#include "lib/base/status.h"

namespace cairn {
namespace {

constexpr size_t kIdLength = 36;

bool IsHyphenPosition(size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

}  // namespace

std::string NewId() {
  // Not uuid_generate_random, whose own mixing costs ten more system calls each time.
  uuid_t uuid;
  if (getentropy(uuid, sizeof(uuid)) != 0) uuid_generate_random(uuid);
  uuid[6] = static_cast<unsigned char>((uuid[6] & 0x0F) | 0x40);  // RFC 4122, 4.4: version 4
  uuid[8] = static_cast<unsigned char>((uuid[8] & 0x3F) | 0x80);
  char text[kIdLength + 1];
  uuid_unparse_lower(uuid, text);
  return text;
}

absl::StatusOr<std::string> ParseId(std::string_view field, std::string_view text) {
  if (text.empty()) return InvalidField(field, "is required: a UUID");
  std::string id(text.substr(0, kIdLength));
  bool valid = text.size() == kIdLength;
  for (size_t i = 0; valid && i < id.size(); ++i) {
    char& c = id[i];
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    valid = IsHyphenPosition(i) ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  }
  if (!valid) {
    return InvalidField(field, "must be a UUID such as 73cdd2fb-0d1c-4b5e-9f3a-6a2f1c9e8d70", text);
  }
  return id;
}

bool IsCanonicalId(std::string_view text) {
  auto id = ParseId("id", text);
  return id.ok() && *id == text;
}

}  // namespace cairn
