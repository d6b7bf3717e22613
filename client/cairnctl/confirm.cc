#include "cairnctl/confirm.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string_view>

#include "cairnctl/text.h"

namespace cairn::cairnctl {
namespace {

// The process's own terminal. Not owned where it is stdin.
class Terminal {
 public:
  Terminal() : fd_(open("/dev/tty", O_RDWR | O_CLOEXEC)) {
    if (fd_ < 0 && isatty(STDIN_FILENO)) fd_ = STDIN_FILENO;
  }
  ~Terminal() {
    if (fd_ > STDERR_FILENO) close(fd_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  bool present() const { return fd_ >= 0; }

  bool Write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t written = write(fd_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      text.remove_prefix(static_cast<size_t>(written));
    }
    return true;
  }

  // The line, without its end; nothing when the terminal is gone or gives no more.
  std::optional<std::string> ReadLine() const {
    std::string line;
    while (true) {
      char c = 0;
      const ssize_t got = read(fd_, &c, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return std::nullopt;
      if (c == '\n') return line;
      line += c;
    }
  }

 private:
  int fd_;
};

}  // namespace

absl::Status Confirm(const Session& session, bool yes, const std::string& question,
                     const std::string& refused) {
  if (yes || session.globals.dry_run) return absl::OkStatus();
  const Terminal terminal;
  if (!terminal.present() || !terminal.Write(Printable(question) + " [y/N] ")) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: there is no terminal to ask on; give --yes to do it without asking", refused));
  }
  const std::optional<std::string> answer = terminal.ReadLine();
  if (answer == "y" || answer == "Y" || answer == "yes") return absl::OkStatus();
  return absl::CancelledError(refused);
}

}  // namespace cairn::cairnctl
