#include "lib/base/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

#include "tests/support/matchers.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;
using ::cairn::testing::StatusIs;

// Every reason: the enumeration has no end marker, and kToolFailed is its last.
constexpr int kReasonCount = static_cast<int>(Reason::kToolFailed) + 1;

TEST(StatusTest, EveryReasonHasItsOwnNameAndRoundTrips) {
  std::set<std::string_view> names;
  for (int i = 0; i < kReasonCount; ++i) {
    Reason reason = static_cast<Reason>(i);
    std::string_view name = ReasonName(reason);
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(ReasonFromName(name), reason) << name;
    EXPECT_NE(ReasonCode(reason), absl::StatusCode::kOk) << name;
  }
  EXPECT_EQ(ReasonFromName(""), std::nullopt);
  EXPECT_EQ(ReasonFromName("volume_not_found"), std::nullopt);
}

TEST(StatusTest, DetailsRoundTrip) {
  for (int i = 0; i < kReasonCount; ++i) {
    Reason reason = static_cast<Reason>(i);
    absl::Status status = Error(reason, "m", {{"volume", "v"}, {"odd", "\"}\n\\"}});
    EXPECT_THAT(status, StatusIs(ReasonCode(reason)));
    auto details = GetErrorDetails(status);
    ASSERT_TRUE(details.has_value());
    EXPECT_EQ(details->reason, reason);
    EXPECT_EQ(details->metadata, (ErrorMetadata{{"volume", "v"}, {"odd", "\"}\n\\"}}));
  }
}

TEST(StatusTest, DetailsSurviveBytesThatAreNotUtf8) {
  absl::Status status = Error(Reason::kIoError, "m", {{"path", "/a\xff"}});
  EXPECT_THAT(status, HasReasonOf(Reason::kIoError));
  EXPECT_EQ(GetErrorDetails(status)->metadata.count("path"), 1u);
}

TEST(StatusTest, OtherStatusesHaveNoDetails) {
  EXPECT_EQ(GetErrorDetails(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(GetErrorDetails(absl::InternalError("x")), std::nullopt);
  EXPECT_FALSE(HasReason(absl::InternalError("x"), Reason::kInternal));
}

TEST(StatusTest, AnnotateKeepsCodeReasonAndMetadata) {
  absl::Status status = Error(Reason::kNoSpace, "full", {{"available", "1"}});
  absl::Status annotated =
      Annotate(status, "creating v", {{"volume", "v"}, {"available", "not this"}});
  EXPECT_THAT(annotated, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(annotated, HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(annotated.message(), "creating v: full");
  EXPECT_EQ(GetErrorDetails(annotated)->metadata,
            (ErrorMetadata{{"available", "1"}, {"volume", "v"}}));
  EXPECT_OK(Annotate(absl::OkStatus(), "x"));
}

TEST(StatusTest, AnnotateWorksOnAStatusWithoutDetails) {
  absl::Status plain = Annotate(absl::UnimplementedError("no"), "clone");
  EXPECT_THAT(plain, StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_EQ(GetErrorDetails(plain), std::nullopt);
  absl::Status with = Annotate(absl::UnimplementedError("no"), "clone", {{"share", "s"}});
  EXPECT_THAT(with, StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_EQ(GetErrorDetails(with)->metadata["share"], "s");
}

TEST(StatusTest, InvalidFieldNamesTheFieldAndBoundsTheEcho) {
  absl::Status status = InvalidField("size", "must be positive", "-1");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(status.message(), "size: must be positive (got \"-1\")");
  EXPECT_LT(InvalidField("id", "is bad", std::string(1 << 20, 'x')).message().size(), 200u);
}

TEST(StatusTest, ErrnoFollowsOurOwnTable) {
  using enum absl::StatusCode;
  const std::pair<int, absl::StatusCode> expected[] = {{ENOENT, kNotFound},
                                                       {EEXIST, kAlreadyExists},
                                                       {ENOSPC, kResourceExhausted},
                                                       {EDQUOT, kResourceExhausted},
                                                       {EFBIG, kFailedPrecondition},
                                                       {EACCES, kFailedPrecondition},
                                                       {EPERM, kFailedPrecondition},
                                                       {EROFS, kFailedPrecondition},
                                                       {ESTALE, kUnavailable},
                                                       {EAGAIN, kUnavailable},
                                                       {ETIMEDOUT, kUnavailable},
                                                       {EHOSTDOWN, kUnavailable},
                                                       {ENOTCONN, kUnavailable},
                                                       {EREMOTEIO, kUnavailable},
                                                       {EIO, kDataLoss},
                                                       {EINVAL, absl::StatusCode::kInternal}};
  for (const auto& [number, code] : expected) {
    absl::Status status = ErrnoError(number, "open /x", {{"path", "/x"}});
    EXPECT_THAT(status, StatusIs(code)) << number;
    EXPECT_EQ(GetErrorDetails(status)->metadata["path"], "/x");
  }
  absl::Status status = ErrnoError(ENOSPC, "write /x");
  EXPECT_EQ(status.message(), "write /x: No space left on device");
  EXPECT_EQ(GetErrorDetails(status)->metadata["errno"], "ENOSPC");
  EXPECT_THAT(ErrnoError(99999, "x"), StatusIs(kInternal));
}

TEST(StatusTest, DescribeSaysEverything) {
  EXPECT_EQ(Describe(absl::OkStatus()), "OK");
  EXPECT_EQ(Describe(Error(Reason::kNoSpace, "full", {{"share", "s"}})),
            "RESOURCE_EXHAUSTED: full [NO_SPACE share=s]");
}

absl::StatusOr<int> Doubled(absl::StatusOr<int> value) {
  ASSIGN_OR_RETURN(int number, value);
  return number * 2;
}

TEST(StatusTest, MacrosPassErrorsOn) {
  ASSERT_OK_AND_ASSIGN(int four, Doubled(2));
  EXPECT_EQ(four, 4);
  EXPECT_THAT(Doubled(Error(Reason::kNoSpace, "full")), HasReasonOf(Reason::kNoSpace));
}

}  // namespace
}  // namespace cairn
