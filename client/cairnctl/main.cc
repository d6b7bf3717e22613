// cairnctl: the command line of Cairn.
#include <cstdio>
#include <sstream>

#include "cairnctl/commands.h"
#include "cairnctl/exit_code.h"
#include "cairnctl/hints.h"
#include "cairnctl/interrupt.h"
#include "cairnctl/output.h"
#include "cairnctl/usage.h"

namespace {

using namespace cairn::cairnctl;

int Report(const absl::Status& status, const std::string& command) {
  // Also after an error: stdout may hold a part of the result.
  const absl::Status written = CloseOutput();
  const absl::Status& end = status.ok() ? written : status;
  if (end.ok()) return 0;
  std::fputs(DescribeError(end, command).c_str(), stderr);
  return ExitCodeFor(end);
}

// A wrong command line; also how --help and --version end, with success.
int ReportParse(const CLI::App& app, const CLI::ParseError& error) {
  std::ostringstream out, err;
  const bool wrong = app.exit(error, out, err) != 0;
  Print(out.str());
  std::fputs(err.str().c_str(), stderr);
  return wrong ? kExitUsage : Report(absl::OkStatus(), "");
}

}  // namespace

int main(int argc, char** argv) {
  OccupyStandardDescriptors();
  // Before anything starts a thread.
  Interrupt interrupt;
  Session session(&interrupt);
  const auto app = MakeApp(&session);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportParse(*app, error);
  }
  // Before anything that could take long.
  (void)session.stop();
  absl::Status status = CheckUtf8(*app);
  if (status.ok()) status = session.EndOf(session.action());
  if (interrupt.requested()) return kExitInterrupted;
  return Report(status, CommandName(*app));
}
