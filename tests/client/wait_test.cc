// Waiting for operations over streams that break.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>
#include <thread>

#include "tests/client/faulty_server.h"

namespace cairn::client {
namespace {

using std::chrono::milliseconds;
using testing::Fault;
using testing::FaultyServer;
using Clock = std::chrono::steady_clock;

v1::Operation At(v1::OperationState state, int64_t done_bytes = 0) {
  v1::Operation operation;
  operation.set_id("op");
  operation.set_state(state);
  operation.mutable_progress()->set_done_bytes(done_bytes);
  operation.mutable_progress()->set_total_bytes(100);
  return operation;
}

bool Send(grpc::ServerWriter<v1::WatchOperationResponse>* writer, const v1::Operation& operation) {
  v1::WatchOperationResponse response;
  *response.mutable_operation() = operation;
  return writer->Write(response);
}

class Wait : public ::testing::Test {
 protected:
  Wait() {
    server_.on_create = [](int, const auto&, auto* response) {
      *response->mutable_operation() = At(v1::OPERATION_STATE_RUNNING);
      return grpc::Status::OK;
    };
  }

  PendingOperation Begin() {
    auto pending = server_.MakeClient().CreateVolume({});
    EXPECT_TRUE(pending.ok()) << pending.status();
    return *std::move(pending);
  }

  FaultyServer server_;
};

TEST_F(Wait, ReportsProgressAndTheEnd) {
  server_.on_watch_operation = [](int, const auto& request, auto* writer) {
    EXPECT_EQ(request.operation_id(), "op");
    Send(writer, At(v1::OPERATION_STATE_RUNNING, 10));
    Send(writer, At(v1::OPERATION_STATE_RUNNING, 60));
    v1::Operation end = At(v1::OPERATION_STATE_SUCCEEDED, 100);
    end.mutable_volume()->set_id("vol");
    Send(writer, end);
    return grpc::Status::OK;
  };
  std::vector<int64_t> seen;
  const auto operation = Begin().Wait({.on_progress = [&](const v1::Operation& now) {
    seen.push_back(now.progress().done_bytes());
  }});
  ASSERT_TRUE(operation.ok()) << operation.status();
  EXPECT_EQ(operation->volume().id(), "vol");
  EXPECT_THAT(seen, ::testing::ElementsAre(10, 60, 100));
}

TEST_F(Wait, GoesOnWhenTheServerEndsInTheMiddle) {
  server_.on_watch_operation = [](int n, const auto&, auto* writer) {
    Send(writer, At(v1::OPERATION_STATE_RUNNING));
    if (n == 0) return Fault(grpc::StatusCode::UNAVAILABLE, "SHUTTING_DOWN");
    // What gRPC says of the calls that it cancels at its own end.
    if (n < 3) return grpc::Status(grpc::StatusCode::CANCELLED, "");
    Send(writer, At(v1::OPERATION_STATE_SUCCEEDED));
    return grpc::Status::OK;
  };
  const auto operation = Begin().Wait();
  EXPECT_TRUE(operation.ok()) << operation.status();
  EXPECT_EQ(server_.calls("WatchOperation"), 4);
}

TEST_F(Wait, AnOperationThatHasEndedNeedsNoCall) {
  server_.on_create = [](int, const auto&, auto* response) {
    *response->mutable_operation() = At(v1::OPERATION_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  EXPECT_TRUE(Begin().Wait().ok());
  EXPECT_EQ(server_.calls("WatchOperation"), 0);
}

TEST_F(Wait, ValidateOnlyHasNothingToWaitFor) {
  server_.on_create = nullptr;
  const PendingOperation pending = Begin();
  EXPECT_EQ(pending.id(), "");
  EXPECT_TRUE(pending.Wait().ok());
}

TEST_F(Wait, TakesABrokenStreamUpAgain) {
  server_.on_watch_operation = [](int n, const auto&, auto* writer) {
    if (n < 4) {
      Send(writer, At(v1::OPERATION_STATE_RUNNING, n * 10));
      // Ends badly, or well but too early.
      return n % 2 == 0 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken") : grpc::Status::OK;
    }
    Send(writer, At(v1::OPERATION_STATE_SUCCEEDED));
    return grpc::Status::OK;
  };
  EXPECT_TRUE(Begin().Wait().ok());
  EXPECT_EQ(server_.calls("WatchOperation"), 5);
}

TEST_F(Wait, UsesPlainCallsWhereThereAreNoStreams) {
  server_.on_watch_operation = [](int, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no streams");
  };
  server_.on_wait = [](int n, const auto&, auto* response) {
    *response->mutable_operation() =
        At(n < 2 ? v1::OPERATION_STATE_RUNNING : v1::OPERATION_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  EXPECT_TRUE(Begin().Wait().ok());
  EXPECT_EQ(server_.calls("WatchOperation"), 1);
  EXPECT_EQ(server_.calls("WaitOperation"), 3);
}

TEST_F(Wait, UsesPlainCallsWhereStreamsBringNothing) {
  server_.on_watch_operation = [](int, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "a proxy cuts it off");
  };
  server_.on_wait = [](int, const auto&, auto* response) {
    *response->mutable_operation() = At(v1::OPERATION_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  EXPECT_TRUE(Begin().Wait().ok());
  EXPECT_EQ(server_.calls("WaitOperation"), 1);
}

TEST_F(Wait, GivesUpAfterALongOutage) {
  server_.on_watch_operation = [](int, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  };
  server_.on_wait = [](int, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  };
  const auto start = Clock::now();
  EXPECT_TRUE(absl::IsUnavailable(Begin().Wait().status()));
  EXPECT_GE(Clock::now() - start, testing::QuickRetries().max_outage);
}

TEST_F(Wait, AFailedOperationIsItsError) {
  server_.on_watch_operation = [](int, const auto&, auto* writer) {
    v1::Operation end = At(v1::OPERATION_STATE_FAILED);
    end.mutable_error()->set_code(8);
    end.mutable_error()->set_message("the share ran full");
    Send(writer, end);
    return grpc::Status::OK;
  };
  const auto operation = Begin().Wait();
  EXPECT_TRUE(absl::IsResourceExhausted(operation.status()));
  EXPECT_EQ(operation.status().message(), "the share ran full");
}

TEST_F(Wait, AForgottenOperationIsNotTriedAgain) {
  server_.on_watch_operation = [](int, const auto&, auto*) {
    return Fault(grpc::StatusCode::NOT_FOUND, "OPERATION_NOT_FOUND");
  };
  const auto operation = Begin().Wait();
  EXPECT_TRUE(absl::IsNotFound(operation.status()));
  EXPECT_EQ(GetReason(operation.status()), "OPERATION_NOT_FOUND");
  EXPECT_EQ(server_.calls("WatchOperation"), 1);
}

// A stream on which nothing happens, until the client leaves.
grpc::Status Silent(grpc::ServerWriter<v1::WatchOperationResponse>* writer) {
  while (Send(writer, At(v1::OPERATION_STATE_RUNNING)))
    std::this_thread::sleep_for(milliseconds(10));
  return grpc::Status::OK;
}

TEST_F(Wait, TheTimeoutEndsTheWaitingOnly) {
  server_.on_watch_operation = [](int, const auto&, auto* writer) { return Silent(writer); };
  const auto start = Clock::now();
  const auto operation = Begin().Wait({.timeout = milliseconds(200)});
  EXPECT_TRUE(absl::IsDeadlineExceeded(operation.status())) << operation.status();
  EXPECT_THAT(std::string(operation.status().message()), ::testing::HasSubstr("op"));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
}

TEST_F(Wait, AStopEndsTheWaiting) {
  server_.on_watch_operation = [](int, const auto&, auto* writer) { return Silent(writer); };
  std::stop_source stop;
  auto future = Begin().WaitAsync({.stop = stop.get_token()});
  EXPECT_EQ(future.wait_for(milliseconds(100)), std::future_status::timeout);
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(future.get().status()));
}

}  // namespace
}  // namespace cairn::client
