#include <utility>

#include "cairn/client/client.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/internal/outage.h"

namespace cairn::client {
namespace {

// Changes that are lost for this reader: it must begin again.
bool MustRestart(const absl::Status& status) {
  const std::string reason = GetReason(status);
  return reason == "WATCH_REVISION_TOO_OLD" || reason == "WATCH_TOO_SLOW";
}

class Watch {
 public:
  Watch(const internal::Connection& connection, v1::WatchVolumesRequest request,
        const std::function<bool(const v1::WatchVolumesResponse&)>& on_event,
        const WatchOptions& options)
      : connection_(connection),
        request_(std::move(request)),
        on_event_(on_event),
        options_(options),
        outage_(connection.options.retry) {}

  absl::Status Run() {
    while (true) {
      told_anything_ = false;
      const absl::Status status = OneStream();
      if (enough_) return absl::OkStatus();
      const bool restart = MustRestart(status);
      if (restart && !options_.on_restart) return status;
      const absl::Status passing = restart ? absl::UnavailableError("begin again") : status;
      const absl::Status pause =
          outage_.Pause(passing, internal::Clock::time_point::max(), options_.stop);
      if (!pause.ok()) return absl::IsCancelled(pause) ? pause : status;
      if (restart) request_.set_from_revision(0);
      // Without a revision to go on from, the present volumes are told again.
      if (request_.from_revision() == 0 && (restart || told_anything_)) {
        if (!options_.on_restart) return status;
        options_.on_restart();
      }
    }
  }

 private:
  absl::Status OneStream() {
    grpc::ClientContext context;
    const internal::CancelOnStop cancel(options_.stop, &context);
    const auto stream = connection_.volumes->WatchVolumes(&context, request_);
    v1::WatchVolumesResponse response;
    while (stream->Read(&response)) {
      outage_.Over();
      told_anything_ = true;
      enough_ = !on_event_(response);
      if (enough_) context.TryCancel();
      if (enough_) break;
      if (response.revision() > 0) request_.set_from_revision(response.revision());
    }
    const absl::Status status = internal::EndOf(stream->Finish(), options_.stop);
    return status.ok() ? absl::UnavailableError("the stream was cut off") : status;
  }

  const internal::Connection& connection_;
  v1::WatchVolumesRequest request_;
  const std::function<bool(const v1::WatchVolumesResponse&)>& on_event_;
  const WatchOptions& options_;
  internal::Outage outage_;
  bool told_anything_ = false;
  bool enough_ = false;
};

}  // namespace

absl::Status Client::WatchVolumes(
    v1::WatchVolumesRequest request,
    const std::function<bool(const v1::WatchVolumesResponse&)>& on_event,
    const WatchOptions& options) const {
  return Watch(*connection_, std::move(request), on_event, options).Run();
}

}  // namespace cairn::client
