#include "server/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "lib/base/status.h"
#include "server/log.h"

namespace cairn {
namespace {

constexpr absl::Duration kRefusingFor = absl::Seconds(5);
constexpr absl::Duration kLogPeriod = absl::Seconds(10);
// To count connections costs a system call for each.
constexpr absl::Duration kCountPeriod = absl::Milliseconds(100);
// After an error that will not be gone at once.
constexpr int kPauseMs = 100;
// Of one socket, before the others have their turn.
constexpr int kTakenAtOnce = 64;
constexpr int kReserveMax = 1024;

UniqueFd Spare() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

ino_t InodeOf(int fd) {
  struct stat found {};
  return fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

}  // namespace

void RaiseDescriptorLimit() {
  struct rlimit limit {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  // Where it is refused, the server goes on with what it has; see LimitsFor.
  setrlimit(RLIMIT_NOFILE, &limit);
}

ListenerLimits LimitsFor(int connections_max, int descriptors) {
  const int reserve = std::min(descriptors / 3, kReserveMax);
  return {.connections_max = connections_max,
          .descriptors_tcp = descriptors - reserve,
          .descriptors_unix = descriptors - reserve * 3 / 4};
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(
    const std::vector<std::string>& addresses) {
  std::unique_ptr<Listener> listener(new Listener());
  for (const std::string& address : addresses) {
    ASSIGN_OR_RETURN(BoundAddress bound, ListenOn(address));
    for (const UniqueFd& fd : bound.sockets) {
      listener->sockets_.push_back({fd.get(), bound.is_unix});
    }
    listener->bound_.push_back(std::move(bound));
  }
  listener->wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  listener->reserve_ = Spare();
  if (!listener->wake_.valid() || !listener->reserve_.valid()) {
    return ErrnoError(errno, "preparing to listen");
  }
  return listener;
}

Listener::~Listener() { Stop(); }

std::vector<std::string> Listener::addresses() const {
  std::vector<std::string> names;
  for (const BoundAddress& address : bound_) names.push_back(address.name);
  return names;
}

void Listener::Start(const ListenerLimits& limits, Serve serve) {
  limits_ = limits;
  serve_ = std::move(serve);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  if (thread_.joinable()) {
    eventfd_write(wake_.get(), 1);
    thread_.join();
  }
  for (BoundAddress& address : bound_) {
    // Before the socket is closed: after that the name may be another server's.
    if (!address.sockets.empty()) RemoveSocketFile(address.name);
    address.sockets.clear();
  }
}

bool Listener::refusing() const {
  MutexLock lock(&mutex_);
  return MonotonicTime::Now() - last_refusal_ < kRefusingFor;
}

void Listener::Run() {
  std::vector<pollfd> polled;
  for (const Socket& socket : sockets_) polled.push_back({socket.fd, POLLIN, 0});
  polled.push_back({wake_.get(), POLLIN, 0});
  while (true) {
    if (poll(polled.data(), polled.size(), -1) < 0) continue;  // a signal
    if (polled.back().revents != 0) return;
    for (size_t i = 0; i < sockets_.size(); ++i) {
      if (polled[i].revents == 0) continue;
      for (int taken = 0; taken < kTakenAtOnce && TakeOne(sockets_[i]); ++taken) {
      }
    }
  }
}

bool Listener::TakeOne(const Socket& socket) {
  UniqueFd fd(accept4(socket.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd.valid()) {
    if (HasRoom(fd.get(), socket.is_unix)) {
      (socket.is_unix ? unix_ : tcp_)[fd.get()] = InodeOf(fd.get());
      serve_(std::move(fd));
    }
    return true;
  }
  switch (errno) {
    case EAGAIN:
      return false;
    case EMFILE:
    case ENFILE:
      NoteRefusal(std::generic_category().message(errno));
      RefuseWithReserve(socket);
      return true;
    case ENOBUFS:
    case ENOMEM: {
      NoteRefusal(std::generic_category().message(errno));
      pollfd wake{wake_.get(), POLLIN, 0};
      poll(&wake, 1, kPauseMs);
      return false;
    }
    default:
      return true;  // this client's, which has gone; see accept(2)
  }
}

bool Listener::HasRoom(int fd, bool is_unix) {
  Connections& connections = is_unix ? unix_ : tcp_;
  if (fd >= (is_unix ? limits_.descriptors_unix : limits_.descriptors_tcp)) {
    NoteRefusal("the other descriptors are kept for files and children");
    return false;
  }
  const auto full = [&] { return static_cast<int>(connections.size()) >= limits_.connections_max; };
  if (full()) CountAnew(&connections);
  if (!full()) return true;
  NoteRefusal(fmt::format("there are {} already", connections.size()));
  return false;
}

void Listener::CountAnew(Connections* connections) {
  const MonotonicTime now = MonotonicTime::Now();
  if (now < next_count_) return;
  next_count_ = now + kCountPeriod;
  std::erase_if(*connections, [](const auto& connection) {
    return InodeOf(connection.first) != connection.second;
  });
}

void Listener::RefuseWithReserve(const Socket& socket) {
  reserve_.Reset();
  UniqueFd refused(accept4(socket.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  refused.Reset();
  reserve_ = Spare();
  if (reserve_.valid()) return;
  // Somebody else was quicker. The clients wait until there is a descriptor again.
  pollfd wake{wake_.get(), POLLIN, 0};
  poll(&wake, 1, kPauseMs);
  reserve_ = Spare();
}

void Listener::NoteRefusal(std::string_view why) {
  const MonotonicTime now = MonotonicTime::Now();
  {
    MutexLock lock(&mutex_);
    last_refusal_ = now;
  }
  ++refused_;
  if (now < next_log_) return;
  next_log_ = now + kLogPeriod;
  LogEvent(spdlog::level::warn, "connections are refused",
           {{"count", std::to_string(std::exchange(refused_, 0))}, {"why", std::string(why)}});
}

}  // namespace cairn
