// The server's configuration: one YAML file, its keys, and what they mean to the server.
//
// The file is checked as a whole: LoadConfig reports every mistake at once, each with its place,
// its key, what was found and what is expected. Values only; thread-safe.
//
//   auto config = LoadConfig("/etc/cairn/cairnd.yaml", {});
//   if (!config.problems.empty()) ...
#ifndef CAIRN_SERVER_CONFIG_H_
#define CAIRN_SERVER_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/engine/engine.h"

namespace cairn {

// Members have the names of their keys. Strings may hold "$state_path" until they are expanded.
struct ServerConfig {
  std::vector<std::string> listen = {"127.0.0.1:7411"};
  std::string state_path = "/var/lib/cairn";
  std::string log_level = "info";
  std::string log_format = "text";
  int max_message_bytes = 4 << 20;
  int max_connections = 4096;
  int max_concurrent_streams = 256;
  int max_active_calls = 1024;
  int max_active_transfers = 64;
  int shutdown_grace_seconds = 20;
  int operation_retention_hours = 7 * 24;
  int operation_history_max = 500'000;
  int operation_history_mib = 512;
  int operation_queue_max = 64;
  int probe_period_seconds = 5;
  int probe_timeout_seconds = 2;
  int rescan_period_seconds = 3600;
  std::vector<PoolOptions> pools;  // in the order of the file
};

// What stands in for a key of the file; empty: nothing does.
struct ConfigOverrides {
  std::vector<std::string> listen;
  std::string state_path;
  std::string log_level;
};

// One mistake. Line and column count from 1; 0: not at a place of the file.
struct ConfigProblem {
  int line = 0;
  int column = 0;
  std::string key;  // "pools.main.reserved_percentage"; empty when it is about the file
  std::string text;
};

struct LoadedConfig {
  ServerConfig config;                  // of use only without problems
  std::vector<ConfigProblem> problems;  // in the order of the file
};

LoadedConfig LoadConfig(const std::string& path, const ConfigOverrides& overrides);
LoadedConfig ParseConfig(const std::string& yaml, const ConfigOverrides& overrides);

// "cairnd.yaml:7:5: pools.main.reserved_percentage: found ..., expected ...".
std::string FormatProblem(std::string_view path, const ConfigProblem& problem);

// The configuration as YAML that LoadConfig reads again, each key with what it does and its
// default.
std::string PrintConfig(const ServerConfig& config);
// Every key as tables in Markdown.
std::string PrintConfigReference();

EngineOptions EngineOptionsOf(const ServerConfig& config);

}  // namespace cairn

#endif  // CAIRN_SERVER_CONFIG_H_
