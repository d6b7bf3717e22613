#include "server/server.h"

#include <fmt/format.h>
#include <grpc/support/time.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/resource.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "server/health.h"
#include "server/listener.h"
#include "server/memory.h"
#include "server/operation_service.h"
#include "server/pool_service.h"
#include "server/snapshot_service.h"
#include "server/volume_service.h"

namespace cairn {
namespace {

constexpr absl::Duration kHealthPeriod = absl::Seconds(1);
// Callers that neither take nor send anything for so long are given up.
constexpr absl::Duration kStalledMax = absl::Minutes(1);
constexpr absl::Duration kStalledPeriod = absl::Seconds(1);
constexpr absl::Duration kMemoryPeriod = absl::Seconds(5);
// How long calls that were just ended may take to tell their clients.
constexpr gpr_timespec kDrain = {.tv_sec = 2, .tv_nsec = 0, .clock_type = GPR_TIMESPAN};

std::vector<std::string> PoolNamesOf(const ServerConfig& config) {
  std::vector<std::string> names;
  for (const PoolOptions& pool : config.pools) names.push_back(pool.name);
  return names;
}

// Both are process-wide in gRPC and must come before the first server.
void EnablePlugins() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void SetLimits(const ServerConfig& config, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(config.max_message_bytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, config.max_concurrent_streams);
  // A compressed message of 1 MiB can become 1 GiB before its size is looked at.
  for (grpc_compression_algorithm algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder->SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  builder->AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  // Connections that never become one of HTTP/2, and those that nobody uses.
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 30 * 60'000);
  // A client that is gone without a word is found out within two minutes; clients may ping every
  // ten seconds, also while they wait for nothing. Half of that is taken, because a ping that was
  // late makes the next one early.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 90'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
}

int DescriptorLimit() {
  struct rlimit limit {};
  constexpr rlim_t kEnough = 1 << 20;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  return static_cast<int>(std::min(limit.rlim_cur, kEnough));
}

ListenerLimits ListenerLimitsOf(const ServerConfig& config) {
  const int descriptors = DescriptorLimit();
  const ListenerLimits limits = LimitsFor(config.max_connections, descriptors);
  if (limits.descriptors_tcp < config.max_connections) {
    LogEvent(
        spdlog::level::warn,
        "there are too few descriptors for max_connections: raise the hard limit of open files",
        {{"descriptors", std::to_string(descriptors)},
         {"max_connections", std::to_string(config.max_connections)}});
  }
  return limits;
}

}  // namespace

struct Server::Parts {
  explicit Parts(const ServerConfig& config)
      : services({config.max_active_calls, config.max_active_transfers}),
        volumes(&services),
        snapshots(&services),
        pools(&services),
        operations(&services) {}

  std::unique_ptr<Engine> engine;
  ServiceContext services;
  VolumeService volumes;
  SnapshotService snapshots;
  PoolService pools;
  OperationService operations;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
  std::unique_ptr<grpc::Server> grpc;
  std::unique_ptr<Health> health;
};

Server::Server(const ServerConfig& config)
    : config_(config), parts_(std::make_unique<Parts>(config)) {}

Server::~Server() { Stop(); }

absl::Status Server::Bind() {
  EnablePlugins();
  ASSIGN_OR_RETURN(parts_->listener, Listener::Bind(config_.listen));
  addresses_ = parts_->listener->addresses();
  grpc::ServerBuilder builder;
  SetLimits(config_, &builder);
  using Kind = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  parts_->acceptor = builder.experimental().AddExternalConnectionAcceptor(
      Kind::FROM_FD, grpc::InsecureServerCredentials());
  builder.SetContextAllocator(parts_->services.unread.NewAllocator());
  builder.RegisterService(&parts_->volumes);
  builder.RegisterService(&parts_->snapshots);
  builder.RegisterService(&parts_->pools);
  builder.RegisterService(&parts_->operations);
  parts_->grpc = builder.BuildAndStart();
  if (parts_->grpc == nullptr) return Error(Reason::kInternal, "gRPC could not start its server");
  parts_->health =
      std::make_unique<Health>(parts_->grpc->GetHealthCheckService(), PoolNamesOf(config_));
  parts_->listener->Start(ListenerLimitsOf(config_), [parts = parts_.get()](UniqueFd connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.Release();
    parts->acceptor->HandleNewConnection(&parameters);
  });
  parts_->services.background.Every(kStalledPeriod, [parts = parts_.get()] {
    parts->services.calls.AbortStalled(kStalledMax);
    parts->services.unread.DropOlderThan(kStalledMax);
  });
  parts_->services.background.Every(kMemoryPeriod, ReturnFreeMemory);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Listen(const ServerConfig& config,
                                                       EngineFactory make_engine) {
  std::unique_ptr<Server> server(new Server(config));
  RETURN_IF_ERROR(server->Bind());
  server->starter_ = std::thread([raw = server.get(), make_engine = std::move(make_engine)] {
    raw->StartEngine(make_engine);
  });
  return server;
}

void Server::StartEngine(const EngineFactory& make_engine) {
  absl::StatusOr<std::unique_ptr<Engine>> engine = make_engine(EngineOptionsOf(config_));
  if (engine.ok()) {
    parts_->engine = *std::move(engine);
    parts_->services.engine = parts_->engine.get();
    parts_->health->Update(parts_->engine.get());
    parts_->services.background.Every(kHealthPeriod, [parts = parts_.get()] {
      parts->health->Update(parts->services.engine);
      parts->health->UpdateConnections(!parts->listener->refusing());
    });
  }
  MutexLock lock(&mutex_);
  start_status_ = engine.status();
  start_ended_.NotifyAll();
}

std::optional<absl::Status> Server::start_status() const {
  MutexLock lock(&mutex_);
  return start_status_;
}

absl::Status Server::AwaitStart() const {
  MutexLock lock(&mutex_);
  while (!start_status_.has_value()) start_ended_.Wait(&mutex_);
  return *start_status_;
}

UnreadAnswers& Server::unread_answers() { return parts_->services.unread; }

int Server::calls_in_hand() const { return parts_->services.calls.size(); }

void Server::Rescan() {
  parts_->services.background.Post([parts = parts_.get()] {
    Engine* engine = parts->services.engine;
    if (engine == nullptr) return;
    for (const std::string& pool : engine->PoolNames()) {
      engine->RescanPool(pool, [pool](const absl::Status& status) {
        LogEvent(status.ok() ? spdlog::level::info : spdlog::level::err, "shares file read again",
                 {{"pool", pool}, {"result", Describe(status)}});
      });
    }
  });
}

void Server::Stop() {
  if (stopped_) return;
  stopped_ = true;
  if (parts_->grpc == nullptr) return;
  parts_->health->Stop();
  absl::Status stopping = Error(Reason::kShuttingDown, "the server is stopping");
  parts_->services.calls.Abort(stopping, {CallKind::kWatch});
  if (starter_.joinable()) starter_.join();
  bool all_ended = true;
  if (parts_->engine != nullptr) {
    all_ended = parts_->engine->Stop(absl::Seconds(config_.shutdown_grace_seconds));
  }
  parts_->services.calls.Abort(
      stopping, {CallKind::kRead, CallKind::kChange, CallKind::kWait, CallKind::kStream,
                 CallKind::kWatch, CallKind::kDownload, CallKind::kUpload});
  parts_->listener->Stop();
  parts_->grpc->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), kDrain));
  parts_->grpc->Wait();
  // Its tasks may use the engine.
  parts_->services.background.Stop();
  parts_->services.pages.Stop();
  parts_->services.engine = nullptr;
  // A thread that hangs on a dead share may wake before the process ends, and still use them.
  if (!all_ended) parts_->engine.release();
  parts_->engine.reset();
}

}  // namespace cairn
