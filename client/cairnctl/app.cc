#include <fmt/format.h>

#include "cairnctl/commands.h"
#include "cairnctl/exit_code.h"
#include "cairnctl/help_format.h"
#include "cairnctl/usage.h"

namespace cairn::cairnctl {
namespace {

constexpr char kFooter[] =
    R"(Examples:
  cairnctl volume create web-1 --size 10GiB
  cairnctl snapshot create web-1 --name before-upgrade
  cairnctl volume list --filter 'state = AVAILABLE AND labels.tier = "gold"'
  cairnctl -o json pool show | jq .capacity

Wherever a volume or a snapshot is asked for, its id or its name will do, as long as no other one
has the same name. Sizes are bytes, or have a binary unit: 512M, 10GiB, 1.5T.

)";

void AddGlobalOptions(CLI::App* app, Globals* globals) {
  app->add_option("-s,--server", globals->server, "Where cairnd listens: unix:/path or host:port")
      ->envname("CAIRN_SERVER")
      ->type_name("ADDRESS")
      ->capture_default_str();
  const std::map<std::string, OutputFormat> formats = {{"table", OutputFormat::kTable},
                                                       {"json", OutputFormat::kJson},
                                                       {"yaml", OutputFormat::kYaml}};
  app->add_option_function<std::string>(
         "-o,--output",
         [globals, formats](const std::string& word) { globals->output = formats.at(word); },
         "How results are shown; table by default")
      ->check(OneOf({"table", "json", "yaml"}))
      ->type_name("");
  AddDuration(
      app, "--timeout", &globals->timeout,
      "How long the command may take, waiting included (30s for each call, no limit for waiting)");
  app->add_flag("--wait,!--no-wait", globals->wait,
                "Wait until a change is done (the default), or only until it is accepted");
  app->add_flag("-q,--quiet", globals->quiet, "Print ids only, and no progress");
  app->add_flag("--dry-run", globals->dry_run, "Check a change on the server without making it");
  app->add_option("--request-id", globals->request_id,
                  "Makes a change safe to repeat: the same id does it once")
      ->type_name("ID");
}

}  // namespace

std::unique_ptr<CLI::App> MakeApp(Session* session) {
  auto app = std::make_unique<CLI::App>("Volumes and snapshots on plain NFS shares.", "cairnctl");
  // Inherited by the commands: global options may stand anywhere.
  app->fallthrough();
  app->require_subcommand(1);
  // Inherited, too.
  app->formatter(std::make_shared<HelpFormat>());
  // Before it is used: the commands take it over.
  app->set_version_flag("--version", "cairnctl " CAIRN_VERSION, "Print the version of cairnctl");
  app->failure_message([](const CLI::App* failed, const CLI::Error& error) {
    return DescribeUsageError(*failed, error);
  });
  app->footer(std::string(kFooter) + kExitCodesHelp);
  AddGlobalOptions(app.get(), &session->globals);
  AddVolumeCommands(app.get(), session);
  AddSnapshotCommands(app.get(), session);
  AddPoolCommands(app.get(), session);
  AddOperationCommands(app.get(), session);
  AddHealthCommand(app.get(), session);
  AddCompletionCommands(app.get(), session);
  CLI::App* version = AddVerb(app.get(), "version", "Print the version of cairnctl", {"version"});
  version->callback([session] {
    session->action = [] {
      Print("cairnctl " CAIRN_VERSION "\n");
      return absl::OkStatus();
    };
  });
  return app;
}

}  // namespace cairn::cairnctl
