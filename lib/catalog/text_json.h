// Strings of bytes as JSON, without loss. JSON holds UTF-8 only, but the name of a file on a share
// may be any bytes; those that are not UTF-8 are written as {"base64": "..."}.
#ifndef CAIRN_LIB_CATALOG_TEXT_JSON_H_
#define CAIRN_LIB_CATALOG_TEXT_JSON_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

bool IsUtf8(std::string_view text);

nlohmann::json TextToJson(std::string_view text);
// Nothing when `json` is not what TextToJson makes.
std::optional<std::string> TextFromJson(const nlohmann::json& json);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_TEXT_JSON_H_
