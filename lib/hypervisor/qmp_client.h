// QEMU's machine protocol: one JSON object a line. Commands are answered in order; events come in
// between.
//
// A peer is trusted with nothing but its disks: every wait has a limit, and so has a line's length
// and depth. After an error of the connection every further call fails with it; connect again.
// One thread at a time. A QMP socket serves one client at a time: do not keep a connection.
//
//   ASSIGN_OR_RETURN(auto qmp, QmpClient::Connect("unix:/run/machine/qmp.sock", {}));
//   ASSIGN_OR_RETURN(nlohmann::json jobs, qmp->Execute("query-jobs"));
#ifndef CAIRN_LIB_HYPERVISOR_QMP_CLIENT_H_
#define CAIRN_LIB_HYPERVISOR_QMP_CLIENT_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/hypervisor/hypervisor.h"
#include "lib/hypervisor/qmp_socket.h"
#include "lib/os/deadline.h"
#include "lib/os/unique_fd.h"

namespace cairn {

class QmpClient {
 public:
  // With the greeting read and the capabilities agreed on. INVALID_FIELD for what is no address,
  // HYPERVISOR_UNAVAILABLE when nobody answers there, or something that does not speak QMP.
  static absl::StatusOr<std::unique_ptr<QmpClient>> Connect(std::string_view address,
                                                            const HypervisorOptions& options);

  // What the command returned. HYPERVISOR_FAILED (or NO_SPACE) with QEMU's words when it was
  // refused, metadata: address, command. HYPERVISOR_UNAVAILABLE when there was no answer.
  absl::StatusOr<nlohmann::json> Execute(
      std::string_view command, const nlohmann::json& arguments = nlohmann::json::object());

  // The next event that has not been taken: {"event": name, "data": {...}}; null when none came
  // within `limit`.
  absl::StatusOr<nlohmann::json> NextEvent(absl::Duration limit);
  // Those that came so far.
  void ForgetEvents() { events_.clear(); }

  const std::string& address() const { return endpoint_.text; }
  absl::Status Unavailable(std::string_view what) const { return QmpUnavailable(endpoint_, what); }

 private:
  QmpClient(QmpEndpoint endpoint, UniqueFd fd, const HypervisorOptions& options)
      : endpoint_(std::move(endpoint)), fd_(std::move(fd)), options_(options) {}
  absl::Status Greet(const Deadline& deadline);
  absl::StatusOr<nlohmann::json> Ask(std::string_view command, const nlohmann::json& arguments,
                                     const Deadline& deadline);
  // True when one whole line is there, false when the deadline passed first.
  absl::StatusOr<bool> FillLine(const Deadline& deadline);
  // The next message; null when none came in time.
  absl::StatusOr<nlohmann::json> Receive(const Deadline& deadline);
  absl::Status Send(std::string_view text, const Deadline& deadline);
  void Keep(nlohmann::json event);
  // The connection is of no use any more.
  absl::Status Break(std::string_view what);

  const QmpEndpoint endpoint_;
  UniqueFd fd_;
  const HypervisorOptions options_;
  absl::Status broken_;
  std::string received_;
  size_t searched_ = 0;  // no line ends before this
  std::deque<nlohmann::json> events_;
  int64_t last_id_ = 0;
};

// The reason for QEMU's words about something that failed.
Reason QmpFailureReason(std::string_view words);

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_QMP_CLIENT_H_
