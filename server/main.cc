// cairnd: the server as a process. Signals, the log, and the ways to end.
#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "lib/base/failpoint.h"
#include "lib/base/status.h"
#include "server/config.h"
#include "server/exit_code.h"
#include "server/flags.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/server.h"

namespace cairn {
namespace {

void Print(FILE* to, const std::string& text) { fwrite(text.data(), 1, text.size(), to); }

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

// The next signal, or 0 after a while.
int NextSignal(const sigset_t& signals, absl::Duration wait) {
  timespec timeout = absl::ToTimespec(wait);
  int signal = sigtimedwait(&signals, nullptr, &timeout);
  return signal > 0 ? signal : 0;
}

void LogOfGrpc(gpr_log_func_args* args) {
  auto level = args->severity == GPR_LOG_SEVERITY_ERROR  ? spdlog::level::warn
               : args->severity == GPR_LOG_SEVERITY_INFO ? spdlog::level::debug
                                                         : spdlog::level::trace;
  LogEvent(level, args->message, {{"from", "grpc"}});
}

// What it says of messages, such as text that is not UTF-8.
void LogOfProtobuf(google::protobuf::LogLevel severity, const char*, int,
                   const std::string& message) {
  LogEvent(
      severity >= google::protobuf::LOGLEVEL_ERROR ? spdlog::level::warn : spdlog::level::debug,
      message, {{"from", "protobuf"}});
}

// Ends the process if the stop takes much longer than it may: a thread that is stuck on a dead
// share cannot be ended. Nothing is lost: operations are safe to abandon at any instant.
void KillWhenStuck(const ServerConfig& config) {
  constexpr absl::Duration kBeyondGrace = absl::Seconds(10);
  absl::Duration limit = absl::Seconds(config.shutdown_grace_seconds) + kBeyondGrace;
  std::thread([limit] {
    absl::SleepFor(limit);
    Print(stderr, "cairnd: could not stop in time; ending without it\n");
    _Exit(kExitStuck);
  }).detach();
}

int Serve(const ServerConfig& config, const sigset_t& signals) {
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Listen(config, Engine::Start);
  if (!server.ok()) {
    LogEvent(spdlog::level::critical, "cannot start", {{"error", Describe(server.status())}});
    return kExitStartFailed;
  }
  for (const std::string& address : (*server)->addresses()) {
    LogEvent(spdlog::level::info, "listening", {{"address", address}});
  }
  bool started = false;
  while (true) {
    int signal = NextSignal(signals, started ? absl::Hours(1) : absl::Milliseconds(50));
    if (!started) {
      if (std::optional<absl::Status> status = (*server)->start_status()) {
        started = true;
        if (!status->ok()) {
          LogEvent(spdlog::level::critical, "cannot start", {{"error", Describe(*status)}});
          return kExitStartFailed;
        }
        LogEvent(spdlog::level::info, "ready", {{"version", CAIRN_VERSION}});
      }
    }
    if (signal == SIGHUP) (*server)->Rescan();
    if (signal != SIGTERM && signal != SIGINT) continue;
    LogEvent(spdlog::level::info, "stopping", {{"signal", strsignal(signal)}});
    KillWhenStuck(config);
    (*server)->Stop();
    LogEvent(spdlog::level::info, "stopped", {});
    return kExitClean;
  }
}

int ReportProblems(const std::string& path, const LoadedConfig& loaded) {
  for (const ConfigProblem& problem : loaded.problems) {
    Print(stderr, FormatProblem(path, problem) + "\n");
  }
  return kExitUsage;
}

int Main(int argc, char** argv) {
  int exit_code = kExitClean;
  std::optional<Flags> flags = ParseFlags(argc, argv, &exit_code);
  if (!flags.has_value()) return exit_code;
  if (flags->print_config_reference) {
    Print(stdout, PrintConfigReference());
    return kExitClean;
  }
  LoadedConfig loaded = LoadConfig(flags->config_path, flags->overrides);
  if (!loaded.problems.empty()) return ReportProblems(flags->config_path, loaded);
  if (flags->print_config) Print(stdout, PrintConfig(loaded.config));
  if (flags->check_config) Print(stderr, flags->config_path + ": in order\n");
  if (flags->print_config || flags->check_config) return kExitClean;
  if (const char* points = getenv("CAIRN_FAILPOINTS")) {
    if (absl::Status status = ArmFailPoints(points); !status.ok()) {
      Print(stderr, fmt::format("CAIRN_FAILPOINTS: {}\n", Describe(status)));
      return kExitUsage;
    }
  }
  // Before any thread, so that every thread inherits it and only this one gets them.
  sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // Debian's abseil looks for deadlocks each time that gRPC takes a lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  RaiseDescriptorLimit();
  StartLog(loaded.config.log_level, loaded.config.log_format);
  gpr_set_log_function(LogOfGrpc);
  google::protobuf::SetLogHandler(LogOfProtobuf);
  exit_code = Serve(loaded.config, signals);
  StopLog();
  return exit_code;
}

// The exit code, unless what was printed is lost: on a full disk, say.
int AfterPrinting(int exit_code) {
  bool written = fflush(stdout) == 0 && ferror(stdout) == 0;
  if (exit_code != kExitClean || written) return exit_code;
  Print(stderr, "cairnd: cannot write the result\n");
  return kExitStartFailed;
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) { return cairn::AfterPrinting(cairn::Main(argc, argv)); }
