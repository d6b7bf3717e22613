#include "cairnctl/exit_code.h"

#include <gtest/gtest.h>

namespace cairn::cairnctl {
namespace {

TEST(ExitCode, IsTheClassOfTheError) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeFor(absl::InternalError("")), 1);
  EXPECT_EQ(ExitCodeFor(absl::UnknownError("")), 1);
  EXPECT_EQ(ExitCodeFor(absl::UnimplementedError("")), 1);
  EXPECT_EQ(ExitCodeFor(absl::InvalidArgumentError("")), 2);
  EXPECT_EQ(ExitCodeFor(absl::NotFoundError("")), 3);
  EXPECT_EQ(ExitCodeFor(absl::AlreadyExistsError("")), 4);
  EXPECT_EQ(ExitCodeFor(absl::FailedPreconditionError("")), 4);
  EXPECT_EQ(ExitCodeFor(absl::AbortedError("")), 4);
  EXPECT_EQ(ExitCodeFor(absl::ResourceExhaustedError("")), 5);
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("")), 6);
  EXPECT_EQ(ExitCodeFor(absl::DeadlineExceededError("")), 6);
  EXPECT_EQ(ExitCodeFor(absl::CancelledError("")), 7);
  EXPECT_EQ(ExitCodeFor(absl::PermissionDeniedError("")), 8);
  EXPECT_EQ(ExitCodeFor(absl::UnauthenticatedError("")), 8);
  EXPECT_EQ(ExitCodeFor(absl::DataLossError("")), 9);
}

}  // namespace
}  // namespace cairn::cairnctl
