// cairnctl: the command line of Cairn.
#include <cstdio>

#include "cairnctl/commands.h"
#include "cairnctl/exit_code.h"
#include "cairnctl/hints.h"
#include "cairnctl/interrupt.h"
#include "cairnctl/usage.h"

namespace {

using namespace cairn::cairnctl;

int Report(const Session& session, const absl::Status& status, const std::string& command) {
  if (session.interrupt()->requested()) return kExitInterrupted;
  if (!status.ok()) {
    std::fputs(DescribeError(status, command).c_str(), stderr);
    return ExitCodeFor(status);
  }
  if (std::fflush(stdout) != 0) {
    std::fputs("cairnctl: cannot write the result\n", stderr);
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Before anything starts a thread.
  Interrupt interrupt;
  Session session(&interrupt);
  const auto app = MakeApp(&session);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Also how --help ends, with success.
    return app->exit(error) == 0 ? 0 : kExitUsage;
  }
  absl::Status status = CheckUtf8(*app);
  if (status.ok()) status = session.action();
  return Report(session, status, CommandName(*app));
}
