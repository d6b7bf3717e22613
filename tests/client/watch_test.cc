// Following volumes over streams that break.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/faulty_server.h"

namespace cairn::client {
namespace {

using ::testing::ElementsAre;
using testing::Fault;
using testing::FaultyServer;

void Send(grpc::ServerWriter<v1::WatchVolumesResponse>* writer, int64_t revision,
          const std::string& id) {
  v1::WatchVolumesResponse event;
  event.set_revision(revision);
  if (id.empty()) {
    event.mutable_bookmark();
  } else {
    event.mutable_changed()->set_id(id);
  }
  writer->Write(event);
}

// Collects ids until "end".
struct Collector {
  std::vector<std::string> ids;
  bool operator()(const v1::WatchVolumesResponse& event) {
    if (event.has_changed()) ids.push_back(event.changed().id());
    return ids.empty() || ids.back() != "end";
  }
};

TEST(Watch, GoesOnAfterTheLastRevision) {
  FaultyServer server;
  std::vector<int64_t> from;
  server.on_watch_volumes = [&](int n, const auto& request, auto* writer) {
    from.push_back(request.from_revision());
    if (n == 0) {
      Send(writer, 5, "a");
      Send(writer, 8, "");
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
    }
    if (n == 1) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "still");
    Send(writer, 9, "end");
    return grpc::Status::OK;
  };
  Collector collector;
  v1::WatchVolumesRequest request;
  request.set_from_revision(3);
  const auto status = server.MakeClient().WatchVolumes(request, std::ref(collector));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(from, ElementsAre(3, 8, 8));
  EXPECT_THAT(collector.ids, ElementsAre("a", "end"));
}

TEST(Watch, GoesOnWhenTheServerEndsInTheMiddle) {
  FaultyServer server;
  server.on_watch_volumes = [&](int n, const auto& request, auto* writer) {
    if (n == 0) {
      Send(writer, 5, "a");
      return Fault(grpc::StatusCode::UNAVAILABLE, "SHUTTING_DOWN");
    }
    EXPECT_EQ(request.from_revision(), 5);
    // What gRPC says of the calls that it cancels at its own end.
    if (n == 1) return grpc::Status(grpc::StatusCode::CANCELLED, "");
    Send(writer, 9, "end");
    return grpc::Status::OK;
  };
  Collector collector;
  v1::WatchVolumesRequest request;
  request.set_from_revision(3);
  const auto status = server.MakeClient().WatchVolumes(request, std::ref(collector));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(collector.ids, ElementsAre("a", "end"));
}

TEST(Watch, EndsWhenTheServiceSaysThatItIsCancelled) {
  FaultyServer server;
  server.on_watch_volumes = [&](int, const auto&, auto*) {
    return Fault(grpc::StatusCode::CANCELLED, "CANCELLED");
  };
  Collector collector;
  EXPECT_TRUE(absl::IsCancelled(server.MakeClient().WatchVolumes({}, std::ref(collector))));
  EXPECT_EQ(server.calls("WatchVolumes"), 1);
}

TEST(Watch, BeginsAgainWhenChangesAreLost) {
  FaultyServer server;
  std::vector<int64_t> from;
  server.on_watch_volumes = [&](int n, const auto& request, auto* writer) {
    from.push_back(request.from_revision());
    if (n == 0) {
      Send(writer, 5, "a");
      return Fault(grpc::StatusCode::ABORTED, "WATCH_TOO_SLOW");
    }
    Send(writer, 0, "end");
    return grpc::Status::OK;
  };
  Collector collector;
  int restarts = 0;
  const auto status = server.MakeClient().WatchVolumes({}, std::ref(collector),
                                                       {.on_restart = [&] { ++restarts; }});
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(restarts, 1);
  EXPECT_THAT(from, ElementsAre(0, 0));
}

TEST(Watch, AListThatBrokeOffIsToldAgainFromTheBeginning) {
  FaultyServer server;
  server.on_watch_volumes = [&](int n, const auto&, auto* writer) {
    Send(writer, 0, n == 0 ? "a" : "end");
    return n == 0 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken") : grpc::Status::OK;
  };
  Collector collector;
  int restarts = 0;
  EXPECT_TRUE(server.MakeClient()
                  .WatchVolumes({}, std::ref(collector), {.on_restart = [&] { ++restarts; }})
                  .ok());
  EXPECT_EQ(restarts, 1);
}

TEST(Watch, GivesTheErrorWhereNobodyCanBeginAgain) {
  FaultyServer server;
  server.on_watch_volumes = [&](int, const auto&, auto*) {
    return Fault(grpc::StatusCode::OUT_OF_RANGE, "WATCH_REVISION_TOO_OLD");
  };
  Collector collector;
  const auto status = server.MakeClient().WatchVolumes({}, std::ref(collector));
  EXPECT_EQ(GetReason(status), "WATCH_REVISION_TOO_OLD");
  EXPECT_EQ(server.calls("WatchVolumes"), 1);
}

}  // namespace
}  // namespace cairn::client
