// Takes connections and hands them to whoever serves them. Never deaf: when descriptors run out it
// goes on as soon as there are some, and meanwhile each new client is told so by a closed
// connection instead of waiting.
//
// Not gRPC's own listener: that of gRPC 1.51 never accepts again once accept() has failed for want
// of a descriptor (CVE-2023-4785), and it bounds nothing.
//
//   ASSIGN_OR_RETURN(auto listener, Listener::Bind({"127.0.0.1:0", "unix:/run/s"}));
//   listener->Start({.connections_max = 4096}, [](UniqueFd connection) { ... });
//   ... listener->Stop();
#ifndef CAIRN_SERVER_LISTENER_H_
#define CAIRN_SERVER_LISTENER_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"
#include "lib/os/unique_fd.h"
#include "server/address.h"

namespace cairn {

struct ListenerLimits {
  // Of connections over TCP; over UNIX sockets there may be as many again, so that those who sit on
  // this host get in when the network has taken all there is.
  int connections_max = 4096;
  // Descriptors with this number or a higher one are for other work than connections over TCP. The
  // kernel gives the lowest number that is free, so such a number means that all below are taken.
  int descriptors_tcp = 1 << 20;
  int descriptors_unix = 1 << 20;
};

// Raises the soft limit of descriptors to the hard one. Children get the usual one; see
// lib/os/start_child.cc.
void RaiseDescriptorLimit();
// Limits that leave a part of so many descriptors to files, children and the catalog.
ListenerLimits LimitsFor(int connections_max, int descriptors);

// Bind, Start and Stop on one thread; refusing() from any.
class Listener {
 public:
  using Serve = std::function<void(UniqueFd connection)>;

  // Clients can connect from now on; they wait until Start.
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(const std::vector<std::string>& addresses);
  ~Listener();  // Stop()
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // In the order that was given, with the port that was chosen for port 0.
  std::vector<std::string> addresses() const;

  // `serve` is called on the listener's own thread.
  void Start(const ListenerLimits& limits, Serve serve);
  // Closes the sockets. Idempotent.
  void Stop();

  // A connection was refused within the last seconds.
  bool refusing() const;

 private:
  // Connections of one kind that were handed on, by descriptor: their inodes. One that is closed is
  // found out when its number is used again or when they are counted.
  using Connections = std::unordered_map<int, ino_t>;
  struct Socket {
    int fd;
    bool is_unix;
  };

  Listener() = default;
  void Run();
  // Takes one connection, or refuses one; false when none waits.
  bool TakeOne(const Socket& socket);
  // Whether one more connection, with this descriptor, is within the limits.
  bool HasRoom(int fd, bool is_unix);
  void CountAnew(Connections* connections);
  // Makes a descriptor free for as long as it takes to close a connection.
  void RefuseWithReserve(const Socket& socket);
  void NoteRefusal(std::string_view why);

  std::vector<BoundAddress> bound_;
  ListenerLimits limits_;
  Serve serve_;
  std::thread thread_;
  UniqueFd wake_;  // an eventfd: readable when the thread is to end

  // Of the thread.
  std::vector<Socket> sockets_;
  UniqueFd reserve_;  // given up to refuse a connection when there is no other descriptor
  Connections tcp_;
  Connections unix_;
  MonotonicTime next_count_;
  MonotonicTime next_log_;
  int64_t refused_ = 0;  // since it was logged

  mutable Mutex mutex_;
  MonotonicTime last_refusal_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_SERVER_LISTENER_H_
