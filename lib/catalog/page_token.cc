#include "lib/catalog/page_token.h"

#include <fmt/format.h>

#include <cstdint>

#include "absl/strings/escaping.h"
#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/catalog/text_json.h"

namespace cairn {
namespace {

// A token is a little longer than the longest name; what is much longer is not worth decoding.
constexpr size_t kTokenLengthMax = 8192;

// FNV-1a with 64 bits: must give the same after a restart and on another machine, which std::hash
// does not promise.
class Fnv {
 public:
  void Add(std::string_view text) {
    // The length first, so that ("ab", "c") and ("a", "bc") differ.
    uint64_t length = text.size();
    for (int shift = 0; shift < 64; shift += 8) AddByte(static_cast<uint8_t>(length >> shift));
    for (char c : text) AddByte(static_cast<uint8_t>(c));
  }
  uint64_t value() const { return value_; }

 private:
  void AddByte(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3; }
  uint64_t value_ = 0xcbf29ce484222325;
};

std::string HashOf(std::string_view binding, const PageKey& last) {
  Fnv fnv;
  fnv.Add(binding);
  fnv.Add(last.key);
  fnv.Add(last.id);
  return fmt::format("{:016x}", fnv.value());
}

}  // namespace

std::string MakePageToken(std::string_view binding, const PageKey& last) {
  nlohmann::json json = {
      {"h", HashOf(binding, last)}, {"k", TextToJson(last.key)}, {"i", TextToJson(last.id)}};
  return absl::WebSafeBase64Escape(DumpJson(json));
}

absl::StatusOr<PageKey> ParsePageToken(std::string_view binding, std::string_view token) {
  if (token.size() > kTokenLengthMax) return InvalidPageToken("too long");
  std::string text;
  if (!absl::WebSafeBase64Unescape(ToAbsl(token), &text)) {
    return InvalidPageToken("not a token of this service");
  }
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  // Only the form that MakePageToken writes: a token has one spelling.
  if (!json.is_object() || json.size() != 3 || !json.contains("k") || !json.contains("i")) {
    return InvalidPageToken("not a token of this service");
  }
  auto key = TextFromJson(json["k"]);
  auto id = TextFromJson(json["i"]);
  if (!key.has_value() || !id.has_value()) return InvalidPageToken("not a token of this service");
  PageKey last{*std::move(key), *std::move(id)};
  if (JsonValue<std::string>(json, "h", "") != HashOf(binding, last)) {
    return InvalidPageToken("it belongs to another list, filter or order, or was altered");
  }
  if (MakePageToken(binding, last) != token) return InvalidPageToken("it was altered");
  return last;
}

absl::Status InvalidPageToken(std::string_view problem) {
  return Error(Reason::kInvalidPageToken, fmt::format("page_token: {}", problem),
               {{"field", "page_token"}});
}

}  // namespace cairn
