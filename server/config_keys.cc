#include "server/config_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

#include "lib/base/overloaded.h"
#include "server/config_yaml.h"

namespace cairn {
namespace {

constexpr double kIntMax = 2147483647;

int IndexOf(const std::vector<std::string_view>& words, std::string_view word) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == word) return static_cast<int>(i);
  }
  return 0;
}

const std::vector<std::string_view>& LogLevels() {
  static const auto* const words =
      new std::vector<std::string_view>{"trace", "debug", "info", "warn", "error"};
  return *words;
}
const std::vector<std::string_view>& LogFormats() {
  static const auto* const words = new std::vector<std::string_view>{"text", "json"};
  return *words;
}

std::vector<ConfigKey<ServerConfig>> MakeServerKeys() {
  using C = ServerConfig;
  Choice<C> levels{LogLevels(), [](const C& c) { return IndexOf(LogLevels(), c.log_level); },
                   [](C& c, int i) { c.log_level = LogLevels()[i]; }};
  Choice<C> formats{LogFormats(), [](const C& c) { return IndexOf(LogFormats(), c.log_format); },
                    [](C& c, int i) { c.log_format = LogFormats()[i]; }};
  return {
      {"listen", &C::listen,
       "addresses to serve on: host:port (port 0: any free one) or unix:/path", 0, 0,
       TextRule::kAddress},
      {"state_path", &C::state_path,
       "directory of the catalog, on a local disk and never on NFS; other values may refer to it "
       "as $state_path",
       0, 0, TextRule::kAbsolutePath},
      {"log_level", levels, "the least level that is logged"},
      {"log_format", formats, "log lines for people, or one JSON object a line"},
      {"max_message_bytes", &C::max_message_bytes,
       "largest message that is received; uploads send pieces of up to 2 MiB", 3 << 20, 64 << 20},
      {"max_connections", &C::max_connections,
       "connections that may be open at a time over TCP, and as many again over UNIX sockets; "
       "fewer "
       "when the limit of open files does not allow them. More are closed at once",
       1, 100'000},
      {"max_concurrent_streams", &C::max_concurrent_streams,
       "calls that one connection may have open at a time", 1, 100'000},
      {"max_active_calls", &C::max_active_calls,
       "calls that the server has in hand at a time; more are refused with RESOURCE_EXHAUSTED. A "
       "quarter of them is for short ones: calls that watch, wait or transfer get no more than the "
       "rest",
       1, 100'000},
      {"max_active_transfers", &C::max_active_transfers,
       "downloads and uploads that the server has in hand at a time, each with a process of its "
       "own; "
       "one connection over TCP gets a quarter of them",
       1, 10'000},
      {"shutdown_grace_seconds", &C::shutdown_grace_seconds,
       "how long running operations may take to end when the server is told to stop; what has not "
       "ended is taken up at the next start",
       0, 3600},
      {"operation_retention_hours", &C::operation_retention_hours,
       "how long an ended operation, and its request_id, is remembered, counted while the server "
       "runs; the oldest for less time where the next two keys, or a full disk, ask for it",
       1, 24 * 366},
      {"operation_history_max", &C::operation_history_max,
       "ended operations that are remembered at most", 1000, 100'000'000},
      {"operation_history_mib", &C::operation_history_mib,
       "room in the catalog that ended operations take at most, about, in MiB", 1, 1 << 20},
      {"operation_queue_max", &C::operation_queue_max, "operations that may wait for one volume", 1,
       10'000},
      {"probe_period_seconds", &C::probe_period_seconds, "how often each share is probed", 1, 3600},
      {"probe_timeout_seconds", &C::probe_timeout_seconds,
       "a share that takes longer to answer a probe is UNREACHABLE, and requests for it fail at "
       "once, "
       "until it answers",
       1, 600},
      {"rescan_period_seconds", &C::rescan_period_seconds,
       "how often what lies on each share is measured", 10, 30 * 24 * 3600},
  };
}

std::vector<ConfigKey<PoolOptions>> MakePoolKeys() {
  using P = PoolOptions;
  Choice<P> preallocation{{"metadata", "off"},
                          [](const P& p) { return p.qcow2_preallocation_metadata ? 0 : 1; },
                          [](P& p, int i) { p.qcow2_preallocation_metadata = i == 0; }};
  Choice<P> placement{
      {"LEAST_ALLOCATED", "MOST_AVAILABLE"},
      [](const P& p) { return p.placement_policy == PlacementPolicy::kLeastAllocated ? 0 : 1; },
      [](P& p, int i) {
        p.placement_policy =
            i == 0 ? PlacementPolicy::kLeastAllocated : PlacementPolicy::kMostAvailable;
      }};
  return {
      {"nfs_shares_config", &P::nfs_shares_config,
       "file that lists the shares, one a line: host:/export or file:///directory. All shares of "
       "one file form one pool",
       0, 0, TextRule::kAbsolutePath},
      {"nfs_sparsed_volumes", &P::nfs_sparsed_volumes,
       "raw volumes are sparse files (thin); false: their space is allocated"},
      {"nfs_qcow2_volumes", &P::nfs_qcow2_volumes,
       "volumes are qcow2 unless their request says otherwise; false: raw"},
      {"qcow2_preallocation", preallocation,
       "whether a new qcow2 volume has all its tables from the start; with off a volume of any "
       "size is created at once"},
      {"nfs_mount_point_base", &P::nfs_mount_point_base, "directory under which shares are mounted",
       0, 0, TextRule::kAbsolutePath},
      {"nfs_mount_options", &P::nfs_mount_options,
       "options for every mount, comma-separated; a share's own options in the shares file come "
       "after them"},
      {"nfs_mount_attempts", &P::nfs_mount_attempts,
       "how many times a mount is tried; at least once, whatever the value", -kIntMax, kIntMax},
      {"nfs_unmount_on_exit", &P::nfs_unmount_on_exit,
       "shares are unmounted when the server stops; false: they stay, for consumers on this host "
       "and "
       "the next start"},
      {"nfs_snapshot_support", &P::nfs_snapshot_support, "snapshots may be created"},
      {"reserved_percentage", &P::reserved_percentage,
       "share of the physical capacity that is kept free, in percent", 0, 100},
      {"max_over_subscription_ratio", &P::max_over_subscription_ratio,
       "how far the promised sizes may exceed the physical one", 1, 1'000'000},
      {"nas_secure_file_permissions", &P::nas_secure_file_permissions,
       "files are 0660; false: everybody may read and write them"},
      {"nas_secure_file_operations", &P::nas_secure_file_operations,
       "new files take the owner and group of the file that they are layered on"},
      {"placement_policy", placement, "which of the shares with room takes a new volume"},
      {"image_directories", &P::image_directories,
       "directories from which volumes may be created as copies of image files", 0, 0,
       TextRule::kAbsolutePath},
  };
}

std::string_view RuleText(TextRule rule) {
  switch (rule) {
    case TextRule::kAny:
      return "text";
    case TextRule::kAbsolutePath:
      return "an absolute path";
    case TextRule::kAddress:
      return "host:port or unix:/path";
  }
  return "";
}

}  // namespace

const std::vector<ConfigKey<ServerConfig>>& ServerKeys() {
  static const auto* const keys = new std::vector<ConfigKey<ServerConfig>>(MakeServerKeys());
  return *keys;
}
const std::vector<ConfigKey<PoolOptions>>& PoolKeys() {
  static const auto* const keys = new std::vector<ConfigKey<PoolOptions>>(MakePoolKeys());
  return *keys;
}

PoolOptions DefaultPool() {
  PoolOptions pool;
  pool.nfs_mount_point_base = "$state_path/mnt";
  return pool;
}

template <typename T>
std::string Expected(const ConfigKey<T>& key) {
  auto number = [&](std::string_view kind) {
    if (key.max >= kIntMax) return std::string(kind);
    return fmt::format("{} from {} to {}", kind, key.min, key.max);
  };
  return std::visit(Overloaded{
                        [](bool T::*) { return std::string("true or false"); },
                        [&](int T::*) { return number("a whole number"); },
                        [&](double T::*) { return number("a number"); },
                        [&](std::string T::*) { return std::string(RuleText(key.rule)); },
                        [&](std::vector<std::string> T::*) {
                          return fmt::format("a list, each item {}", RuleText(key.rule));
                        },
                        [](const Choice<T>& choice) {
                          return fmt::format("{}", fmt::join(choice.words, " or "));
                        },
                    },
                    key.member);
}

template <typename T>
std::string ValueText(const ConfigKey<T>& key, const T& object) {
  return std::visit(
      Overloaded{
          [&](bool T::*member) { return std::string(object.*member ? "true" : "false"); },
          [&](int T::*member) { return std::to_string(object.*member); },
          [&](double T::*member) { return fmt::format("{}", object.*member); },
          [&](std::string T::*member) { return YamlScalar(object.*member); },
          [&](std::vector<std::string> T::*member) {
            std::vector<std::string> items;
            for (const std::string& item : object.*member) items.push_back(YamlScalar(item));
            return fmt::format("[{}]", fmt::join(items, ", "));
          },
          [&](const Choice<T>& choice) { return std::string(choice.words[choice.get(object)]); },
      },
      key.member);
}

template std::string Expected(const ConfigKey<ServerConfig>&);
template std::string Expected(const ConfigKey<PoolOptions>&);
template std::string ValueText(const ConfigKey<ServerConfig>&, const ServerConfig&);
template std::string ValueText(const ConfigKey<PoolOptions>&, const PoolOptions&);

std::string AddressProblem(std::string_view address) {
  constexpr std::string_view kUnix = "unix:";
  if (address.starts_with(kUnix)) {
    std::string_view path = address.substr(kUnix.size());
    constexpr size_t kPathMax = 107;  // of sockaddr_un.sun_path
    if (path.empty() || path[0] != '/') return "the path after unix: must be absolute";
    return path.size() > kPathMax ? "a socket's path has at most 107 bytes" : "";
  }
  size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return "there must be a host and a port";
  std::string_view host = address.substr(0, colon);
  std::string_view port = address.substr(colon + 1);
  bool bracketed = host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find(':') != std::string_view::npos) {
    return "an IPv6 host stands in brackets";
  }
  if (host.find_first_of(" /\t") != std::string_view::npos) return "that is no host";
  unsigned number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  bool whole = error == std::errc() && end == port.data() + port.size() && !port.empty();
  return whole && number <= 65535 ? "" : "the port must be a number from 0 to 65535";
}

}  // namespace cairn
