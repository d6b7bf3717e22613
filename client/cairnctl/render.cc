#include "cairnctl/render.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "cairn/client/uuid.h"
#include "cairnctl/text.h"

namespace cairn::cairnctl {
namespace {

using Json = nlohmann::ordered_json;

// protobuf gives the entries of maps in no particular order.
Json SortedObject(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  Json sorted = Json::object();
  for (const std::string& key : keys) sorted[key] = object.at(key);
  return sorted;
}

void SortMaps(Json* json) {
  for (auto& [key, value] : json->items()) {
    if (value.is_object() && (key == "labels" || key == "metadata")) {
      value = SortedObject(value);
    } else if (value.is_structured()) {
      SortMaps(&value);
    }
  }
}

Json ToTree(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  Json tree = status.ok() ? Json::parse(text, nullptr, false) : Json();
  if (!tree.is_structured()) return Json::object();
  SortMaps(&tree);
  return tree;
}

std::string Dump(const Json& json, int indent) {
  return EscapeControls(json.dump(indent, ' ', false, Json::error_handler_t::replace));
}

// What YAML takes for the same text without quotes: nothing that it could read as a number, a word
// of its own or a mark.
bool IsPlain(std::string_view text) {
  if (text.empty() || text.size() > 200) return false;
  if (client::IsUuid(text)) return true;
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (!is_letter(text.front())) return false;
  for (const char c : text) {
    if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.' && c != '/')
      return false;
  }
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  for (const char* word : {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}) {
    if (lower == word) return false;
  }
  return true;
}

std::string YamlScalar(const Json& json) {
  if (json.is_string() && IsPlain(json.get_ref<const std::string&>()))
    return json.get<std::string>();
  // YAML reads JSON's scalars as they are, and its empty lists and maps too.
  return Dump(json, -1);
}

std::string YamlKey(const std::string& key) { return IsPlain(key) ? key : Dump(Json(key), -1); }

void AppendYaml(const Json& json, size_t indent, bool after_dash, std::string* text) {
  bool first = true;
  if (json.is_array()) {
    for (const Json& item : json) {
      text->append(indent, ' ').append("- ");
      if (item.is_structured() && !item.empty()) {
        AppendYaml(item, indent + 2, true, text);
      } else {
        text->append(YamlScalar(item)).append("\n");
      }
    }
    return;
  }
  for (const auto& [key, value] : json.items()) {
    // The first key of a list's item stands on the line of the dash.
    if (!(after_dash && first)) text->append(indent, ' ');
    first = false;
    text->append(YamlKey(key)).append(":");
    if (value.is_structured() && !value.empty()) {
      text->append("\n");
      AppendYaml(value, value.is_array() ? indent : indent + 2, false, text);
    } else {
      text->append(" ").append(YamlScalar(value)).append("\n");
    }
  }
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  return Dump(ToTree(message), 2) + "\n";
}

std::string ToJsonLine(const google::protobuf::Message& message) {
  return Dump(ToTree(message), -1) + "\n";
}

std::string ToYaml(const google::protobuf::Message& message) {
  const Json tree = ToTree(message);
  if (tree.empty()) return "{}\n";
  std::string text;
  AppendYaml(tree, 0, false, &text);
  return text;
}

}  // namespace cairn::cairnctl
