// cairn_bench_load: a load on a running server, over its API, and what it took.
//
//   cairn_bench_load create --server unix:/run/cairn.sock --clients 16 --count 500 --delete
//
// Prints one JSON object on stdout. Ends with 0 when no call failed, 1 when one did, 2 for a wrong
// command line.
#include "tests/bench/command_line.h"
#include "tests/bench/load/command.h"

namespace cairn::bench {
namespace {

int Main(int argc, char** argv) {
  CLI::App app("Puts a load on a Cairn server and prints what it took, as one JSON object.");
  app.fallthrough();
  app.require_subcommand(1);
  Session session;
  app.add_option("--server", session.server, "Where the server listens: unix:/path or host:port")
      ->envname("CAIRN_SERVER")
      ->type_name("ADDRESS")
      ->required();
  AddCreate(&app, &session);
  AddSnapshot(&app, &session);
  AddAttach(&app, &session);
  AddGetAndEcho(&app, &session);
  AddList(&app, &session);
  AddMixed(&app, &session);
  AddPopulate(&app, &session);
  if (auto exit_code = ParseCommandLine(&app, argc, argv)) return *exit_code;
  return PrintReport(session.action());
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) { return cairn::bench::Main(argc, argv); }
