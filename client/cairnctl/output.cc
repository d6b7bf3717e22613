#include "cairnctl/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace cairn::cairnctl {
namespace {

// The first error's number; 0: none.
int& OutputError() {
  static int error = 0;
  return error;
}

bool& Printed() {
  static bool printed = false;
  return printed;
}

void Remember(bool written) {
  if (!written && OutputError() == 0) OutputError() = errno;
}

absl::Status OutputStatus() {
  if (OutputError() == 0) return absl::OkStatus();
  return absl::UnknownError(
      fmt::format("cannot write the result: {}", std::generic_category().message(OutputError())));
}

}  // namespace

void OccupyStandardDescriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free descriptor is this one. The wrong way round, so that its use still fails.
    if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) return;
  }
}

void Print(std::string_view text) {
  if (text.empty()) return;
  Printed() = true;
  Remember(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

absl::Status FlushOutput() {
  Remember(std::fflush(stdout) == 0);
  return OutputStatus();
}

absl::Status CloseOutput() {
  if (Printed()) Remember(std::fflush(stdout) == 0);
  // A copy is closed: stdout itself may be used once more, and the error is the same.
  const int copy = dup(STDOUT_FILENO);
  if (copy >= 0) Remember(close(copy) == 0);
  return OutputStatus();
}

void Note(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fputc('\n', stderr);
}

}  // namespace cairn::cairnctl
