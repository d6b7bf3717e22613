// How calls end when things go wrong, and how the server starts and stops.
#include <gmock/gmock.h>
#include <google/protobuf/message.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <future>
#include <thread>

#include "tests/service/fake_server.h"
#include "tests/service/health_client.h"
#include "tests/service/wire_error.h"

namespace cairn::testing {
namespace {

using ::testing::HasSubstr;

class LifecycleTest : public FakeServerTest {
 protected:
  // Waits for something that happens on other threads.
  static bool Soon(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(10));
    }
    return false;
  }
};

TEST_F(LifecycleTest, BeforeTheEngineHasStartedHealthSaysSoAndCallsAreUnavailable) {
  std::promise<void> go;
  TestServer server(config_, [&](const EngineOptions&) -> absl::StatusOr<std::unique_ptr<Engine>> {
    go.get_future().wait();
    return std::move(owned_);
  });
  ASSERT_OK(server.listen_status());
  auto volumes = v1::VolumeService::NewStub(server.channel());
  EXPECT_EQ(CheckHealth(server.channel(), ""), "NOT_SERVING");
  EXPECT_EQ(CheckHealth(server.channel(), "cairn.v1.VolumeService"), "NOT_SERVING");
  EXPECT_EQ(CheckHealth(server.channel(), "pool/default"), "NOT_SERVING");
  v1::ListVolumesResponse response;
  grpc::Status status = CALL(volumes, ListVolumes, v1::ListVolumesRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status, FailsWith("STARTING"));
  EXPECT_EQ(WireError::Of(status).retry_seconds, 1);
  EXPECT_EQ(server.server().start_status(), std::nullopt);
  go.set_value();
  EXPECT_OK(server.server().AwaitStart());
  EXPECT_EQ(CheckHealth(server.channel(), ""), "SERVING");
  for (const char* service : {"Volume", "Snapshot", "Pool", "Operation"}) {
    EXPECT_EQ(CheckHealth(server.channel(), std::string("cairn.v1.") + service + "Service"),
              "SERVING");
  }
  EXPECT_THAT(CALL(volumes, ListVolumes, v1::ListVolumesRequest(), &response), Succeeds());
}

TEST_F(LifecycleTest, APoolWithoutAShareIsNotServing) {
  Start();
  EXPECT_EQ(CheckHealth(server_->channel(), "pool/default"), "SERVING");
  EXPECT_EQ(CheckHealth(server_->channel(), "pool/other"), "NOT_FOUND");
  EXPECT_EQ(CheckHealth(server_->channel(), "share/host:/export"), "SERVING");
  engine_->usable = false;
  EXPECT_TRUE(
      Soon([&] { return CheckHealth(server_->channel(), "pool/default") == "NOT_SERVING"; }));
  EXPECT_EQ(CheckHealth(server_->channel(), "share/host:/export"), "NOT_SERVING");
  EXPECT_EQ(CheckHealth(server_->channel(), ""), "SERVING");
  engine_->usable = true;
  EXPECT_TRUE(Soon([&] { return CheckHealth(server_->channel(), "pool/default") == "SERVING"; }));
}

TEST_F(LifecycleTest, AnEngineThatCannotStartIsToldAndTheServerCanBeEnded) {
  TestServer server(config_, [](const EngineOptions&) -> absl::StatusOr<std::unique_ptr<Engine>> {
    return Error(Reason::kShareOwned, "another server works here");
  });
  EXPECT_THAT(server.server().AwaitStart(), HasReasonOf(Reason::kShareOwned));
  EXPECT_EQ(CheckHealth(server.channel(), ""), "NOT_SERVING");
}

TEST_F(LifecycleTest, ADeadlineEndsACallThatTheEngineNeverAnswers) {
  OperationCallback late;
  engine_->submit = [&](Request, Caller, OperationCallback done) { late = std::move(done); };
  Start();
  EXPECT_EQ(Extend(absl::Milliseconds(200)).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Soon([&] { return server_->server().calls_in_hand() == 0; }));
  // Comes too late and hurts nobody.
  late(RunningOperation());
  late = nullptr;
}

TEST_F(LifecycleTest, AHeldReplyComesBeforeTheDeadline) {
  OperationPtr operation = RunningOperation();
  std::thread timer;
  engine_->submit = [&](Request, Caller, OperationCallback done) { done(operation); };
  engine_->wait = [&](const std::string& id, MonotonicTime until, OperationCallback done) {
    EXPECT_EQ(id, operation->id);
    timer = std::thread([until, done, operation] {
      absl::SleepFor(until - MonotonicTime::Now());
      done(operation);
    });
    return Engine::Subscription{1};
  };
  Start();
  v1::ExtendVolumeResponse response;
  EXPECT_THAT(Extend(absl::Seconds(3), absl::Seconds(60), &response), Succeeds());
  timer.join();
  EXPECT_EQ(response.operation().id(), operation->id);
  EXPECT_EQ(response.operation().state(), v1::OPERATION_STATE_RUNNING);
  EXPECT_EQ(engine_->stopped_waiting, 0);
}

TEST_F(LifecycleTest, AnOperationThatFailedIsAnAnswer) {
  auto failed = std::make_shared<OperationRecord>(*RunningOperation());
  failed->state = OperationState::kFailed;
  failed->error = Error(Reason::kNoSpace, "full", {{"share", "s"}});
  engine_->submit = [&](Request, Caller, OperationCallback done) { done(OperationPtr(failed)); };
  Start();
  v1::ExtendVolumeResponse response;
  EXPECT_THAT(Extend(absl::Seconds(5), absl::Seconds(2), &response), Succeeds());
  EXPECT_EQ(response.operation().state(), v1::OPERATION_STATE_FAILED);
  WireError error = WireError::Of(response.operation().error());
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.reason, "NO_SPACE");
  EXPECT_EQ(error.metadata["share"], "s");
}

TEST_F(LifecycleTest, ACallerThatIsGoneIsNotWaitedFor) {
  engine_->submit = [&](Request, Caller, OperationCallback done) { done(RunningOperation()); };
  engine_->wait = [&](const std::string&, MonotonicTime, const OperationCallback&) {
    return Engine::Subscription{7};
  };
  Start();
  grpc::ClientContext context;
  std::thread canceller([&] {
    Soon([&] { return server_->server().calls_in_hand() == 1; });
    context.TryCancel();
  });
  v1::ExtendVolumeRequest request;
  request.set_volume_id(NewId());
  request.mutable_wait()->set_seconds(60);
  v1::ExtendVolumeResponse response;
  EXPECT_EQ(volumes_->ExtendVolume(&context, request, &response).error_code(),
            grpc::StatusCode::CANCELLED);
  canceller.join();
  EXPECT_TRUE(Soon([&] { return engine_->stopped_waiting == 1; }));
}

TEST_F(LifecycleTest, CallsBeyondTheLimitAreRefusedAndHealthStillAnswers) {
  config_.max_active_calls = 2;
  engine_->submit = [](Request, Caller, const OperationCallback&) {};
  Start();
  std::vector<std::thread> stuck;
  for (int i = 0; i < 2; ++i) stuck.emplace_back([this] { Extend(absl::Seconds(2)); });
  ASSERT_TRUE(Soon([&] { return server_->server().calls_in_hand() == 2; }));
  grpc::Status status = Extend(absl::Seconds(2));
  EXPECT_THAT(status, FailsWith("TOO_MANY_CALLS"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(WireError::Of(status).retry_seconds, 1);
  EXPECT_EQ(CheckHealth(server_->channel(), ""), "SERVING");
  for (std::thread& thread : stuck) thread.join();
  EXPECT_TRUE(Soon([&] { return server_->server().calls_in_hand() == 0; }));
}

TEST_F(LifecycleTest, StopEndsACallThatIsStuck) {
  engine_->submit = [](Request, Caller, const OperationCallback&) {};
  std::atomic<int> grace_seconds{-1};
  engine_->stop = [&](absl::Duration grace) {
    grace_seconds = static_cast<int>(absl::ToInt64Seconds(grace));
  };
  Start();
  grpc::Status status;
  std::thread stuck([&] { status = Extend(absl::Seconds(60)); });
  ASSERT_TRUE(Soon([&] { return server_->server().calls_in_hand() == 1; }));
  absl::Time before = absl::Now();
  server_->server().Stop();
  EXPECT_LT(absl::Now() - before, absl::Seconds(5));
  stuck.join();
  EXPECT_THAT(status, FailsWith("SHUTTING_DOWN"));
  EXPECT_EQ(grace_seconds, 1);
}

TEST_F(LifecycleTest, WhileTheServerStopsHealthSaysSo) {
  std::promise<void> stopping;
  std::promise<void> go;
  engine_->stop = [&](absl::Duration) {
    stopping.set_value();
    go.get_future().wait();
  };
  Start();
  std::thread stopper([&] { server_->server().Stop(); });
  stopping.get_future().wait();
  EXPECT_EQ(CheckHealth(server_->channel(), ""), "NOT_SERVING");
  v1::ListVolumesResponse response;
  EXPECT_THAT(CALL(volumes_, ListVolumes, v1::ListVolumesRequest(), &response), Succeeds());
  go.set_value();
  stopper.join();
}

TEST_F(LifecycleTest, AnAddressInUseIsSaid) {
  Start();
  ServerConfig second = config_;
  second.listen = server_->server().addresses();
  TestServer other(second, [](const EngineOptions&) -> absl::StatusOr<std::unique_ptr<Engine>> {
    return absl::InternalError("never asked");
  });
  EXPECT_THAT(Describe(other.listen_status()),
              HasSubstr("cannot listen on " + second.listen[0] + ": Address already in use"));
}

TEST_F(LifecycleTest, ASocketThatNobodyServesIsReplacedAndOneInUseIsNot) {
  std::string path = dir_.File("socket");
  config_.listen = {"unix:" + path};
  {
    // What a killed server leaves behind.
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    close(fd);
  }
  Start();
  EXPECT_EQ(CheckHealth(server_->channel(), ""), "SERVING");
  auto never = [](const EngineOptions&) -> absl::StatusOr<std::unique_ptr<Engine>> {
    return absl::InternalError("never asked");
  };
  EXPECT_THAT(Describe(TestServer(config_, never).listen_status()),
              HasSubstr(path + ": another process serves this socket"));
  EXPECT_EQ(CheckHealth(server_->channel(), ""), "SERVING");
  server_.reset();
  WriteFile(path, "precious");
  EXPECT_THAT(Describe(TestServer(config_, never).listen_status()), HasSubstr("is no socket"));
  EXPECT_EQ(ReadFile(path), "precious");
}

}  // namespace
}  // namespace cairn::testing
