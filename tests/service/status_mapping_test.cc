// Errors on the wire: code, reason, metadata, what is left out.
#include "server/status_mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/status.h"
#include "server/utf8.h"
#include "tests/service/wire_error.h"

namespace cairn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::WireError;

TEST(StatusMapping, OkIsOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_EQ(ToRpcStatus(absl::OkStatus()).code(), 0);
  EXPECT_EQ(ReasonText(absl::OkStatus()), "");
}

TEST(StatusMapping, EveryReasonKeepsItsCodeAndName) {
  for (int i = 0; i <= static_cast<int>(Reason::kToolFailed); ++i) {
    auto reason = static_cast<Reason>(i);
    grpc::Status status = ToGrpcStatus(Error(reason, "what happened", {{"volume", "v"}}));
    EXPECT_EQ(static_cast<int>(status.error_code()), static_cast<int>(ReasonCode(reason)));
    WireError error = WireError::Of(status);
    EXPECT_EQ(error.reason, ReasonName(reason));
    EXPECT_EQ(error.domain, "cairn");
    EXPECT_EQ(error.metadata["volume"], "v");
    EXPECT_EQ(status.error_message(), "what happened");
    EXPECT_EQ(error.message, "what happened");
  }
}

TEST(StatusMapping, AnInvalidFieldIsABadRequest) {
  WireError error =
      WireError::Of(ToGrpcStatus(InvalidField("size_bytes", "must be positive", "-1")));
  EXPECT_EQ(error.field, "size_bytes");
  EXPECT_EQ(error.metadata["field"], "size_bytes");
  EXPECT_EQ(error.metadata["value"], "-1");
  EXPECT_THAT(error.field_description, HasSubstr("must be positive"));
  EXPECT_FALSE(error.retry_seconds.has_value());
}

TEST(StatusMapping, EveryInvalidArgumentThatNamesAFieldIsABadRequest) {
  for (Reason reason : {Reason::kInvalidField, Reason::kInvalidFilter, Reason::kInvalidPageToken,
                        Reason::kChecksumMismatch}) {
    WireError error = WireError::Of(ToGrpcStatus(Error(reason, "no", {{"field", "f"}})));
    EXPECT_EQ(error.field, "f") << ReasonName(reason);
  }
}

TEST(StatusMapping, ControlCharactersAreNotEchoed) {
  WireError error = WireError::Of(ToGrpcStatus(
      InvalidField("name", "is wrong", "a\x1b[31m\u009b1mb\u202e\u2066c\nd\te\x7f\u00e4")));
  EXPECT_EQ(error.metadata["value"], "a?[31m?1mb??c d e?\u00e4");
  EXPECT_THAT(error.message, HasSubstr("a?[31m?1mb??c d e?\u00e4"));
  EXPECT_THAT(error.field_description, HasSubstr("a?[31m?1mb??c d e?\u00e4"));
}

TEST(StatusMapping, RetryInfoStandsWhereWaitingHelps) {
  auto retry = [](Reason reason) {
    return WireError::Of(ToGrpcStatus(Error(reason, ""))).retry_seconds;
  };
  for (Reason reason : {Reason::kShareUnavailable, Reason::kPoolUnavailable, Reason::kShuttingDown,
                        Reason::kStarting, Reason::kTooManyCalls, Reason::kQueueFull}) {
    EXPECT_EQ(retry(reason), 1) << ReasonName(reason);
  }
  EXPECT_EQ(retry(Reason::kWatchTooSlow), 0);
  for (Reason reason : {Reason::kNoSpace, Reason::kRevisionMismatch, Reason::kVolumeInUse}) {
    EXPECT_EQ(retry(reason), std::nullopt) << ReasonName(reason);
  }
}

TEST(StatusMapping, AnErrorWithoutAReasonGetsOneFromItsCode) {
  EXPECT_EQ(WireError::Of(ToGrpcStatus(absl::InternalError("x"))).reason, "INTERNAL");
  EXPECT_EQ(WireError::Of(ToGrpcStatus(absl::CancelledError("x"))).reason, "CANCELLED");
  EXPECT_EQ(WireError::Of(ToGrpcStatus(absl::DeadlineExceededError("x"))).reason, "DEADLINE");
  EXPECT_EQ(WireError::Of(ToGrpcStatus(absl::OutOfRangeError("x"))).reason, "OUT_OF_RANGE");
}

TEST(StatusMapping, PathsOfInternalErrorsStayInside) {
  grpc::Status status = ToGrpcStatus(
      Error(Reason::kToolFailed, "qemu-img: Could not open '/mnt/a/volume-1': see /var/log",
            {{"tool", "qemu-img"}, {"file", "/mnt/a/volume-1"}}));
  EXPECT_EQ(status.error_message(), "qemu-img: Could not open '<path>': see <path>");
  EXPECT_THAT(status.error_details(), Not(HasSubstr("/mnt")));
  EXPECT_EQ(WireError::Of(status).metadata["tool"], "qemu-img");
  // Elsewhere they are what the error is about.
  EXPECT_EQ(ToGrpcStatus(Error(Reason::kPathForbidden, "/etc/passwd")).error_message(),
            "/etc/passwd");
}

TEST(StatusMapping, WhatIsSentFitsIntoHeaders) {
  ErrorMetadata metadata;
  for (int i = 0; i < 100; ++i) metadata["key" + std::to_string(i)] = std::string(1000, 'x');
  grpc::Status status =
      ToGrpcStatus(Error(Reason::kInvalidField, std::string(1 << 20, '%'), metadata));
  // Percent-encoding triples the message, base64 adds a third to the details.
  EXPECT_LE(status.error_message().size() * 3 + status.error_details().size() * 4 / 3, 8000u);
  EXPECT_EQ(WireError::Of(status).reason, "INVALID_FIELD");
}

TEST(StatusMapping, BytesThatAreNoTextDoNotBreakTheMessage) {
  grpc::Status status = ToGrpcStatus(InvalidField("name", "bad\xc3", "\xff\xfe\xc3"));
  WireError error = WireError::Of(status);
  EXPECT_THAT(error.message, HasSubstr("name: bad? (got \"???\")"));
  EXPECT_EQ(ValidUtf8(error.metadata["value"], 100), error.metadata["value"]);
  EXPECT_EQ(error.field, "name");
}

TEST(Utf8, KeepsWhatIsValidAndCutsBetweenCharacters) {
  EXPECT_EQ(ValidUtf8("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 100),
            "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(ValidUtf8("a\xc3\xa4", 2), "a");
  EXPECT_EQ(ValidUtf8("\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xe0\x80\x80", 100), "????????????");
  EXPECT_EQ(ValidUtf8("\xe2\x82", 100), "??");
}

}  // namespace
}  // namespace cairn
