#include "lib/hypervisor/qmp_socket.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/hypervisor/call_thread.h"

namespace cairn {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kTcp = "tcp:";
constexpr size_t kHostMax = 253;
constexpr absl::Duration kBacklogPause = absl::Milliseconds(10);

absl::Status BadEndpoint(std::string_view problem, std::string_view text) {
  return InvalidField("hypervisor.qmp.address", problem, text);
}

bool PortIsValid(std::string_view port) {
  if (port.empty() || port.size() > 5) return false;
  int value = 0;
  for (const char c : port) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  return value >= 1 && value <= 65535;
}

bool HostIsValid(std::string_view host, bool bracketed) {
  if (host.empty() || host.size() > kHostMax) return false;
  return std::all_of(host.begin(), host.end(), [&](char c) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '.' || c == '-' || c == '_';
    return plain || (bracketed && (c == ':' || c == '%'));
  });
}

std::string ErrnoText(int error) {
  char buffer[128];
  return strerror_r(error, buffer, sizeof(buffer));
}

absl::StatusOr<UniqueFd> DialUnix(const QmpEndpoint& endpoint, const Deadline& deadline) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, endpoint.unix_path.data(), endpoint.unix_path.size());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError(errno, "cannot make a socket");
  while (RetryOnEintr([&] {
           return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
         }) != 0) {
    const int error = errno;
    if (error == ENOENT || error == ECONNREFUSED) {
      return QmpUnavailable(
          endpoint, fmt::format("nobody listens: the machine is gone ({})", ErrnoText(error)),
          {{"gone", "true"}});
    }
    // Its short queue is full of clients that wait for the one that is served. There is no event
    // for a place in it.
    if (error != EAGAIN) return QmpUnavailable(endpoint, "connect: " + ErrnoText(error));
    if (deadline.left() < kBacklogPause) {
      return QmpUnavailable(endpoint, "connect: other clients are connected, and more wait");
    }
    absl::SleepFor(kBacklogPause);
  }
  return fd;
}

struct Addresses {
  int error = 0;
  addrinfo* first = nullptr;
  ~Addresses() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

std::shared_ptr<Addresses> LookUp(const std::string& host, const std::string& port, int flags) {
  auto found = std::make_shared<Addresses>();
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  found->error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found->first);
  return found;
}

absl::StatusOr<std::shared_ptr<Addresses>> LookUp(const QmpEndpoint& endpoint,
                                                  const Deadline& deadline) {
  // An address needs nobody's answer.
  auto found = LookUp(endpoint.host, endpoint.port, AI_NUMERICHOST);
  if (found->error == 0) return found;
  ASSIGN_OR_RETURN(const auto thread, CallThread::Start(endpoint.text));
  const auto answer = std::make_shared<std::shared_ptr<Addresses>>();
  const bool answered =
      thread->Run([answer, host = endpoint.host,
                   port = endpoint.port] { *answer = LookUp(host, port, AI_ADDRCONFIG); },
                  deadline.left());
  if (!answered) return QmpUnavailable(endpoint, "the host's name was not resolved in time");
  found = *answer;
  if (found->error == 0) return found;
  return QmpUnavailable(endpoint, fmt::format("the host's name: {}", gai_strerror(found->error)));
}

absl::StatusOr<UniqueFd> DialTcp(const QmpEndpoint& endpoint, const Deadline& deadline) {
  ASSIGN_OR_RETURN(const auto addresses, LookUp(endpoint, deadline));
  int error = EADDRNOTAVAIL;
  for (const addrinfo* at = addresses->first; at != nullptr; at = at->ai_next) {
    UniqueFd fd(socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
      error = errno;
      continue;
    }
    error = 0;
    if (connect(fd.get(), at->ai_addr, at->ai_addrlen) != 0) {
      error = errno;
      if (error == EINPROGRESS || error == EINTR) {
        if (!PollQmp(fd.get(), POLLOUT, deadline)) {
          return QmpUnavailable(endpoint, "connect: no answer in time");
        }
        socklen_t length = sizeof(error);
        if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
      }
    }
    if (error != 0) continue;
    const int on = 1;  // without it, only slower
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
  }
  return QmpUnavailable(endpoint, "connect: " + ErrnoText(error));
}

}  // namespace

absl::StatusOr<QmpEndpoint> ParseQmpEndpoint(std::string_view text) {
  QmpEndpoint endpoint;
  endpoint.text = std::string(text);
  if (text.starts_with(kUnix)) {
    const std::string_view path = text.substr(kUnix.size());
    if (!path.starts_with('/')) return BadEndpoint("must name the socket by its whole path", text);
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      return BadEndpoint("is longer than a socket's path can be", text);
    }
    if (path.find('\0') != path.npos) return BadEndpoint("has a byte that no path has", text);
    endpoint.unix_path = std::string(path);
    return endpoint;
  }
  if (!text.starts_with(kTcp)) return BadEndpoint("must be unix:/path or tcp:host:port", text);
  std::string_view host = text.substr(kTcp.size());
  const size_t colon = host.rfind(':');
  if (colon == host.npos) return BadEndpoint("must be tcp:host:port", text);
  const std::string_view port = host.substr(colon + 1);
  host = host.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!HostIsValid(host, bracketed)) {
    return BadEndpoint("must be tcp:host:port, with an IPv6 address in brackets", text);
  }
  if (!PortIsValid(port)) return BadEndpoint("must have a port from 1 to 65535", text);
  endpoint.host = std::string(host);
  endpoint.port = std::string(port);
  return endpoint;
}

absl::Status QmpUnavailable(const QmpEndpoint& endpoint, std::string_view what,
                            ErrorMetadata more) {
  more.emplace("address", endpoint.text);
  return Error(Reason::kHypervisorUnavailable, fmt::format("QMP at {}: {}", endpoint.text, what),
               std::move(more));
}

bool PollQmp(int fd, short events, const Deadline& deadline) {  // NOLINT(google-runtime-int)
  pollfd wanted = {.fd = fd, .events = events, .revents = 0};
  for (;;) {
    const absl::Duration left = std::clamp(deadline.left(), absl::ZeroDuration(), absl::Hours(1));
    // Rounded up: the last part of a millisecond is not spent in circles.
    const auto wait = absl::ToInt64Milliseconds(left + absl::Milliseconds(1));
    const int ready = poll(&wanted, 1, static_cast<int>(wait));
    // An error of poll itself is found again by the call that follows.
    if (ready > 0 || (ready < 0 && errno != EINTR)) return true;
    if (deadline.passed()) return false;
  }
}

absl::StatusOr<UniqueFd> DialQmp(const QmpEndpoint& endpoint, const Deadline& deadline) {
  return endpoint.unix_path.empty() ? DialTcp(endpoint, deadline) : DialUnix(endpoint, deadline);
}

}  // namespace cairn
