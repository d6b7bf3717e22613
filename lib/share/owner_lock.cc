#include "lib/share/owner_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/os/file_error.h"
#include "lib/os/own_file.h"

namespace cairn {
namespace {

constexpr absl::Duration kKeeperEndTime = absl::Seconds(1);

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

// A lock of the open file (fcntl(2), F_OFD_SETLK): unlike one of the process it is not lost when
// some other descriptor of the file is closed, and two engines in one process see one another.
int LockWhole(int fd) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  int result;
  do {
    result = fcntl(fd, F_OFD_SETLK, &lock);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

bool HasNoLocks(int error_number) {
  return error_number == ENOLCK || error_number == EOPNOTSUPP || error_number == ENOSYS ||
         error_number == EINVAL;
}

std::string Identity() {
  const nlohmann::json identity = {
      {"host", HostName()},
      {"pid", getpid()},
      {"since", absl::FormatTime(absl::RFC3339_sec, Clock::System()->Now(), absl::UTCTimeZone())}};
  return identity.dump() + "\n";
}

absl::Status OwnedByAnother(int fd, const std::string& path) {
  std::array<char, 1024> text{};
  const ssize_t length = pread(fd, text.data(), text.size(), 0);
  auto identity = ParseJson(
      path, std::string_view(text.data(), static_cast<size_t>(std::max<ssize_t>(0, length))));
  if (!identity.ok() || !identity->is_object()) {
    return Error(
        Reason::kShareOwned,
        fmt::format("another cairnd serves it, as the lock on {} says; who it is could not "
                    "be read",
                    path),
        {{"path", path}});
  }
  const auto host = JsonValue<std::string>(*identity, "host", "unknown");
  const auto pid = JsonValue<int64_t>(*identity, "pid", 0);
  const auto since = JsonValue<std::string>(*identity, "since", "unknown");
  const bool own = pid == getpid() && host == HostName();
  return Error(
      Reason::kShareOwned,
      own ? fmt::format("another pool of this server has it since {}; list a share in one "
                        "shares file only",
                        since)
          : fmt::format("another cairnd serves it: process {} on host {}, since {}; stop "
                        "that one first, or take the share out of one of the two shares "
                        "files",
                        pid, host, since),
      {{"path", path}, {"host", host}, {"pid", std::to_string(pid)}, {"owned_since", since}});
}

// The life of the keeper. Between fork and the end only calls that are safe in the copy of a process
// with many threads (signal-safety(7)).
[[noreturn]] void Keep(int file, int socket) {
  setsid();  // a signal to cairnd's group, as from a terminal, is not for the keeper
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_NAME, "cairnd-lock");
  const auto low = static_cast<unsigned>(std::min(file, socket));
  const auto high = static_cast<unsigned>(std::max(file, socket));
  if (low > 0) close_range(0, low - 1, 0);
  if (high > low + 1) close_range(low + 1, high - 1, 0);
  close_range(high + 1, ~0U, 0);
  char byte;
  while (read(socket, &byte, 1) < 0 && errno == EINTR) {
  }
  close(file);
  _exit(0);
}

// It would stay a zombie otherwise, for as long as we live.
void ReapLater(pid_t pid) {
  try {
    std::thread([pid] { RetryOnEintr([&] { return waitpid(pid, nullptr, 0); }); }).detach();
  } catch (const std::system_error&) {
    spdlog::debug("process {} is not reaped: no thread can be started", pid);
  }
}

bool IsSameFile(int fd, const std::string& path) {
  struct stat held {};
  struct stat there {};
  const auto at = ResolvePath(path);
  return at.ok() && fstat(fd, &held) == 0 &&
         fstatat(at->at(), at->name(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
         held.st_dev == there.st_dev && held.st_ino == there.st_ino;
}

}  // namespace

// Without a keeper, when there is no process to be had, the lock is as safe, and only its end may hang.
void OwnerLock::StartKeeper() {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) return;
  UniqueFd ours(sockets[0]);
  UniqueFd its(sockets[1]);
  const pid_t pid = fork();
  if (pid < 0) return;
  if (pid == 0) Keep(file_.get(), its.get());
  keeper_ = std::move(ours);
  keeper_pid_ = pid;
}

void OwnerLock::Release() {
  file_.Reset();
  if (!keeper_.valid()) return;
  // On a share that is well it ends at once; one that hangs is left alone.
  constexpr int kWaitMs = 1000;
  shutdown(keeper_.get(), SHUT_WR);
  pollfd ended{.fd = keeper_.get(), .events = POLLIN, .revents = 0};
  if (RetryOnEintr([&] { return poll(&ended, 1, kWaitMs); }) > 0) {
    RetryOnEintr([&] { return waitpid(keeper_pid_, nullptr, 0); });
  } else {
    ReapLater(keeper_pid_);
  }
  keeper_.Reset();
}

// Somebody has killed it, or there was none to be had.
void OwnerLock::ReplaceLostKeeper() {
  if (keeper_.valid()) {
    if (RetryOnEintr([&] { return waitpid(keeper_pid_, nullptr, WNOHANG); }) == 0) return;
    spdlog::warn("{}: process {}, which keeps the lock on it, was killed; there is another now",
                 directory_, keeper_pid_);
    keeper_.Reset();
  }
  StartKeeper();
}

absl::Status OwnerLock::Ensure() {
  const std::string path = fmt::format("{}/{}/owner", directory_, kPrivateDirectory);
  // Locking again costs one call and finds out when the server has forgotten us.
  if (file_.valid() && IsSameFile(file_.get(), path) && LockWhole(file_.get()) == 0) {
    ReplaceLostKeeper();
    return absl::OkStatus();
  }
  Release();
  return Take();
}

absl::Status OwnerLock::Take() {
  const std::string parent = directory_ + "/" + kPrivateDirectory;
  const std::string path = parent + "/owner";
  if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
    return FileError(errno, "mkdir", parent);
  }
  struct stat st;
  ASSIGN_OR_RETURN(UniqueFd file, OpenRegular(path, O_RDWR | O_CREAT, 0644, &st));
  RETURN_IF_ERROR(CheckOwnFile("open", path, st));  // it is written below
  int error = LockWhole(file.get());
  // The keeper of a server that was killed just now is on its way out.
  const MonotonicTime until = MonotonicTime::Now() + kKeeperEndTime;
  while ((error == EAGAIN || error == EACCES) && MonotonicTime::Now() < until) {
    absl::SleepFor(absl::Milliseconds(20));
    error = LockWhole(file.get());
  }
  if (error != 0) {
    if (error == EAGAIN || error == EACCES) return OwnedByAnother(file.get(), path);
    absl::Status failed = FileError(error, "lock", path);
    return HasNoLocks(error) ? absl::UnimplementedError(failed.message()) : failed;
  }
  // The lock alone counts: on a full share the name of its holder stays what it was.
  const std::string identity = Identity();
  const bool named = ftruncate(file.get(), 0) == 0 &&
                     pwrite(file.get(), identity.data(), identity.size(), 0) ==
                         static_cast<ssize_t>(identity.size()) &&
                     fsync(file.get()) == 0;
  if (!named && errno != ENOSPC && errno != EDQUOT) return FileError(errno, "write", path);
  file_ = std::move(file);
  StartKeeper();
  return absl::OkStatus();
}

}  // namespace cairn
