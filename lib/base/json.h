// Reading and writing JSON without exceptions: the one place that knows how nlohmann-json is used.
#ifndef CAIRN_LIB_BASE_JSON_H_
#define CAIRN_LIB_BASE_JSON_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace cairn {

// INTERNAL "what: not valid JSON" for text that does not parse.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view what, std::string_view text);

// Compact form; bytes that are not UTF-8 are replaced, never thrown about.
std::string DumpJson(const nlohmann::json& json);

// The member `key` if it is there and of T's kind, else `otherwise`. `json` may be of any kind.
template <typename T>
T JsonValue(const nlohmann::json& json, const char* key, T otherwise) {
  if (!json.is_object()) return otherwise;
  auto it = json.find(key);
  if (it == json.end()) return otherwise;
  if constexpr (std::is_same_v<T, std::string>) {
    return it->is_string() ? it->template get<T>() : otherwise;
  } else if constexpr (std::is_same_v<T, bool>) {
    return it->is_boolean() ? it->template get<T>() : otherwise;
  } else {
    static_assert(std::is_arithmetic_v<T>);
    return it->is_number() ? it->template get<T>() : otherwise;
  }
}

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_JSON_H_
