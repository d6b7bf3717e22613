// cairn_bench_echo: a gRPC server that does nothing, to compare Cairn's GetVolume with.
//
//   cairn_bench_echo unix:/run/echo.sock &
//   cairn_bench_load echo --server unix:/run/echo.sock
//
// The same gRPC, the same kind of server (callback API, so gRPC's own threads and as many of them),
// the same method, and an answer with the fields of a new volume: what is left of a GetVolume when
// nothing is looked up, bounded, noted or logged. A server that copies ready bytes into the answer,
// and looks at no message, was measured to be no faster.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <signal.h>

#include <cstdio>
#include <memory>

#include "cairn/v1/volume_service.grpc.pb.h"
#include "tests/bench/command_line.h"

namespace cairn::bench {
namespace {

// As large as the answer about a volume that has just been created and named.
v1::GetVolumeResponse Answer() {
  v1::GetVolumeResponse answer;
  v1::Volume& volume = *answer.mutable_volume();
  volume.set_id("2de90fc4-b676-40aa-ae2b-f3880f3727f3");
  volume.set_name("bench-100");
  volume.set_pool("default");
  volume.set_share("10.0.0.5:/srv/pool1");
  volume.set_size_bytes(int64_t{1} << 30);
  volume.set_format(v1::VOLUME_FORMAT_QCOW2);
  volume.set_state(v1::VOLUME_STATE_AVAILABLE);
  volume.set_active_file("volume-2de90fc4-b676-40aa-ae2b-f3880f3727f3");
  volume.set_physical_bytes(180'224);
  volume.mutable_create_time()->set_seconds(1'700'000'000);
  volume.mutable_create_time()->set_nanos(123'456'789);
  *volume.mutable_update_time() = volume.create_time();
  volume.set_revision(123'456);
  return answer;
}

class Echo : public v1::VolumeService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetVolume(grpc::CallbackServerContext* context,
                                      const v1::GetVolumeRequest*,
                                      v1::GetVolumeResponse* response) override {
    *response = answer_;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const v1::GetVolumeResponse answer_ = Answer();
};

int Serve(const std::string& address) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  Echo service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port <= 0) {
    std::fprintf(stderr, "cannot listen on %s\n", address.c_str());
    return 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown();
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("A gRPC server that answers every GetVolume with the same volume, until SIGTERM.");
  std::string address;
  app.add_option("address", address, "Where to listen: unix:/path or host:port")->required();
  if (auto exit_code = ParseCommandLine(&app, argc, argv)) return *exit_code;
  return Serve(address);
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) { return cairn::bench::Main(argc, argv); }
