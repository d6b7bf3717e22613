#include "cairnctl/time_limit.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include "cairnctl/exit_code.h"
#include "cairnctl/output.h"

namespace cairn::cairnctl {
namespace {

// For giving a call up, telling the server, and removing what was half written.
constexpr std::chrono::seconds kForTheEnd(2);

// False when `ended` is requested first.
bool Sleep(const std::stop_token& ended, std::chrono::milliseconds duration) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, ended, duration, [] { return false; });
  return !ended.stop_requested();
}

}  // namespace

TimeLimit::TimeLimit(std::stop_token stop, std::chrono::milliseconds left)
    : forward_(std::move(stop), RequestStop{source_}),
      thread_([this, left](const std::stop_token& ended) { Run(ended, left); }) {}

TimeLimit::~TimeLimit() = default;

absl::Status TimeLimit::Error() {
  return absl::DeadlineExceededError("the time that --timeout gives is over");
}

void TimeLimit::Run(const std::stop_token& ended, std::chrono::milliseconds left) {
  if (!Sleep(ended, left)) return;
  over_ = true;
  source_.request_stop();
  if (!Sleep(ended, kForTheEnd)) return;
  Note("cairnctl: " + std::string(Error().message()));
  _exit(ExitCodeFor(Error()));
}

}  // namespace cairn::cairnctl
