// Child processes: started without a shell, in their own process group, in the C locale, under
// limits. None outlives this process, however that ends.
//
// Thread-safe. Run blocks until the child ended; call it from an executor only.
#ifndef CAIRN_LIB_OS_PROCESS_H_
#define CAIRN_LIB_OS_PROCESS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/cancel.h"

namespace cairn {

struct ProcessSpec {
  std::vector<std::string> argv{};  // argv[0] is looked up in PATH
  std::string working_directory{};  // empty: the server's
  // Limits (setrlimit in the child); 0 = none.
  int64_t address_space_bytes = 0;
  int64_t cpu_seconds = 0;
  absl::Duration timeout = absl::InfiniteDuration();
  CancelToken cancel{};                // SIGTERM to the group, SIGKILL 2 s later
  int64_t output_max_bytes = 1 << 20;  // of stdout and of stderr each; the rest is dropped
  // Called with each piece of standard output as it arrives (progress); may be empty.
  std::function<void(std::string_view)> on_stdout{};
};

struct ProcessResult {
  int exit_code = -1;  // -1 when a signal ended it
  int signal = 0;
  std::string stdout_text{};
  std::string stderr_text{};
};

// A started child that outlives the call that started it. The destructor kills and reaps it.
class Process {
 public:
  virtual ~Process() = default;
  virtual int pid() const = 0;
  virtual bool running() = 0;
  // SIGTERM to the group, SIGKILL after `grace`, then reaps.
  virtual void Stop(absl::Duration grace) = 0;
  // What it wrote to standard error so far (bounded).
  virtual std::string stderr_text() = 0;
};

class ProcessRunner {
 public:
  virtual ~ProcessRunner() = default;
  // OK whatever the exit code is. TOOL_MISSING when argv[0] is not installed; CANCELLED, DEADLINE
  // when the child was ended for that reason (it is reaped before the call returns).
  virtual absl::StatusOr<ProcessResult> Run(const ProcessSpec& spec) = 0;
  // `timeout`, `cancel` and `on_stdout` are not used.
  virtual absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessSpec& spec) = 0;

  // The real one; never deleted.
  static ProcessRunner* Posix();
};

// OK for exit code 0; else TOOL_FAILED with the tool, the exit code or signal and the end of
// stderr.
absl::Status CheckExit(const ProcessSpec& spec, const ProcessResult& result);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_PROCESS_H_
