// Addresses to listen on: sockets for them, and what is in the way of one, said so that an operator
// can act on it.
#ifndef CAIRN_SERVER_ADDRESS_H_
#define CAIRN_SERVER_ADDRESS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/os/unique_fd.h"

namespace cairn {

struct BoundAddress {
  std::string name;  // as it was given, with the port that was chosen for port 0
  bool is_unix = false;
  std::vector<UniqueFd> sockets;  // they listen; a host name may have several addresses
};

// Listens on "unix:/path", "host:port" or "[v6]:port". A socket file that nobody serves any more is
// replaced; an error when somebody does, or when another kind of file lies there. "0.0.0.0" and
// "[::]" are each all addresses of both kinds, as gRPC takes them.
absl::StatusOr<BoundAddress> ListenOn(const std::string& address);

// Removes the socket file of "unix:/path"; other addresses have none.
void RemoveSocketFile(const std::string& address);

}  // namespace cairn

#endif  // CAIRN_SERVER_ADDRESS_H_
