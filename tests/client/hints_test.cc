#include "cairnctl/hints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cairn/client/errors.h"
#include "tests/client/faulty_server.h"

namespace cairn::cairnctl {
namespace {

using client::testing::Fault;

TEST(Hints, NameWhatTheErrorIsAbout) {
  const absl::Status error =
      client::StatusFromGrpc(Fault(grpc::StatusCode::FAILED_PRECONDITION, "VOLUME_HAS_SNAPSHOTS",
                                   {{"volume", "v1"}, {"snapshots", "s1,s2"}}));
  EXPECT_EQ(DescribeError(error),
            "cairnctl: fault: VOLUME_HAS_SNAPSHOTS\n"
            "  reason: VOLUME_HAS_SNAPSHOTS snapshots=s1,s2 volume=v1\n"
            "  next:   delete them first (cairnctl snapshot list --volume v1), or all at once with "
            "--cascade\n");
}

TEST(Hints, HaveNoGaps) {
  const absl::Status error =
      client::StatusFromGrpc(Fault(grpc::StatusCode::FAILED_PRECONDITION, "VOLUME_IN_USE"));
  EXPECT_EQ(HintFor(error), "");
}

TEST(Hints, NameTheCommandThatWasGiven) {
  const absl::Status error =
      client::StatusFromGrpc(Fault(grpc::StatusCode::INVALID_ARGUMENT, "INVALID_FILTER"));
  EXPECT_THAT(HintFor(error, "operation list"),
              ::testing::HasSubstr("cairnctl operation list --help"));
  EXPECT_EQ(HintFor(error), "");
}

TEST(Hints, DoNotGuessWhatIsUnsafe) {
  const absl::Status error = client::StatusFromGrpc(
      Fault(grpc::StatusCode::FAILED_PRECONDITION, "IMAGE_UNSAFE", {{"file", "volume-1"}}));
  // It may be encrypted as well as lead outside its chain.
  EXPECT_THAT(HintFor(error), ::testing::HasSubstr("volume-1"));
  EXPECT_THAT(HintFor(error), ::testing::Not(::testing::HasSubstr("outside")));
}

TEST(Hints, SayWhatToDoWithoutAServer) {
  EXPECT_THAT(HintFor(absl::UnavailableError("refused")), ::testing::HasSubstr("--server"));
  EXPECT_EQ(HintFor(absl::NotFoundError("no volume")), "");
}

}  // namespace
}  // namespace cairn::cairnctl
