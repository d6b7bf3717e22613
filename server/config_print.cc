// The effective configuration as YAML, and the reference of all keys in Markdown.
#include <fmt/format.h>

#include "server/config.h"
#include "server/config_keys.h"
#include "server/config_yaml.h"

namespace cairn {
namespace {

// `text` as comment lines of at most 100 columns.
std::string Comment(std::string_view indent, std::string_view text) {
  const size_t width = 98 - indent.size();
  std::string lines;
  while (!text.empty()) {
    size_t end = text.size();
    if (end > width) {
      end = text.rfind(' ', width);
      if (end == std::string_view::npos) end = width;
    }
    lines += fmt::format("{}# {}\n", indent, text.substr(0, end));
    text.remove_prefix(end);
    while (text.starts_with(' ')) text.remove_prefix(1);
  }
  return lines;
}

template <typename T>
std::string PrintKeys(std::string_view indent, const std::vector<ConfigKey<T>>& keys,
                      const T& object, const T& defaults) {
  std::string text;
  for (const ConfigKey<T>& key : keys) {
    text += Comment(indent, fmt::format("{} ({}; default: {})", key.doc, Expected(key),
                                        ValueText(key, defaults)));
    text += fmt::format("{}{}: {}\n", indent, key.name, ValueText(key, object));
  }
  return text;
}

std::string Cell(std::string_view text) {
  std::string cell;
  for (char c : text) cell += c == '|' ? std::string("\\|") : std::string(1, c);
  return cell;
}

template <typename T>
std::string Table(const std::vector<ConfigKey<T>>& keys, const T& defaults) {
  std::string text = "| key | what it does | value | default |\n| --- | --- | --- | --- |\n";
  for (const ConfigKey<T>& key : keys) {
    text += fmt::format("| `{}` | {} | {} | `{}` |\n", key.name, Cell(key.doc), Cell(Expected(key)),
                        ValueText(key, defaults));
  }
  return text;
}

}  // namespace

std::string PrintConfig(const ServerConfig& config) {
  std::string text = PrintKeys("", ServerKeys(), config, ServerConfig());
  text += Comment("", kPoolsDoc);
  text += fmt::format("{}:\n", kPoolsKey);
  for (const PoolOptions& pool : config.pools) {
    text += fmt::format("  {}:\n", YamlScalar(pool.name));
    text += PrintKeys("    ", PoolKeys(), pool, DefaultPool());
  }
  return text;
}

std::string PrintConfigReference() {
  return fmt::format(
      "Top level:\n\n{}| `{}` | {} | a map | |\n\nEach pool, under `{}.<name>`:\n\n{}",
      Table(ServerKeys(), ServerConfig()), kPoolsKey, Cell(kPoolsDoc), kPoolsKey,
      Table(PoolKeys(), DefaultPool()));
}

}  // namespace cairn
