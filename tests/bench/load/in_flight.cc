#include "tests/bench/load/in_flight.h"

#include <grpcpp/create_channel.h>

#include <latch>
#include <memory>
#include <vector>

#include "cairn/v1/volume_service.grpc.pb.h"

namespace cairn::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
using VolumeStub = v1::VolumeService::StubInterface;

constexpr std::chrono::seconds kFirstConnection{10};

struct Window {
  SteadyClock::time_point begin;
  SteadyClock::time_point end;
};

SteadyClock::time_point After(SteadyClock::time_point from, double seconds) {
  return from +
         std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
}

// One call at a time. Its callbacks come from threads of gRPC's, one after the other.
class Slot {
 public:
  Slot(VolumeStub* stub, const v1::GetVolumeRequest& request, Window window, std::latch* ended)
      : stub_(stub), request_(request), window_(window), ended_(ended) {}

  void Start() {
    context_ = std::make_unique<grpc::ClientContext>();
    response_.Clear();
    began_ = SteadyClock::now();
    stub_->async()->GetVolume(context_.get(), &request_, &response_,
                              [this](const grpc::Status& status) { Done(status); });
  }

  // After `ended`.
  const std::vector<double>& milliseconds() const { return milliseconds_; }
  const Errors& errors() const { return errors_; }

 private:
  void Done(const grpc::Status& status) {
    const SteadyClock::time_point now = SteadyClock::now();
    if (!status.ok()) {
      errors_.Add(
          absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message()));
    } else if (now >= window_.begin && now < window_.end) {
      milliseconds_.push_back(std::chrono::duration<double, std::milli>(now - began_).count());
    }
    if (now < window_.end) {
      Start();
    } else {
      ended_->count_down();
    }
  }

  VolumeStub* const stub_;
  const v1::GetVolumeRequest& request_;
  const Window window_;
  std::latch* const ended_;
  std::unique_ptr<grpc::ClientContext> context_;
  v1::GetVolumeResponse response_;
  SteadyClock::time_point began_;
  std::vector<double> milliseconds_;
  Errors errors_;
};

absl::StatusOr<std::vector<std::unique_ptr<VolumeStub>>> Connect(const std::string& server,
                                                                 int count) {
  std::vector<std::unique_ptr<VolumeStub>> stubs;
  for (int i = 0; i < count; ++i) {
    grpc::ChannelArguments arguments;
    // Channels of the same arguments would share one connection.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    auto channel = grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
    if (!channel->WaitForConnected(std::chrono::system_clock::now() + kFirstConnection)) {
      return absl::UnavailableError("no connection to " + server);
    }
    stubs.push_back(v1::VolumeService::NewStub(channel));
  }
  return stubs;
}

}  // namespace

absl::StatusOr<Report> MeasureInFlight(const std::string& server, const InFlightOptions& options) {
  auto stubs = Connect(server, options.channels);
  if (!stubs.ok()) return stubs.status();
  v1::GetVolumeRequest request;
  request.set_volume_id(options.volume_id);
  Window window;
  window.begin = After(SteadyClock::now(), options.warm_up_seconds);
  window.end = After(window.begin, options.seconds);
  std::latch ended(options.in_flight);
  std::vector<std::unique_ptr<Slot>> slots;
  for (int i = 0; i < options.in_flight; ++i) {
    VolumeStub* stub = (*stubs)[static_cast<size_t>(i % options.channels)].get();
    slots.push_back(std::make_unique<Slot>(stub, request, window, &ended));
  }
  for (const auto& slot : slots) slot->Start();
  ended.wait();
  Report report;
  std::vector<double> milliseconds;
  for (const auto& slot : slots) {
    milliseconds.insert(milliseconds.end(), slot->milliseconds().begin(),
                        slot->milliseconds().end());
    report.errors.Merge(slot->errors());
  }
  report.json["calls"] = milliseconds.size();
  report.json["seconds"] = Rounded(options.seconds);
  report.json["per_second"] = Rounded(static_cast<double>(milliseconds.size()) / options.seconds);
  report.json.update(Distribution(std::move(milliseconds)));
  return report;
}

}  // namespace cairn::bench
