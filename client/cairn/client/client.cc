#include "cairn/client/client.h"

#include <grpcpp/channel.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/connection.h"

namespace cairn::client {

Client::Client(std::shared_ptr<const internal::Connection> connection)
    : connection_(std::move(connection)) {}

absl::StatusOr<Client> Client::Connect(Options options) {
  auto connection = internal::OpenConnection(std::move(options));
  if (!connection.ok()) return connection.status();
  return Client(*std::move(connection));
}

Client Client::FromChannel(std::shared_ptr<grpc::Channel> channel, Options options) {
  return Client(internal::WrapChannel(std::move(channel), std::move(options)));
}

absl::Status Client::WaitForConnection(std::chrono::milliseconds timeout) const {
  if (connection_->channel->WaitForConnected(internal::DeadlineIn(timeout)))
    return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("no connection to ", connection_->options.target,
                                             " within ", timeout.count(), " ms"));
}

}  // namespace cairn::client
