// The commands of cairn_bench_load: each adds itself to the command line, and when it is chosen
// leaves what it does in the session.
#ifndef CAIRN_TESTS_BENCH_LOAD_COMMAND_H_
#define CAIRN_TESTS_BENCH_LOAD_COMMAND_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/report.h"

namespace cairn::bench {

struct Session {
  std::string server;
  std::function<absl::StatusOr<Report>()> action;
};

// Adds a command whose flags are the fields of an Options: `run` gets the server and these.
template <typename Options, typename Run>
CLI::App* AddCommand(CLI::App* app, Session* session, const std::string& name,
                     const std::string& description, std::shared_ptr<Options> options, Run run) {
  CLI::App* command = app->add_subcommand(name, description);
  command->callback([session, options, run] {
    session->action = [session, options, run] { return run(session->server, *options); };
  });
  return command;
}

void AddCreate(CLI::App* app, Session* session);
void AddSnapshot(CLI::App* app, Session* session);
void AddAttach(CLI::App* app, Session* session);
void AddGetAndEcho(CLI::App* app, Session* session);
void AddList(CLI::App* app, Session* session);
void AddMixed(CLI::App* app, Session* session);
void AddPopulate(CLI::App* app, Session* session);

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_LOAD_COMMAND_H_
