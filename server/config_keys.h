// The keys of the configuration: one table for the server and one for a pool. Validation, the
// effective configuration and the reference in Markdown all come from them; defaults come from the
// structs themselves.
#ifndef CAIRN_SERVER_CONFIG_KEYS_H_
#define CAIRN_SERVER_CONFIG_KEYS_H_

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/config.h"

namespace cairn {

// A key with a few words for values, such as "metadata" and "off".
template <typename T>
struct Choice {
  std::vector<std::string_view> words;
  int (*get)(const T&);  // index into words
  void (*set)(T&, int);
};

// What a text must be beyond being text.
enum class TextRule { kAny, kAbsolutePath, kAddress };

template <typename T>
struct ConfigKey {
  std::string_view name;
  std::variant<bool T::*, int T::*, double T::*, std::string T::*, std::vector<std::string> T::*,
               Choice<T>>
      member;
  std::string_view doc;
  double min = 0;  // of numbers
  double max = 0;
  TextRule rule = TextRule::kAny;
};

const std::vector<ConfigKey<ServerConfig>>& ServerKeys();
const std::vector<ConfigKey<PoolOptions>>& PoolKeys();

// A pool none of whose keys is given.
PoolOptions DefaultPool();

inline constexpr std::string_view kPoolsKey = "pools";
inline constexpr std::string_view kPoolsDoc =
    "the pools: a map from each pool's name to its keys. At least one. A volume that names no pool "
    "goes to the only one, or to the one called \"default\"";

// "a whole number from 0 to 100": what a key's value must be, for people.
template <typename T>
std::string Expected(const ConfigKey<T>& key);
// The key's value in `object` as YAML.
template <typename T>
std::string ValueText(const ConfigKey<T>& key, const T& object);

// "" when `address` is "host:port", "[v6]:port" or "unix:/path", else what is wrong with it.
std::string AddressProblem(std::string_view address);

}  // namespace cairn

#endif  // CAIRN_SERVER_CONFIG_KEYS_H_
