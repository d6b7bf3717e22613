// The command lines of the benchmarks' programs.
#ifndef CAIRN_TESTS_BENCH_COMMAND_LINE_H_
#define CAIRN_TESTS_BENCH_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <optional>

#include "absl/synchronization/mutex.h"

namespace cairn::bench {

// The exit code, when the command line is wrong (2) or all it asks for is help (0).
inline std::optional<int> ParseCommandLine(CLI::App* app, int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as cairnd does
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app->exit(error) == 0 ? 0 : 2;
  }
  return std::nullopt;
}

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_COMMAND_LINE_H_
