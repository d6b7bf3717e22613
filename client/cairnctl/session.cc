#include "cairnctl/session.h"

#include <algorithm>
#include <utility>

#include "cairnctl/render.h"

namespace cairn::cairnctl {

absl::StatusOr<const client::Client*> Session::GetClient() {
  if (!client_.has_value()) {
    client::Options options;
    options.target = globals.server;
    options.user_agent = "cairnctl/" CAIRN_VERSION;
    // A person is waiting: a server that is not there is reported within seconds.
    options.retry.max_attempts = 5;
    options.retry.max_backoff = std::chrono::milliseconds(2'000);
    auto opened = client::Client::Connect(std::move(options));
    if (!opened.ok()) return opened.status();
    client_ = *std::move(opened);
  }
  return &*client_;
}

std::optional<std::chrono::milliseconds> Session::TimeLeft() const {
  if (!globals.timeout.has_value()) return std::nullopt;
  const auto used = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - start_);
  return std::max(*globals.timeout - used, std::chrono::milliseconds(1));
}

client::CallOptions Session::call_options() const {
  // The token, because a list is several calls.
  return {.timeout = TimeLeft(), .stop = stop()};
}

client::WaitOptions Session::wait_options() const {
  return {.timeout = TimeLeft(), .stop = interrupt_->token()};
}

std::stop_token Session::stop() const {
  if (!globals.timeout.has_value()) return interrupt_->token();
  if (!limit_.has_value()) limit_.emplace(interrupt_->token(), *TimeLeft());
  return limit_->token();
}

absl::Status Session::EndOf(const absl::Status& status) const {
  const bool over = limit_.has_value() && limit_->over();
  return over && absl::IsCancelled(status) ? TimeLimit::Error() : status;
}

absl::Status Session::RefuseDryRun() const {
  if (!globals.dry_run) return absl::OkStatus();
  return absl::InvalidArgumentError("this command has no --dry-run; nothing was done");
}

void Session::PrintMessage(const google::protobuf::Message& message) const {
  Print(globals.output == OutputFormat::kYaml ? ToYaml(message) : ToJson(message));
}

void Session::PrintStreamed(const google::protobuf::Message& message) const {
  Print(globals.output == OutputFormat::kYaml ? "---\n" + ToYaml(message) : ToJsonLine(message));
}

}  // namespace cairn::cairnctl
