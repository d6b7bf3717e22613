// What is tried again, with what, and for how long: against a real gRPC server that fails on
// demand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/client/faulty_server.h"

namespace cairn::client {
namespace {

using std::chrono::milliseconds;
using testing::Fault;
using testing::FaultyServer;
using Clock = std::chrono::steady_clock;

grpc::Status Succeed(v1::CreateVolumeResponse* response) {
  response->mutable_operation()->set_id("op");
  response->mutable_operation()->set_state(v1::OPERATION_STATE_SUCCEEDED);
  return grpc::Status::OK;
}

TEST(Retry, UnavailableIsTriedAgainWithTheSameRequestId) {
  FaultyServer server;
  server.on_create = [](int n, const auto&, auto* response) {
    return n < 3 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "not yet") : Succeed(response);
  };
  v1::CreateVolumeRequest request;
  request.set_name("web");
  const auto pending = server.MakeClient().CreateVolume(request);
  ASSERT_TRUE(pending.ok()) << pending.status();
  EXPECT_EQ(pending->id(), "op");
  const auto requests = server.create_requests();
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_TRUE(IsUuid(requests[0].request_id()));
  for (const auto& sent : requests) {
    EXPECT_EQ(sent.request_id(), requests[0].request_id());
    EXPECT_EQ(sent.name(), "web");
  }
}

TEST(Retry, TheCallersRequestIdIsKept) {
  FaultyServer server;
  server.on_create = [](int n, const auto&, auto* response) {
    return n < 1 ? Fault(grpc::StatusCode::ABORTED, "QUEUE_FULL") : Succeed(response);
  };
  v1::CreateVolumeRequest request;
  request.set_request_id("mine");
  ASSERT_TRUE(server.MakeClient().CreateVolume(request).ok());
  const auto requests = server.create_requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].request_id(), "mine");
  EXPECT_EQ(requests[1].request_id(), "mine");
}

TEST(Retry, TwoChangesHaveDifferentRequestIds) {
  FaultyServer server;
  const Client client = server.MakeClient();
  ASSERT_TRUE(client.CreateVolume({}).ok());
  ASSERT_TRUE(client.CreateVolume({}).ok());
  const auto requests = server.create_requests();
  EXPECT_NE(requests[0].request_id(), requests[1].request_id());
}

TEST(Retry, WhatARepetitionCannotCureIsNotTriedAgain) {
  const std::pair<grpc::StatusCode, std::string> faults[] = {
      {grpc::StatusCode::FAILED_PRECONDITION, "VOLUME_STATE"},
      {grpc::StatusCode::ABORTED, "REVISION_MISMATCH"},
      {grpc::StatusCode::INVALID_ARGUMENT, "INVALID_FIELD"},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "NO_SPACE"},
      {grpc::StatusCode::NOT_FOUND, "POOL_NOT_FOUND"},
      {grpc::StatusCode::INTERNAL, "INTERNAL"}};
  for (const auto& fault : faults) {
    const auto& [code, reason] = fault;
    FaultyServer server;
    server.on_create = [&](int, const auto&, auto*) { return Fault(fault.first, fault.second); };
    const auto pending = server.MakeClient().CreateVolume({});
    EXPECT_EQ(static_cast<int>(pending.status().code()), static_cast<int>(code));
    EXPECT_EQ(GetReason(pending.status()), reason);
    EXPECT_EQ(server.calls("CreateVolume"), 1) << reason;
  }
}

TEST(Retry, GivesTheLastErrorWithItsDetailsWhenTheTriesAreUsedUp) {
  FaultyServer server;
  server.on_get = [](int, const auto&, auto*) {
    return Fault(grpc::StatusCode::UNAVAILABLE, "SHARE_UNAVAILABLE", {{"share", "nfs1:/pool"}});
  };
  const auto volume = server.MakeClient().GetVolume("id");
  EXPECT_TRUE(absl::IsUnavailable(volume.status()));
  EXPECT_EQ(server.calls("GetVolume"), testing::QuickRetries().max_attempts);
  const auto details = GetErrorDetails(volume.status());
  ASSERT_TRUE(details.has_value());
  EXPECT_EQ(details->reason, "SHARE_UNAVAILABLE");
  EXPECT_EQ(details->metadata.at("share"), "nfs1:/pool");
  EXPECT_THAT(std::string(volume.status().message()), ::testing::HasSubstr("tries"));
}

TEST(Retry, NoneWithOneAttempt) {
  FaultyServer server;
  server.on_get = [](int, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "no");
  };
  const auto volume =
      server.MakeClient().GetVolume("id", {.retry = RetryPolicy{.max_attempts = 1}});
  EXPECT_TRUE(absl::IsUnavailable(volume.status()));
  EXPECT_EQ(server.calls("GetVolume"), 1);
}

TEST(Retry, TheDeadlineHoldsForAllTriesTogether) {
  FaultyServer server;
  server.on_get = [](int, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "no");
  };
  RetryPolicy policy = testing::QuickRetries();
  policy.max_attempts = 1'000'000;
  const auto start = Clock::now();
  const auto volume =
      server.MakeClient().GetVolume("id", {.timeout = milliseconds(300), .retry = policy});
  // The server's own error, which says more than "deadline exceeded".
  EXPECT_TRUE(absl::IsUnavailable(volume.status())) << volume.status();
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
  EXPECT_GT(server.calls("GetVolume"), 3);
}

TEST(Retry, TheDeadlineEndsACallThatHangs) {
  FaultyServer server;
  server.on_get = [](int, const auto&, auto*) {
    std::this_thread::sleep_for(milliseconds(700));
    return grpc::Status::OK;
  };
  const auto start = Clock::now();
  const auto volume = server.MakeClient().GetVolume("id", {.timeout = milliseconds(100)});
  EXPECT_TRUE(absl::IsDeadlineExceeded(volume.status())) << volume.status();
  EXPECT_LT(Clock::now() - start, milliseconds(600));
  EXPECT_EQ(server.calls("GetVolume"), 1);
}

TEST(Retry, ASentWaitMakesTheDeadlineLonger) {
  FaultyServer server;
  server.on_create = [](int, const auto&, auto* response) {
    std::this_thread::sleep_for(milliseconds(400));
    return Succeed(response);
  };
  const Client client =
      server.MakeClient({.timeout = milliseconds(200), .retry = testing::QuickRetries()});
  v1::CreateVolumeRequest request;
  EXPECT_TRUE(absl::IsDeadlineExceeded(client.CreateVolume(request).status()));
  *request.mutable_wait() = ToProtoDuration(std::chrono::seconds(10));
  EXPECT_TRUE(client.CreateVolume(request).ok());
}

TEST(Retry, AStopEndsThePauseBetweenTries) {
  FaultyServer server;
  server.on_get = [](int, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "no");
  };
  RetryPolicy policy;
  policy.initial_backoff = std::chrono::seconds(20);
  policy.max_backoff = std::chrono::seconds(20);
  std::stop_source stop;
  const std::jthread stopper([&] {
    std::this_thread::sleep_for(milliseconds(100));
    stop.request_stop();
  });
  const auto start = Clock::now();
  const auto volume =
      server.MakeClient().GetVolume("id", {.retry = policy, .stop = stop.get_token()});
  EXPECT_TRUE(absl::IsCancelled(volume.status())) << volume.status();
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
}

TEST(Retry, ThePauseThatTheServerAsksForIsMade) {
  FaultyServer server;
  server.on_get = [](int n, const auto&, auto*) {
    if (n > 0) return grpc::Status::OK;
    google::rpc::Status status;
    status.set_code(grpc::StatusCode::RESOURCE_EXHAUSTED);
    google::rpc::RetryInfo retry;
    *retry.mutable_retry_delay() = ToProtoDuration(milliseconds(250));
    status.add_details()->PackFrom(retry);
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "busy", status.SerializeAsString());
  };
  const auto start = Clock::now();
  EXPECT_TRUE(server.MakeClient().GetVolume("id").ok());
  EXPECT_GE(Clock::now() - start, milliseconds(250));
}

}  // namespace
}  // namespace cairn::client
