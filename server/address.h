// Addresses to listen on: what is in the way of one, said so that an operator can act on it.
#ifndef CAIRN_SERVER_ADDRESS_H_
#define CAIRN_SERVER_ADDRESS_H_

#include <string>

#include "absl/status/status.h"

namespace cairn {

// Makes way for a socket at "unix:/path": removes one that nobody serves any more. An error when
// somebody does, or when another kind of file lies there. Other addresses need nothing.
absl::Status PrepareAddress(const std::string& address);

// Why the address cannot be bound, found out by trying; for the message after gRPC could not.
std::string WhyNotBound(const std::string& address);

}  // namespace cairn

#endif  // CAIRN_SERVER_ADDRESS_H_
