#include "lib/os/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/os/deadline.h"
#include "lib/os/spawn.h"
#include "lib/os/unique_fd.h"

namespace cairn {
namespace {

// How soon a cancelled token is noticed.
constexpr absl::Duration kCancelPollPeriod = absl::Milliseconds(50);
constexpr absl::Duration kTermGrace = absl::Seconds(2);

// Reads a pipe into a bounded text.
class Drain {
 public:
  using PieceFn = std::function<void(std::string_view)>;

  Drain(UniqueFd fd, int64_t text_max_bytes, PieceFn on_piece)
      : fd_(std::move(fd)),
        text_max_bytes_(static_cast<size_t>(std::max<int64_t>(text_max_bytes, 0))),
        on_piece_(std::move(on_piece)) {}

  // -1, which poll ignores, after the end.
  int fd() const { return fd_.get(); }

  // Takes what is there, at most about a pipe's capacity so that a chatty child cannot keep the
  // caller from looking at its clock.
  void ReadAvailable() {
    constexpr int kReadsMax = 16;
    std::array<char, 8192> buffer;
    for (int i = 0; i < kReadsMax && fd_.valid(); ++i) {
      ssize_t n = RetryOnEintr([&] { return read(fd_.get(), buffer.data(), buffer.size()); });
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) {
        fd_.Reset();
        return;
      }
      std::string_view piece(buffer.data(), static_cast<size_t>(n));
      text_.append(piece.substr(0, text_max_bytes_ - text_.size()));
      if (on_piece_) on_piece_(piece);
    }
  }

  std::string TakeText() { return std::move(text_); }

 private:
  UniqueFd fd_;
  const size_t text_max_bytes_;
  const PieceFn on_piece_;
  std::string text_;
};

absl::Status TimedOut(const ProcessSpec& spec) {
  std::string tool(spec.argv.empty() ? "" : ToolName(spec.argv[0]));
  return Error(Reason::kDeadline,
               fmt::format("{} did not end within {}", tool, absl::FormatDuration(spec.timeout)),
               {{"tool", tool}});
}

// Follows a child until it ends, or ends it. Returns with the child ended but not reaped.
class Watch {
 public:
  Watch(const ProcessSpec& spec, const Child& child, Drain& out, Drain& err)
      : spec_(spec), child_(child), out_(out), err_(err), limit_(spec.timeout) {}

  // Why the child was ended, or OK.
  absl::Status UntilEnd() {
    while (!PollOnce()) {
      if (why_.ok()) {
        BeginEnding();
      } else if (!killed_ && grace_->passed()) {
        SignalGroup(child_, SIGKILL);
        killed_ = true;
      }
    }
    // Those of its group that outlived it. Not after an end of its own accord: it may have left a
    // daemon that is about to leave the group.
    if (!why_.ok()) SignalGroup(child_, SIGKILL);
    out_.ReadAvailable();
    err_.ReadAvailable();
    return why_;
  }

 private:
  // True when the child ended.
  bool PollOnce() {
    std::array<pollfd, 3> fds = {
        pollfd{child_.pidfd.get(), POLLIN, 0},
        pollfd{out_.fd(), POLLIN, 0},
        pollfd{err_.fd(), POLLIN, 0},
    };
    absl::Duration timeout = std::min(kCancelPollPeriod, limit_.left());
    if (!why_.ok()) timeout = kCancelPollPeriod;
    if (poll(fds.data(), fds.size(), PollTimeoutMs(timeout)) <= 0) return false;
    if (fds[1].revents != 0) out_.ReadAvailable();
    if (fds[2].revents != 0) err_.ReadAvailable();
    return fds[0].revents != 0;
  }

  void BeginEnding() {
    if (spec_.cancel.cancelled()) {
      why_ = spec_.cancel.Check();
    } else if (limit_.passed()) {
      why_ = TimedOut(spec_);
    } else {
      return;
    }
    grace_.emplace(kTermGrace);
    SignalGroup(child_, SIGTERM);
  }

  const ProcessSpec& spec_;
  const Child& child_;
  Drain& out_;
  Drain& err_;
  const Deadline limit_;
  absl::Status why_;
  std::optional<Deadline> grace_;  // runs once it was told to end
  bool killed_ = false;
};

// A child of Start. A thread reads its standard error, or the child would stop when the pipe is
// full.
class PosixProcess : public Process {
 public:
  PosixProcess(Child child, UniqueFd err, UniqueFd wake, int64_t output_max_bytes)
      : child_(std::move(child)),
        wake_(std::move(wake)),
        drain_(std::move(err), /*text_max_bytes=*/0,
               [this](std::string_view piece) { Keep(piece); }),
        output_max_bytes_(static_cast<size_t>(output_max_bytes)) {}
  ~PosixProcess() override { Stop(absl::ZeroDuration()); }

  // Once, before anything else.
  absl::Status StartReading() {
    try {
      reader_ = std::thread([this] { ReadUntilWoken(); });
    } catch (const std::system_error& error) {
      return Error(Reason::kInternal, fmt::format("cannot start a thread: {}", error.what()));
    }
    return absl::OkStatus();
  }

  int pid() const override { return child_.pid; }

  bool running() override {
    MutexLock lock(&stop_mutex_);
    return !reaped_ && !WaitForEnd(child_, absl::ZeroDuration());
  }

  void Stop(absl::Duration grace) override {
    MutexLock lock(&stop_mutex_);
    if (reaped_) return;
    if (grace > absl::ZeroDuration()) {
      SignalGroup(child_, SIGTERM);
      WaitForEnd(child_, grace);
    }
    // Also when it has ended: those of its group that outlived it.
    SignalGroup(child_, SIGKILL);
    int exit_code;
    int signal;
    Reap(child_, &exit_code, &signal);
    reaped_ = true;
    eventfd_write(wake_.get(), 1);
    if (reader_.joinable()) reader_.join();
  }

  std::string stderr_text() override {
    MutexLock lock(&text_mutex_);
    return text_;
  }

 private:
  void Keep(std::string_view piece) {
    MutexLock lock(&text_mutex_);
    text_.append(piece.substr(0, output_max_bytes_ - text_.size()));
  }

  void ReadUntilWoken() {
    while (true) {
      std::array<pollfd, 2> fds = {pollfd{wake_.get(), POLLIN, 0}, pollfd{drain_.fd(), POLLIN, 0}};
      if (poll(fds.data(), fds.size(), -1) < 0) continue;
      drain_.ReadAvailable();
      if (fds[0].revents != 0) return;
    }
  }

  const Child child_;
  const UniqueFd wake_;
  Drain drain_;  // the reader's alone
  const size_t output_max_bytes_;
  Mutex text_mutex_;
  std::string text_ ABSL_GUARDED_BY(text_mutex_);
  Mutex stop_mutex_;
  bool reaped_ ABSL_GUARDED_BY(stop_mutex_) = false;
  std::thread reader_;
};

class PosixProcessRunner : public ProcessRunner {
 public:
  absl::StatusOr<ProcessResult> Run(const ProcessSpec& spec) override {
    RETURN_IF_ERROR(spec.cancel.Check());
    if (spec.timeout <= absl::ZeroDuration()) return TimedOut(spec);
    ASSIGN_OR_RETURN(Pipe out, MakePipe());
    ASSIGN_OR_RETURN(Pipe err, MakePipe());
    ASSIGN_OR_RETURN(Child child, Spawn(spec, out.write.get(), err.write.get()));
    // Else the pipes would never end.
    out.write.Reset();
    err.write.Reset();
    Drain out_drain(std::move(out.read), spec.output_max_bytes, spec.on_stdout);
    Drain err_drain(std::move(err.read), spec.output_max_bytes, nullptr);
    absl::Status ended = Watch(spec, child, out_drain, err_drain).UntilEnd();
    ProcessResult result;
    Reap(child, &result.exit_code, &result.signal);
    RETURN_IF_ERROR(ended);
    result.stdout_text = out_drain.TakeText();
    result.stderr_text = err_drain.TakeText();
    return result;
  }

  absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessSpec& spec) override {
    UniqueFd null(open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (!null.valid()) return ErrnoError(errno, "open /dev/null");
    UniqueFd wake(eventfd(0, EFD_CLOEXEC));
    if (!wake.valid()) return ErrnoError(errno, "eventfd");
    ASSIGN_OR_RETURN(Pipe err, MakePipe());
    ASSIGN_OR_RETURN(Child child, Spawn(spec, null.get(), err.write.get()));
    err.write.Reset();
    auto process =
        std::make_unique<PosixProcess>(std::move(child), std::move(err.read), std::move(wake),
                                       std::max<int64_t>(spec.output_max_bytes, 0));
    RETURN_IF_ERROR(process->StartReading());
    return process;
  }
};

// The last lines say what went wrong; progress before them does not matter.
std::string_view Tail(std::string_view text) {
  constexpr size_t kTailMax = 1000;
  size_t end = text.find_last_not_of(" \t\r\n");
  text = text.substr(0, end == std::string_view::npos ? 0 : end + 1);
  return text.size() > kTailMax ? text.substr(text.size() - kTailMax) : text;
}

}  // namespace

ProcessRunner* ProcessRunner::Posix() {
  static PosixProcessRunner* const runner = new PosixProcessRunner;
  return runner;
}

absl::Status CheckExit(const ProcessSpec& spec, const ProcessResult& result) {
  if (result.exit_code == 0) return absl::OkStatus();
  std::string tool(spec.argv.empty() ? "" : ToolName(spec.argv[0]));
  ErrorMetadata metadata{{"tool", tool}};
  std::string how;
  if (result.signal != 0) {
    const char* name = sigabbrev_np(result.signal);
    how = fmt::format("ended by signal {} (SIG{})", result.signal, name ? name : "?");
    metadata["signal"] = std::to_string(result.signal);
  } else {
    how = fmt::format("exit code {}", result.exit_code);
    metadata["exit_code"] = std::to_string(result.exit_code);
  }
  std::string message = fmt::format("{}: {}", tool, how);
  if (std::string_view tail = Tail(result.stderr_text); !tail.empty()) {
    message += fmt::format(": {}", tail);
  }
  return Error(Reason::kToolFailed, std::move(message), std::move(metadata));
}

}  // namespace cairn
