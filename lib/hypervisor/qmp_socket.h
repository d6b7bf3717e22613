// Where a QMP server listens, and a connection to it.
//
// Thread-safe: functions over values. DialQmp blocks, up to its deadline.
//
//   ASSIGN_OR_RETURN(QmpEndpoint endpoint, ParseQmpEndpoint("unix:/run/machine/qmp.sock"));
//   ASSIGN_OR_RETURN(UniqueFd fd, DialQmp(endpoint, Deadline(absl::Seconds(5))));
#ifndef CAIRN_LIB_HYPERVISOR_QMP_SOCKET_H_
#define CAIRN_LIB_HYPERVISOR_QMP_SOCKET_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/status.h"
#include "lib/os/deadline.h"
#include "lib/os/unique_fd.h"

namespace cairn {

struct QmpEndpoint {
  std::string text;       // as it was given
  std::string unix_path;  // absolute; else empty, and:
  std::string host;       // a name, or an IP address without brackets
  std::string port;       // 1 to 65535
};

// Of `unix:/absolute/path`, `tcp:host:port` or `tcp:[IPv6]:port`. INVALID_FIELD for all else.
absl::StatusOr<QmpEndpoint> ParseQmpEndpoint(std::string_view text);

// HYPERVISOR_UNAVAILABLE of `endpoint`, with what was attempted.
absl::Status QmpUnavailable(const QmpEndpoint& endpoint, std::string_view what,
                            ErrorMetadata more = {});

// A non-blocking socket that is connected. HYPERVISOR_UNAVAILABLE otherwise; with the metadata
// `gone` = "true" when nobody listens at a UNIX socket: the process that did has ended (or its
// socket is not where this server looks).
absl::StatusOr<UniqueFd> DialQmp(const QmpEndpoint& endpoint, const Deadline& deadline);

// Waits until `fd` has one of `events` (or an error, which the next call on it tells). False when
// the deadline passed first.
bool PollQmp(int fd, short events, const Deadline& deadline);  // NOLINT(google-runtime-int)

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_QMP_SOCKET_H_
