#include "server/flags.h"

#include <CLI/CLI.hpp>

#include "server/exit_code.h"

namespace cairn {
namespace {

constexpr char kFooter[] = R"(
Examples:
  cairnd --config /etc/cairn/cairnd.yaml
  cairnd --config cairnd.yaml --check-config
  cairnd --config cairnd.yaml --listen unix:/run/cairn.sock --log-level debug
  cairnd --config cairnd.yaml --print-config

Signals:
  SIGTERM, SIGINT  stop: running operations may end, within shutdown_grace_seconds
  SIGHUP           read the shares files again

Exit codes:
  0 stopped as told   1 could not start   2 wrong usage or configuration
  75 killed itself because it could not stop in time (nothing is lost)
)";

}  // namespace

std::optional<Flags> ParseFlags(int argc, char** argv, int* exit_code) {
  Flags flags;
  CLI::App app("cairnd: volumes and snapshots on NFS shares, over gRPC", "cairnd");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("cairnd ") + CAIRN_VERSION);
  app.add_option("--config", flags.config_path, "configuration file (YAML)")
      ->capture_default_str()
      ->envname("CAIRN_CONFIG");
  app.add_flag("--check-config", flags.check_config,
               "check the configuration, say what is wrong with it, and end");
  app.add_flag("--print-config", flags.print_config,
               "print the configuration in force with all defaults, and end");
  app.add_flag("--print-config-reference", flags.print_config_reference,
               "print all keys of the configuration as Markdown, and end");
  app.add_option("--listen", flags.overrides.listen,
                 "serve here instead: host:port or unix:/path; may be repeated");
  app.add_option("--state-path", flags.overrides.state_path, "state_path instead of the file's");
  app.add_option("--log-level", flags.overrides.log_level, "log_level instead of the file's");
  try {
    app.parse(argc, argv);
    return flags;
  } catch (const CLI::ParseError& error) {
    // Also how CLI11 says that --help or --version was asked for.
    *exit_code = app.exit(error) == 0 ? kExitClean : kExitUsage;
    return std::nullopt;
  }
}

}  // namespace cairn
