#include "server/address.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

#include "lib/base/status.h"

namespace cairn {
namespace {

constexpr std::string_view kUnix = "unix:";
using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

std::string ErrorText(int error) { return std::generic_category().message(error); }

absl::Status CannotListen(const std::string& address, std::string_view why) {
  return Error(Reason::kInternal, fmt::format("cannot listen on {}: {}", address, why));
}

UniqueFd NewSocket(int family) {
  return UniqueFd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// 0 when somebody serves the socket, else the error of connecting to it.
int TryConnect(const sockaddr_un& address) {
  const UniqueFd fd = NewSocket(AF_UNIX);
  if (!fd.valid()) return errno;
  int result = connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  // A server whose backlog is full is alive.
  return result == 0 || errno == EAGAIN ? 0 : errno;
}

// Makes way for the socket.
absl::Status RemoveOldSocket(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? absl::OkStatus() : ErrnoError(errno, "looking at " + path);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return Error(Reason::kInternal,
                 fmt::format("{}: a file that is no socket lies there; it is left alone", path));
  }
  const int error = TryConnect(address);
  if (error == 0) {
    return Error(Reason::kInternal, fmt::format("{}: another process serves this socket", path));
  }
  if (error != ECONNREFUSED) return ErrnoError(error, "connecting to " + path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "removing " + path);
  return absl::OkStatus();
}

// 0, or the number of the error.
int BindAndListen(int fd, const sockaddr* address, socklen_t length) {
  if (fd < 0) return errno;
  if (bind(fd, address, length) != 0 || listen(fd, SOMAXCONN) != 0) return errno;
  return 0;
}

absl::StatusOr<BoundAddress> ListenOnPath(const std::string& address) {
  const std::string path = address.substr(kUnix.size());
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path)) {
    return CannotListen(address, ErrorText(ENAMETOOLONG));
  }
  memcpy(name.sun_path, path.data(), path.size());
  RETURN_IF_ERROR(Annotate(RemoveOldSocket(path, name), "listen"));
  UniqueFd fd = NewSocket(AF_UNIX);
  const int error = BindAndListen(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name));
  if (error != 0) return CannotListen(address, ErrorText(error));
  BoundAddress bound{.name = address, .is_unix = true, .sockets = {}};
  bound.sockets.push_back(std::move(fd));
  return bound;
}

absl::StatusOr<AddressList> Resolve(const std::string& address, const std::string& host,
                                    const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return CannotListen(address, fmt::format("{}: {}", host, gai_strerror(error)));
  }
  return AddressList(found, freeaddrinfo);
}

int PortOf(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return 0;
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&name)->sin6_port
                                          : reinterpret_cast<sockaddr_in*>(&name)->sin_port);
}

// Listens on one address of a host; 0, or the number of the error. `port`: if not 0, instead of the
// address's own.
int ListenOnInternet(const addrinfo& info, int port, UniqueFd* fd) {
  sockaddr_storage name{};
  memcpy(&name, info.ai_addr, info.ai_addrlen);
  const int yes = 1;
  const int no = 0;
  *fd = NewSocket(info.ai_family);
  // A port in TIME_WAIT is free.
  setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  // Connections inherit it.
  setsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  if (info.ai_family == AF_INET6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&name);
    if (port != 0) v6->sin6_port = htons(static_cast<uint16_t>(port));
    const bool any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
    setsockopt(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, any ? &no : &yes, sizeof(int));
  } else if (info.ai_family == AF_INET && port != 0) {
    reinterpret_cast<sockaddr_in*>(&name)->sin_port = htons(static_cast<uint16_t>(port));
  }
  return BindAndListen(fd->get(), reinterpret_cast<const sockaddr*>(&name), info.ai_addrlen);
}

absl::StatusOr<BoundAddress> ListenOnHost(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  const std::string given = host;
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const std::string port = address.substr(colon + 1);
  BoundAddress bound;
  int chosen = 0;
  int error = 0;
  const bool any = host == "0.0.0.0" || host == "::";
  // All addresses of both kinds; where the kernel knows no IPv6, those of IPv4.
  const std::vector<std::string> hosts =
      any ? std::vector<std::string>{"::", "0.0.0.0"} : std::vector<std::string>{host};
  for (const std::string& one : hosts) {
    ASSIGN_OR_RETURN(AddressList found, Resolve(address, one, port));
    for (const addrinfo* info = found.get(); info != nullptr; info = info->ai_next) {
      UniqueFd fd;
      error = ListenOnInternet(*info, chosen, &fd);
      // A name may have addresses that this host has not, as "localhost" without IPv6.
      if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) continue;
      if (error != 0) return CannotListen(address, ErrorText(error));
      if (chosen == 0) chosen = PortOf(fd.get());
      bound.sockets.push_back(std::move(fd));
    }
    if (!bound.sockets.empty()) break;
  }
  if (bound.sockets.empty()) return CannotListen(address, ErrorText(error));
  bound.name = fmt::format("{}:{}", given, chosen);
  return bound;
}

}  // namespace

absl::StatusOr<BoundAddress> ListenOn(const std::string& address) {
  return address.starts_with(kUnix) ? ListenOnPath(address) : ListenOnHost(address);
}

void RemoveSocketFile(const std::string& address) {
  if (!address.starts_with(kUnix)) return;
  const std::string path = address.substr(kUnix.size());
  struct stat found {};
  if (lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) unlink(path.c_str());
}

}  // namespace cairn
