#include "server/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "lib/base/size.h"
#include "server/config_keys.h"
#include "server/config_yaml.h"
#include "server/similar.h"

namespace cairn {
namespace {

constexpr std::string_view kStatePath = "$state_path";

std::string Shown(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  constexpr size_t kShownMax = 60;
  std::string text = node.text.substr(0, kShownMax);
  return fmt::format("\"{}{}\"", text, node.text.size() > kShownMax ? "..." : "");
}

template <typename Number>
bool ParseNumber(const std::string& text, Number* number) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(begin, end, *number);
  return error == std::errc() && at == end && begin != end;
}

// Reads the tree into a ServerConfig by the tables, collecting every mistake.
class ConfigReader {
 public:
  explicit ConfigReader(const ConfigOverrides& overrides) : overrides_(overrides) {}

  LoadedConfig Read(const YamlNode& root);

 private:
  using Fields = std::map<std::string_view, YamlPlace, std::less<>>;

  void Problem(YamlPlace place, std::string key, std::string text) {
    loaded_.problems.push_back({place.line, place.column, std::move(key), std::move(text)});
  }

  // Calls `take` for the first entry of each key of the map.
  template <typename Take>
  void ForEachKey(const YamlNode& map, const std::string& prefix, Take take);
  template <typename T>
  void ReadKey(const ConfigKey<T>& key, const YamlNode::Entry& entry, const std::string& path,
               T* object);
  template <typename T>
  bool ReadValue(const ConfigKey<T>& key, const YamlNode& node, const std::string& path, T* object);
  template <typename T>
  bool ReadList(const ConfigKey<T>& key, const YamlNode& node, const std::string& path,
                std::vector<std::string>* list);
  template <typename T>
  bool ReadText(const ConfigKey<T>& key, const YamlNode& node, const std::string& path,
                std::string* text);
  void ReadPools(const YamlNode& node);
  void ReadPool(const YamlNode::Entry& entry);
  void UnknownKey(const YamlNode::Entry& entry, const std::string& path, bool in_pool);
  void ApplyOverrides();
  void ExpandPaths();
  void CheckTogether(YamlPlace pools_place);

  const ConfigOverrides& overrides_;
  LoadedConfig loaded_;
  std::map<std::string, YamlPlace> pool_places_;
};

template <typename Take>
void ConfigReader::ForEachKey(const YamlNode& map, const std::string& prefix, Take take) {
  std::map<std::string, YamlPlace> seen;
  for (const YamlNode::Entry& entry : map.entries) {
    auto [first, fresh] = seen.insert({entry.key, entry.place});
    if (fresh) {
      take(entry);
    } else {
      Problem(entry.place, prefix + entry.key,
              fmt::format("given twice; first in line {}", first->second.line));
    }
  }
}

template <typename T>
bool ConfigReader::ReadText(const ConfigKey<T>& key, const YamlNode& node, const std::string& path,
                            std::string* text) {
  if (node.kind != YamlNode::Kind::kScalar) return false;
  if (key.rule == TextRule::kAbsolutePath && !node.text.starts_with('/') &&
      !(node.text + "/").starts_with(fmt::format("{}/", kStatePath))) {
    return false;
  }
  if (key.rule == TextRule::kAddress) {
    // Expanded later, and absolute then.
    std::string address = node.text;
    if (size_t at = address.find(kStatePath); at != std::string::npos) {
      address.replace(at, kStatePath.size(), "/");
    }
    if (std::string problem = AddressProblem(address); !problem.empty()) {
      Problem(node.place, path, fmt::format("found {}: {}", Shown(node), problem));
      return true;
    }
  }
  *text = node.text;
  return true;
}

template <typename T>
bool ConfigReader::ReadList(const ConfigKey<T>& key, const YamlNode& node, const std::string& path,
                            std::vector<std::string>* list) {
  list->clear();
  if (node.kind == YamlNode::Kind::kScalar) return ReadText(key, node, path, &list->emplace_back());
  if (node.kind != YamlNode::Kind::kList) return false;
  for (const YamlNode& item : node.items) {
    if (!ReadText(key, item, path, &list->emplace_back())) {
      Problem(item.place, path, fmt::format("found {}, expected {}", Shown(item), Expected(key)));
    }
  }
  return true;
}

// False when the value is not what is expected; what it is has not been said then.
template <typename T>
bool ConfigReader::ReadValue(const ConfigKey<T>& key, const YamlNode& node, const std::string& path,
                             T* object) {
  bool plain = node.kind == YamlNode::Kind::kScalar && !node.quoted;
  if (auto* flag = std::get_if<bool T::*>(&key.member)) {
    if (!plain || (node.text != "true" && node.text != "false")) return false;
    object->*(*flag) = node.text == "true";
    return true;
  }
  if (auto* number = std::get_if<int T::*>(&key.member)) {
    int value = 0;
    if (!plain || !ParseNumber(node.text, &value) || value < key.min || value > key.max) {
      return false;
    }
    object->*(*number) = value;
    return true;
  }
  if (auto* number = std::get_if<double T::*>(&key.member)) {
    double value = 0;
    if (!plain || !ParseNumber(node.text, &value) || !(value >= key.min && value <= key.max)) {
      return false;
    }
    object->*(*number) = value;
    return true;
  }
  if (auto* choice = std::get_if<Choice<T>>(&key.member)) {
    auto word = std::find(choice->words.begin(), choice->words.end(), node.text);
    if (node.kind != YamlNode::Kind::kScalar || word == choice->words.end()) return false;
    choice->set(*object, static_cast<int>(word - choice->words.begin()));
    return true;
  }
  if (auto* list = std::get_if<std::vector<std::string> T::*>(&key.member)) {
    return ReadList(key, node, path, &(object->*(*list)));
  }
  return ReadText(key, node, path, &(object->*(std::get<std::string T::*>(key.member))));
}

template <typename T>
void ConfigReader::ReadKey(const ConfigKey<T>& key, const YamlNode::Entry& entry,
                           const std::string& path, T* object) {
  if (ReadValue(key, entry.value, path, object)) return;
  std::string text = fmt::format("found {}, expected {}", Shown(entry.value), Expected(key));
  bool words = std::holds_alternative<Choice<T>>(key.member);
  if (entry.value.quoted && !words) text += ", without quotes";
  // A value that is not there has no place of its own.
  bool there = entry.value.kind != YamlNode::Kind::kNull;
  Problem(there ? entry.value.place : entry.place, path, std::move(text));
}

void ConfigReader::UnknownKey(const YamlNode::Entry& entry, const std::string& path, bool in_pool) {
  std::vector<std::string_view> here;
  std::vector<std::string_view> elsewhere;
  for (const auto& key : ServerKeys()) (in_pool ? elsewhere : here).push_back(key.name);
  for (const auto& key : PoolKeys()) (in_pool ? here : elsewhere).push_back(key.name);
  if (!in_pool) here.push_back(kPoolsKey);
  std::string text = "unknown key";
  if (std::find(elsewhere.begin(), elsewhere.end(), entry.key) != elsewhere.end()) {
    text += in_pool ? "; it belongs to the top level"
                    : "; it belongs to a pool: pools.<name>." + entry.key;
  } else if (std::string_view near = MostSimilar(entry.key, here); !near.empty()) {
    text += fmt::format("; did you mean \"{}\"?", near);
  }
  Problem(entry.place, path, std::move(text));
}

void ConfigReader::ReadPool(const YamlNode::Entry& entry) {
  std::string prefix = fmt::format("{}.{}", kPoolsKey, entry.key.substr(0, 64));
  constexpr std::string_view kNameCharacters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  if (entry.key.empty() || entry.key.size() > 63 ||
      entry.key.find_first_not_of(kNameCharacters) != std::string::npos) {
    Problem(entry.place, prefix,
            "a pool's name has 1 to 63 letters, digits, \"-\", \"_\" and \".\"");
  }
  PoolOptions pool = DefaultPool();
  pool.name = entry.key;
  if (entry.value.kind == YamlNode::Kind::kMap) {
    ForEachKey(entry.value, prefix + ".", [&](const YamlNode::Entry& setting) {
      std::string path = fmt::format("{}.{}", prefix, setting.key.substr(0, 64));
      for (const auto& key : PoolKeys()) {
        if (key.name == setting.key) return ReadKey(key, setting, path, &pool);
      }
      UnknownKey(setting, path, /*in_pool=*/true);
    });
  } else if (entry.value.kind != YamlNode::Kind::kNull) {
    Problem(entry.value.place, prefix,
            fmt::format("found {}, expected the pool's keys", Shown(entry.value)));
  }
  pool_places_[pool.name] = entry.place;
  loaded_.config.pools.push_back(std::move(pool));
}

void ConfigReader::ReadPools(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kMap) {
    return Problem(node.place, std::string(kPoolsKey),
                   fmt::format("found {}, expected a map from names to pools", Shown(node)));
  }
  ForEachKey(node, "pools.", [&](const YamlNode::Entry& entry) { ReadPool(entry); });
}

void ConfigReader::ApplyOverrides() {
  ServerConfig& config = loaded_.config;
  for (const auto& key : ServerKeys()) {
    const std::vector<std::string> given =
        key.name == "listen"       ? overrides_.listen
        : key.name == "state_path" ? std::vector<std::string>{overrides_.state_path}
        : key.name == "log_level"  ? std::vector<std::string>{overrides_.log_level}
                                   : std::vector<std::string>{};
    if (given.empty() || given[0].empty()) continue;
    // Read as if it stood in the file, so that the same is accepted.
    YamlNode node;
    node.kind = YamlNode::Kind::kList;
    for (const std::string& text : given) {
      YamlNode& item = node.items.emplace_back();
      item.kind = YamlNode::Kind::kScalar;
      item.text = text;
    }
    bool list = std::holds_alternative<std::vector<std::string> ServerConfig::*>(key.member);
    ReadKey(key, {std::string(key.name), {}, list ? node : node.items[0]},
            fmt::format("--{}", key.name), &config);
  }
}

void ConfigReader::ExpandPaths() {
  const std::string& state_path = loaded_.config.state_path;
  auto expand = [&](std::string* text) {
    for (size_t at = 0; (at = text->find(kStatePath, at)) != std::string::npos;) {
      text->replace(at, kStatePath.size(), state_path);
      at += state_path.size();
    }
  };
  for (std::string& address : loaded_.config.listen) expand(&address);
  for (PoolOptions& pool : loaded_.config.pools) {
    expand(&pool.nfs_shares_config);
    expand(&pool.nfs_mount_point_base);
    expand(&pool.nfs_mount_options);
    for (std::string& directory : pool.image_directories) expand(&directory);
  }
}

// What no key shows by itself.
void ConfigReader::CheckTogether(YamlPlace pools_place) {
  const ServerConfig& config = loaded_.config;
  if (config.pools.empty() && pools_place.line >= 0) {
    Problem(pools_place, std::string(kPoolsKey),
            "missing: there must be at least one pool, such as \"pools: {default: {}}\"");
  }
  if (config.listen.empty()) Problem({}, "listen", "there must be at least one address");
  std::map<std::string, std::string> by_file;
  for (const PoolOptions& pool : config.pools) {
    auto [other, fresh] = by_file.insert({pool.nfs_shares_config, pool.name});
    if (fresh) continue;
    Problem(pool_places_[pool.name], fmt::format("{}.{}.nfs_shares_config", kPoolsKey, pool.name),
            fmt::format("\"{}\" is the shares file of pool \"{}\" already; a shares file is of one "
                        "pool",
                        pool.nfs_shares_config, other->second));
  }
}

LoadedConfig ConfigReader::Read(const YamlNode& root) {
  YamlPlace pools_place;
  if (root.kind == YamlNode::Kind::kMap) {
    ForEachKey(root, "", [&](const YamlNode::Entry& entry) {
      if (entry.key == kPoolsKey) {
        pools_place = entry.place;
        size_t before = loaded_.problems.size();
        ReadPools(entry.value);
        // A mistake in their place says enough.
        if (loaded_.problems.size() > before) pools_place.line = -1;
        return;
      }
      std::string path = entry.key.substr(0, 64);
      for (const auto& key : ServerKeys()) {
        if (key.name == entry.key) return ReadKey(key, entry, path, &loaded_.config);
      }
      UnknownKey(entry, path, /*in_pool=*/false);
    });
  } else if (root.kind != YamlNode::Kind::kNull) {
    Problem(root.place, "", fmt::format("found {}, expected a map of keys", Shown(root)));
    return std::move(loaded_);
  }
  if (loaded_.config.state_path.find('$') != std::string::npos) {
    Problem({}, "state_path", "must not refer to itself");
    loaded_.config.state_path.assign(1,
                                     '/');  // not = "/": gcc 12 warns of an overlap that cannot be
  }
  ApplyOverrides();
  ExpandPaths();
  CheckTogether(pools_place);
  std::stable_sort(loaded_.problems.begin(), loaded_.problems.end(),
                   [](const ConfigProblem& a, const ConfigProblem& b) {
                     return std::pair(a.line, a.column) < std::pair(b.line, b.column);
                   });
  return std::move(loaded_);
}

}  // namespace

LoadedConfig ParseConfig(const std::string& yaml, const ConfigOverrides& overrides) {
  YamlNode root;
  if (auto error = ParseYaml(yaml, &root)) {
    LoadedConfig failed;
    failed.problems.push_back({error->place.line, error->place.column, "", error->text});
    return failed;
  }
  return ConfigReader(overrides).Read(root);
}

LoadedConfig LoadConfig(const std::string& path, const ConfigOverrides& overrides) {
  std::ifstream in(path, std::ios::binary);
  std::string yaml{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in.is_open() || in.bad()) {
    LoadedConfig failed;
    failed.problems.push_back(
        {0, 0, "", fmt::format("cannot be read: {}", std::generic_category().message(errno))});
    return failed;
  }
  return ParseConfig(yaml, overrides);
}

std::string FormatProblem(std::string_view path, const ConfigProblem& problem) {
  std::string text(path);
  if (problem.line > 0) text += fmt::format(":{}:{}", problem.line, problem.column);
  if (!problem.key.empty()) text += ": " + problem.key;
  return text + ": " + problem.text;
}

EngineOptions EngineOptionsOf(const ServerConfig& config) {
  EngineOptions options;
  options.state_path = config.state_path;
  options.pools = config.pools;
  options.queue_depth_max = config.operation_queue_max;
  options.operation_retention = absl::Hours(config.operation_retention_hours);
  options.history.operations_max = config.operation_history_max;
  options.history.bytes_max = config.operation_history_mib * kMiB;
  options.probe_period = absl::Seconds(config.probe_period_seconds);
  options.probe_timeout = absl::Seconds(config.probe_timeout_seconds);
  options.rescan_period = absl::Seconds(config.rescan_period_seconds);
  return options;
}

}  // namespace cairn
