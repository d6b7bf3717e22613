#include "lib/hypervisor/qmp_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/base/json.h"

namespace cairn {
namespace {

// The longest answer is the list of all nodes, about 1 KiB for each file that the machine has open.
constexpr size_t kLineMaxBytes = 8 << 20;
// query-block tells of each backing file within the one above it. Chains of others may be longer than ours.
constexpr int kDepthMax = 1100;
constexpr size_t kEventsMax = 1024;
constexpr size_t kWordsMax = 1000;
constexpr size_t kReadBytes = 64 << 10;

// Before it is parsed: a line of brackets alone would need a hundred times its own memory.
bool TooDeep(std::string_view line) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDepthMax) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

Reason QmpFailureReason(std::string_view words) {
  // QEMU has only words, those of the C library.
  if (words.find("No space left on device") != words.npos) return Reason::kNoSpace;
  if (words.find("Disk quota exceeded") != words.npos) return Reason::kNoSpace;
  return Reason::kHypervisorFailed;
}

absl::StatusOr<std::unique_ptr<QmpClient>> QmpClient::Connect(std::string_view address,
                                                              const HypervisorOptions& options) {
  ASSIGN_OR_RETURN(QmpEndpoint endpoint, ParseQmpEndpoint(address));
  const Deadline deadline(options.connect_timeout);
  ASSIGN_OR_RETURN(UniqueFd fd, DialQmp(endpoint, deadline));
  std::unique_ptr<QmpClient> client(new QmpClient(std::move(endpoint), std::move(fd), options));
  RETURN_IF_ERROR(client->Greet(deadline));
  return client;
}

absl::Status QmpClient::Greet(const Deadline& deadline) {
  ASSIGN_OR_RETURN(const nlohmann::json greeting, Receive(deadline));
  if (greeting.is_null()) {
    return Break("no greeting in time: it hangs, or serves another client");
  }
  if (!greeting.contains("QMP")) return Break("what came first is no greeting of QMP");
  return Ask("qmp_capabilities", nlohmann::json::object(), deadline).status();
}

absl::StatusOr<nlohmann::json> QmpClient::Execute(std::string_view command,
                                                  const nlohmann::json& arguments) {
  return Ask(command, arguments, Deadline(options_.answer_timeout));
}

absl::StatusOr<nlohmann::json> QmpClient::Ask(std::string_view command,
                                              const nlohmann::json& arguments,
                                              const Deadline& deadline) {
  RETURN_IF_ERROR(broken_);
  const int64_t id = ++last_id_;
  nlohmann::json request = {{"execute", command}, {"id", id}};
  if (!arguments.empty()) request["arguments"] = arguments;
  RETURN_IF_ERROR(Send(DumpJson(request) + "\n", deadline));
  for (;;) {
    ASSIGN_OR_RETURN(nlohmann::json answer, Receive(deadline));
    if (answer.is_null()) return Break(fmt::format("no answer to {} in time", command));
    if (answer.contains("event")) {
      // Events without end are no answer either.
      if (deadline.passed()) return Break(fmt::format("no answer to {} in time", command));
      Keep(std::move(answer));
      continue;
    }
    if (JsonValue<int64_t>(answer, "id", 0) != id) {
      return Break(fmt::format("what came is no answer to {}", command));
    }
    if (const auto error = answer.find("error"); error != answer.end()) {
      const std::string words =
          JsonValue<std::string>(*error, "desc", "no description").substr(0, kWordsMax);
      return Error(QmpFailureReason(words),
                   fmt::format("QMP at {}: {} was refused: {}", address(), command, words),
                   {{"address", address()}, {"command", std::string(command)}});
    }
    const auto result = answer.find("return");
    if (result == answer.end()) return Break(fmt::format("the answer to {} has nothing", command));
    return std::move(*result);
  }
}

absl::StatusOr<nlohmann::json> QmpClient::NextEvent(absl::Duration limit) {
  RETURN_IF_ERROR(broken_);
  if (events_.empty()) {
    ASSIGN_OR_RETURN(nlohmann::json message, Receive(Deadline(limit)));
    if (message.is_null()) return message;
    if (!message.contains("event")) return Break("an answer came to no question");
    Keep(std::move(message));
  }
  nlohmann::json event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void QmpClient::Keep(nlohmann::json event) {
  // Nobody depends on an event: each only saves a wait, or a second attempt.
  if (events_.size() >= kEventsMax) events_.pop_front();
  events_.push_back(std::move(event));
}

absl::StatusOr<nlohmann::json> QmpClient::Receive(const Deadline& deadline) {
  ASSIGN_OR_RETURN(const bool whole, FillLine(deadline));
  if (!whole) return nlohmann::json();
  const size_t end = received_.find('\n', searched_);
  const std::string line = received_.substr(0, end);
  received_.erase(0, end + 1);
  searched_ = 0;
  if (TooDeep(line)) return Break("what came is too deep to be of QMP");
  auto message = ParseJson("QMP", line);
  if (!message.ok() || !message->is_object()) return Break("what came is not QMP");
  return message;
}

absl::StatusOr<bool> QmpClient::FillLine(const Deadline& deadline) {
  RETURN_IF_ERROR(broken_);
  for (;;) {
    if (received_.find('\n', searched_) != received_.npos) return true;
    searched_ = received_.size();
    if (received_.size() > kLineMaxBytes) return Break("a line without end");
    if (!PollQmp(fd_.get(), POLLIN, deadline)) return false;
    const size_t had = received_.size();
    received_.resize(had + kReadBytes);
    const ssize_t got =
        RetryOnEintr([&] { return recv(fd_.get(), received_.data() + had, kReadBytes, 0); });
    const int error = errno;
    received_.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return Break("it closed the connection");
    if (got < 0 && error != EAGAIN) {
      return Break(fmt::format("the connection broke (error {})", error));
    }
    // A peer that sends a byte now and then does not put the deadline off.
    if (deadline.passed() && received_.find('\n', searched_) == received_.npos) return false;
  }
}

absl::Status QmpClient::Send(std::string_view text, const Deadline& deadline) {
  while (!text.empty()) {
    const ssize_t sent =
        RetryOnEintr([&] { return send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL); });
    if (sent >= 0) {
      text.remove_prefix(static_cast<size_t>(sent));
    } else if (errno != EAGAIN) {
      return Break(fmt::format("it closed the connection (error {})", errno));
    } else if (!PollQmp(fd_.get(), POLLOUT, deadline)) {
      return Break("it takes no command in time");
    }
  }
  return absl::OkStatus();
}

absl::Status QmpClient::Break(std::string_view what) {
  fd_.Reset();
  broken_ = Unavailable(what);
  return broken_;
}

}  // namespace cairn
