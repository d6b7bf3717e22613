// cairnctl health, against gRPC's own health service.
#include <gmock/gmock.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "cairn/client/uuid.h"
#include "cairn/v1/pool_service.grpc.pb.h"
#include "cairnctl/commands.h"
#include "cairnctl/exit_code.h"

namespace cairn::cairnctl {
namespace {

using ::testing::HasSubstr;

class HealthCommand : public ::testing::Test {
 protected:
  HealthCommand() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    // gRPC answers for the health of a server that has a service, and not of one that has none.
    builder.RegisterService(&pools_);
    server_ = builder.BuildAndStart();
    grpc::EnableDefaultHealthCheckService(false);
    health_ = server_->GetHealthCheckService();
    health_->SetServingStatus("pool/dead", false);
  }
  ~HealthCommand() override {
    server_->Shutdown(std::chrono::system_clock::now());
    std::filesystem::remove(address_.substr(sizeof("unix:") - 1));
  }

  absl::Status Run(const std::string& arguments, const std::string& address) {
    Interrupt interrupt;
    Session session(&interrupt);
    auto app = MakeApp(&session);
    app->parse("health --server " + address + " " + arguments);
    ::testing::internal::CaptureStdout();
    absl::Status status = session.action();
    printed_ = ::testing::internal::GetCapturedStdout();
    return status;
  }
  absl::Status Run(const std::string& arguments) { return Run(arguments, address_); }

  const std::string address_ =
      "unix:" + (std::filesystem::temp_directory_path() / client::NewUuid()).string();
  v1::PoolService::Service pools_;
  std::unique_ptr<grpc::Server> server_;
  grpc::HealthCheckServiceInterface* health_ = nullptr;
  std::string printed_;
};

TEST_F(HealthCommand, SaysThatTheServerServes) {
  EXPECT_TRUE(Run("").ok());
  EXPECT_EQ(printed_, "SERVING\n");
  EXPECT_TRUE(Run("--quiet").ok());
  EXPECT_EQ(printed_, "");
  EXPECT_TRUE(Run("-o json").ok());
  EXPECT_THAT(printed_, HasSubstr("\"status\": \"SERVING\""));
}

TEST_F(HealthCommand, WhatDoesNotServeIsATemporaryError) {
  const absl::Status status = Run("pool/dead");
  EXPECT_EQ(ExitCodeFor(status), 6);
  EXPECT_EQ(status.message(), "\"pool/dead\" is not serving");
  EXPECT_EQ(printed_, "NOT_SERVING\n");
}

TEST_F(HealthCommand, WhatIsNotThereIsNotFound) {
  const absl::Status status = Run("pool/missing");
  EXPECT_EQ(ExitCodeFor(status), 3);
  EXPECT_THAT(std::string(status.message()), HasSubstr("pool/missing"));
}

TEST_F(HealthCommand, AServerThatIsNotThereIsATemporaryError) {
  EXPECT_EQ(ExitCodeFor(Run("--timeout 10s", address_ + "-not-there")), 6);
}

}  // namespace
}  // namespace cairn::cairnctl
