#include "cairn/client/errors.h"

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "tests/client/faulty_server.h"

namespace cairn::client {
namespace {

TEST(Errors, KeepCodeMessageAndDetails) {
  const absl::Status status = StatusFromGrpc(testing::Fault(
      grpc::StatusCode::FAILED_PRECONDITION, "VOLUME_IN_USE", {{"instance", "vm-7"}}));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(status.message(), "fault: VOLUME_IN_USE");
  EXPECT_EQ(GetReason(status), "VOLUME_IN_USE");
  const auto details = GetErrorDetails(status);
  ASSERT_TRUE(details.has_value());
  EXPECT_EQ(details->domain, "cairn");
  EXPECT_EQ(details->metadata.at("instance"), "vm-7");
  EXPECT_FALSE(details->retry_delay.has_value());
}

TEST(Errors, WithoutDetailsHaveNoReason) {
  const absl::Status status =
      StatusFromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "refused"));
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(GetReason(status), "");
  EXPECT_FALSE(GetErrorDetails(status).has_value());
  EXPECT_TRUE(StatusFromGrpc(grpc::Status::OK).ok());
}

TEST(Errors, BrokenDetailsDoNotHideTheError) {
  const absl::Status status =
      StatusFromGrpc(grpc::Status(grpc::StatusCode::NOT_FOUND, "gone", "\xff\xff\xff"));
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(status.message(), "gone");
}

TEST(Errors, AnnotateKeepsDetails) {
  const absl::Status status =
      Annotate(StatusFromGrpc(testing::Fault(grpc::StatusCode::ABORTED, "QUEUE_FULL")), "here");
  EXPECT_EQ(status.message(), "here: fault: QUEUE_FULL");
  EXPECT_EQ(GetReason(status), "QUEUE_FULL");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "here").ok());
}

TEST(Errors, AFailedOperationBecomesItsError) {
  v1::Operation operation;
  operation.set_state(v1::OPERATION_STATE_FAILED);
  operation.mutable_error()->set_code(8);
  operation.mutable_error()->set_message("full");
  google::rpc::ErrorInfo info;
  info.set_reason("NO_SPACE");
  operation.mutable_error()->add_details()->PackFrom(info);
  const auto result = ToResult(operation);
  EXPECT_TRUE(absl::IsResourceExhausted(result.status()));
  EXPECT_EQ(GetReason(result.status()), "NO_SPACE");
  operation.set_state(v1::OPERATION_STATE_CANCELLED);
  operation.clear_error();
  EXPECT_TRUE(absl::IsCancelled(ToResult(operation).status()));
  operation.set_state(v1::OPERATION_STATE_RUNNING);
  EXPECT_FALSE(ToResult(operation).ok());
  operation.set_state(v1::OPERATION_STATE_SUCCEEDED);
  EXPECT_TRUE(ToResult(operation).ok());
}

TEST(Uuid, IsRandomAndWellFormed) {
  const std::string one = NewUuid();
  EXPECT_TRUE(IsUuid(one)) << one;
  EXPECT_EQ(one[14], '4');
  EXPECT_NE(one, NewUuid());
  EXPECT_FALSE(IsUuid(""));
  EXPECT_FALSE(IsUuid("../x"));
  EXPECT_FALSE(IsUuid(one + "0"));
  EXPECT_FALSE(IsUuid("0123456789abcdef0123456789abcdef0123"));
}

}  // namespace
}  // namespace cairn::client
