// Structs to JSON and back by one list of their fields.
//
// A struct says once what it consists of, in a function Fields(struct, visit) that calls
// visit("name", member) for each member; WriteFields and ReadFields follow it. Kinds of members:
// strings, bool, integers, the two formats (by their names), enums (by number: order is part of
// what was written, so enumerators are only added at the end), optional, vector and map of strings.
#ifndef CAIRN_LIB_BASE_JSON_FIELDS_H_
#define CAIRN_LIB_BASE_JSON_FIELDS_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "lib/base/format.h"

namespace cairn {

inline nlohmann::json ToJsonValue(FileFormat format) { return FileFormatName(format); }
inline nlohmann::json ToJsonValue(VolumeFormat format) { return VolumeFormatName(format); }
template <typename V>
nlohmann::json ToJsonValue(const V& value) {
  if constexpr (std::is_enum_v<V>) {
    return static_cast<int>(value);
  } else {
    return value;
  }
}
template <typename V>
nlohmann::json ToJsonValue(const std::optional<V>& value) {
  return value.has_value() ? ToJsonValue(*value) : nlohmann::json();
}

// False, with `value` in any state, when the JSON is of another kind.
inline bool FromJsonValue(const nlohmann::json& json, std::string& value) {
  if (json.is_string()) value = json.get_ref<const std::string&>();
  return json.is_string();
}
inline bool FromJsonValue(const nlohmann::json& json, bool& value) {
  if (json.is_boolean()) value = json.get<bool>();
  return json.is_boolean();
}
inline bool FromJsonValue(const nlohmann::json& json, int64_t& value) {
  if (json.is_number_integer()) value = json.get<int64_t>();
  return json.is_number_integer();
}
inline bool FromJsonValue(const nlohmann::json& json, FileFormat& value) {
  auto format =
      json.is_string() ? FileFormatFromName(json.get_ref<const std::string&>()) : std::nullopt;
  value = format.value_or(value);
  return format.has_value();
}
inline bool FromJsonValue(const nlohmann::json& json, VolumeFormat& value) {
  auto format =
      json.is_string() ? VolumeFormatFromName(json.get_ref<const std::string&>()) : std::nullopt;
  value = format.value_or(value);
  return format.has_value();
}
template <typename V>
requires std::is_enum_v<V>
bool FromJsonValue(const nlohmann::json& json, V& value) {
  if (json.is_number_integer()) value = static_cast<V>(json.get<int>());
  return json.is_number_integer();
}
inline bool FromJsonValue(const nlohmann::json& json, std::vector<std::string>& value) {
  if (!json.is_array()) return false;
  for (const auto& item : json) {
    if (!FromJsonValue(item, value.emplace_back())) return false;
  }
  return true;
}
inline bool FromJsonValue(const nlohmann::json& json, std::map<std::string, std::string>& value) {
  if (!json.is_object()) return false;
  for (const auto& [key, item] : json.items()) {
    if (!FromJsonValue(item, value[key])) return false;
  }
  return true;
}
template <typename V>
bool FromJsonValue(const nlohmann::json& json, std::optional<V>& value) {
  value.reset();
  if (json.is_null()) return true;
  V read{};
  if (!FromJsonValue(json, read)) return false;
  value.emplace(std::move(read));
  return true;
}

template <typename S>
nlohmann::json WriteFields(const S& s) {
  nlohmann::json json = nlohmann::json::object();
  Fields(s, [&](const char* name, const auto& value) { json[name] = ToJsonValue(value); });
  return json;
}

// The name of the first field that is missing or of another kind; null when all were read. An
// optional one may be missing: what was written before there was such a field is still read.
template <typename S>
const char* ReadFields(const nlohmann::json& json, S& s) {
  const char* bad = nullptr;
  Fields(s, [&](const char* name, auto& value) {
    const nlohmann::json missing;
    auto it = json.is_object() ? json.find(name) : json.end();
    if (!FromJsonValue(it == json.end() ? missing : *it, value)) bad = bad == nullptr ? name : bad;
  });
  return bad;
}

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_JSON_FIELDS_H_
