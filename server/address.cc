#include "server/address.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <system_error>

#include "lib/base/status.h"

namespace cairn {
namespace {

constexpr std::string_view kUnix = "unix:";

class Socket {
 public:
  Socket(int family, int type, int protocol) : fd_(socket(family, type | SOCK_CLOEXEC, protocol)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

// 0 when somebody serves the socket, else the error of connecting to it.
int TryConnect(const std::string& path) {
  Socket fd(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  memcpy(address.sun_path, path.data(), path.size());
  if (fd.get() < 0) return errno;
  int result = connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  // A server whose backlog is full is alive.
  return result == 0 || errno == EAGAIN ? 0 : errno;
}

std::string ErrorText(int error) { return std::generic_category().message(error); }

}  // namespace

absl::Status PrepareAddress(const std::string& address) {
  if (!address.starts_with(kUnix)) return absl::OkStatus();
  std::string path = address.substr(kUnix.size());
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return ErrnoError(errno, "looking at " + path);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return Error(Reason::kInternal,
                 fmt::format("{}: a file that is no socket lies there; it is left alone", path));
  }
  int error = TryConnect(path);
  if (error == 0) {
    return Error(Reason::kInternal, fmt::format("{}: another process serves this socket", path));
  }
  if (error != ECONNREFUSED) return ErrnoError(error, "connecting to " + path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "removing " + path);
  return absl::OkStatus();
}

std::string WhyNotBound(const std::string& address) {
  if (address.starts_with(kUnix)) {
    std::string path = address.substr(kUnix.size());
    std::string directory = path.substr(0, path.rfind('/') + 1);
    if (access(directory.c_str(), W_OK | X_OK) != 0) {
      return fmt::format("{}: {}", directory, ErrorText(errno));
    }
    return "the socket could not be made";
  }
  size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found);
  if (error != 0) return fmt::format("{}: {}", host, gai_strerror(error));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, freeaddrinfo);
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    Socket fd(info->ai_family, info->ai_socktype, info->ai_protocol);
    int yes = 1;
    // As gRPC does, so that a port in TIME_WAIT is not blamed.
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd.get(), info->ai_addr, info->ai_addrlen) != 0) return ErrorText(errno);
    if (listen(fd.get(), 1) != 0) return ErrorText(errno);
  }
  return "unknown; it could be bound just now";
}

}  // namespace cairn
