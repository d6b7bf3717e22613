// cairnctl health.
#include <fmt/format.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "cairn/client/errors.h"
#include "cairnctl/commands.h"

namespace cairn::cairnctl {
namespace {

struct HealthArgs {
  std::string service;
};

// grpc.health.v1's request is one string and its response one enum, each as field 1, and so are
// these on the wire: no stubs of a contract that is not ours are needed.
using Request = google::protobuf::StringValue;
using Response = google::protobuf::Int32Value;
constexpr int kServing = 1;

// Short, because probes are: a server that does not answer in this time is not healthy.
constexpr std::chrono::seconds kTimeout(5);

absl::StatusOr<bool> IsServing(Session* session, const std::string& service) {
  Request request;
  request.set_value(service);
  Response response;
  grpc::ClientContext context;
  const std::chrono::milliseconds limit = session->call_options().timeout.value_or(kTimeout);
  context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                    gpr_time_from_millis(limit.count(), GPR_TIMESPAN)));
  grpc::TemplatedGenericStub<Request, Response> stub(
      grpc::CreateChannel(session->globals.server, grpc::InsecureChannelCredentials()));
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const absl::Status status = client::StatusFromGrpc(done.get_future().get());
  if (absl::IsNotFound(status)) {
    return absl::NotFoundError(fmt::format("the server has no service \"{}\"", service));
  }
  if (!status.ok()) return status;
  return response.value() == kServing;
}

absl::Status RunHealth(Session* session, const HealthArgs& args) {
  const absl::StatusOr<bool> serving = IsServing(session, args.service);
  if (!serving.ok()) return serving.status();
  const std::string word = *serving ? "SERVING" : "NOT_SERVING";
  if (session->globals.quiet) {
    // The exit code says it.
  } else if (session->table()) {
    Print(word + "\n");
  } else {
    google::protobuf::Struct result;
    (*result.mutable_fields())["service"].set_string_value(args.service);
    (*result.mutable_fields())["status"].set_string_value(word);
    session->PrintMessage(result);
  }
  if (*serving) return absl::OkStatus();
  return absl::UnavailableError(args.service.empty()
                                    ? "the server is not serving"
                                    : fmt::format("\"{}\" is not serving", args.service));
}

}  // namespace

void AddHealthCommand(CLI::App* app, Session* session) {
  auto args = std::make_shared<HealthArgs>();
  CLI::App* verb = AddVerb(app, "health", "Ask whether the server is serving; made for probes",
                           {"health", "health pool/default", "health -q --timeout 2s && echo yes"});
  verb->add_option("service", args->service,
                   "pool/NAME, or a service such as cairn.v1.VolumeService; the whole server by "
                   "default")
      ->type_name("SERVICE");
  OnRun(verb, session, args, RunHealth);
}

}  // namespace cairn::cairnctl
