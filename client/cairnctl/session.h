// What all commands share: the global options, the connection, and how results are shown. Lives in
// main; used by the main thread only.
#ifndef CAIRN_CLIENT_CAIRNCTL_SESSION_H_
#define CAIRN_CLIENT_CAIRNCTL_SESSION_H_

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "cairn/client/client.h"
#include "cairnctl/interrupt.h"
#include "cairnctl/output.h"
#include "cairnctl/time_limit.h"

namespace cairn::cairnctl {

enum class OutputFormat { kTable, kJson, kYaml };

// Most changes take milliseconds, and their one call then brings the result. What takes longer is
// followed instead, with its progress and across restarts of the server.
inline constexpr std::chrono::milliseconds kHeldReply(250);

struct Globals {
  std::string server = "unix:/run/cairn/cairn.sock";
  OutputFormat output = OutputFormat::kTable;
  std::optional<std::chrono::milliseconds> timeout;
  bool wait = true;
  bool quiet = false;
  bool dry_run = false;
  std::string request_id;
};

class Session {
 public:
  explicit Session(Interrupt* interrupt) : interrupt_(interrupt) {}

  Globals globals;
  // What the command line asks for; set while it is parsed, run once after it.
  std::function<absl::Status()> action;

  // Opens the connection at the first call. INVALID_ARGUMENT for an address that cannot be one.
  absl::StatusOr<const client::Client*> GetClient();

  // With the time that --timeout leaves.
  client::CallOptions call_options() const;
  client::WaitOptions wait_options() const;
  // Requested by Ctrl-C, and when the time of --timeout is over. The first call sets the clock.
  std::stop_token stop() const;
  Interrupt* interrupt() const { return interrupt_; }
  // What the command ends with: what stopped because its time was over says so.
  absl::Status EndOf(const absl::Status& status) const;

  // --request-id, --dry-run and --no-wait, as every changing request has them.
  template <typename Request>
  void SetChangeFields(Request* request) const {
    request->set_request_id(globals.request_id);
    request->set_validate_only(globals.dry_run);
    *request->mutable_wait() =
        client::ToProtoDuration(globals.wait ? kHeldReply : std::chrono::milliseconds(0));
  }

  // INVALID_ARGUMENT with --dry-run: for changes that cannot be checked without making them.
  absl::Status RefuseDryRun() const;

  bool table() const { return globals.output == OutputFormat::kTable; }
  // As JSON or YAML; not for tables.
  void PrintMessage(const google::protobuf::Message& message) const;
  // One of a stream of messages: a line of JSON, or a document of YAML.
  void PrintStreamed(const google::protobuf::Message& message) const;

 private:
  std::optional<std::chrono::milliseconds> TimeLeft() const;

  Interrupt* const interrupt_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<client::Client> client_;
  mutable std::optional<TimeLimit> limit_;
};

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_SESSION_H_
