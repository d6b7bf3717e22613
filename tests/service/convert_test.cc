// The wire's enums against the core's, and what a reader of changes is told.
#include "server/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/watch_filter.h"
#include "tests/service/fake_engine.h"
#include "tests/support/matchers.h"

namespace cairn {
namespace {

using Event = WatchFilter::Event;

TEST(Convert, EnumsHaveTheSameNamesOnBothSides) {
  for (int i = 0; i <= static_cast<int>(VolumeState::kError); ++i) {
    auto state = static_cast<VolumeState>(i);
    EXPECT_EQ(v1::VolumeState_Name(ToProto(state)),
              "VOLUME_STATE_" + std::string(VolumeStateName(state)));
  }
  for (int i = 0; i <= static_cast<int>(SnapshotState::kError); ++i) {
    auto state = static_cast<SnapshotState>(i);
    EXPECT_EQ(v1::SnapshotState_Name(ToProto(state)),
              "SNAPSHOT_STATE_" + std::string(SnapshotStateName(state)));
  }
  for (int i = 0; i <= static_cast<int>(OperationState::kAbandoned); ++i) {
    auto state = static_cast<OperationState>(i);
    EXPECT_EQ(v1::OperationState_Name(ToProto(state)),
              "OPERATION_STATE_" + std::string(OperationStateName(state)));
  }
  for (int i = 0; i <= static_cast<int>(OperationKind::kMergeLayers); ++i) {
    auto kind = static_cast<OperationKind>(i);
    EXPECT_EQ(v1::OperationKind_Name(ToProto(kind)),
              "OPERATION_KIND_" + std::string(OperationKindName(kind)));
  }
  for (int i = 0; i <= static_cast<int>(VolumeFormat::kRawThick); ++i) {
    auto format = static_cast<VolumeFormat>(i);
    EXPECT_EQ(v1::VolumeFormat_Name(ToProto(format)),
              "VOLUME_FORMAT_" + std::string(VolumeFormatName(format)));
  }
  EXPECT_EQ(ToProto(FileFormat::kRaw), v1::FILE_FORMAT_RAW);
  EXPECT_EQ(ToProto(FileFormat::kQcow2), v1::FILE_FORMAT_QCOW2);
  EXPECT_EQ(ToProto(ShareState::kMounting), v1::SHARE_STATE_MOUNTING);
  EXPECT_EQ(ToProto(ShareState::kOnline), v1::SHARE_STATE_ONLINE);
  EXPECT_EQ(ToProto(ShareState::kDegraded), v1::SHARE_STATE_DEGRADED);
  EXPECT_EQ(ToProto(ShareState::kUnreachable), v1::SHARE_STATE_UNREACHABLE);
  EXPECT_EQ(ToProto(ShareState::kDraining), v1::SHARE_STATE_DRAINING);
}

TEST(ConvertTest, LayersThatNoSnapshotNeedsAreToldOf) {
  VolumeRecord volume;
  EXPECT_EQ(ToProto(volume).surplus_layers_size(), 0);
  volume.surplus_layers = {"volume-v.a", "volume-v.b"};
  const v1::Volume told = ToProto(volume);
  ASSERT_EQ(told.surplus_layers_size(), 2);
  EXPECT_EQ(told.surplus_layers(0), "volume-v.a");
  EXPECT_EQ(told.surplus_layers(1), "volume-v.b");
}

TEST(Convert, TimesKeepTheirNanoseconds) {
  google::protobuf::Timestamp time =
      ToProto(absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(123'456'789));
  EXPECT_EQ(time.seconds(), 1'700'000'000);
  EXPECT_EQ(time.nanos(), 123'456'789);
  google::protobuf::Timestamp early = ToProto(absl::UnixEpoch() - absl::Nanoseconds(1));
  EXPECT_EQ(early.seconds(), -1);
  EXPECT_EQ(early.nanos(), 999'999'999);
  EXPECT_EQ(ToProto(absl::Milliseconds(1500)).nanos(), 500'000'000);
}

TEST(Convert, WaitsAreBounded) {
  google::protobuf::Duration wait;
  EXPECT_EQ(*WaitFrom(false, wait), absl::Seconds(2));
  EXPECT_EQ(*WaitFrom(true, wait), absl::ZeroDuration());
  wait.set_seconds(1'000'000'000'000);
  EXPECT_EQ(*WaitFrom(true, wait), absl::Seconds(60));
  wait.set_seconds(-1);
  EXPECT_THAT(WaitFrom(true, wait), testing::HasReasonOf(Reason::kInvalidField));
}

TEST(Convert, TheEndIsEstimatedFromWhatIsDone) {
  testing::FakeEngine engine(nullptr);  // a running operation has no result to look up
  OperationRecord operation;
  operation.state = OperationState::kRunning;
  operation.create_time = absl::Now();
  operation.start_time = absl::Now() - absl::Seconds(10);
  operation.running_since = MonotonicTime::Now() - absl::Seconds(10);
  operation.done_bytes = 25;
  operation.total_bytes = 100;
  v1::Operation proto = ToProto(operation, engine);
  ASSERT_TRUE(proto.progress().has_estimated_end_time());
  int64_t left = proto.progress().estimated_end_time().seconds() - absl::ToUnixSeconds(absl::Now());
  EXPECT_NEAR(static_cast<double>(left), 30, 2);
  operation.done_bytes = 0;
  EXPECT_FALSE(ToProto(operation, engine).progress().has_estimated_end_time());
}

// ---- what a change is to a reader

VolumeChange Change(int64_t revision, const std::string& name,
                    VolumeState state = VolumeState::kAvailable) {
  auto volume = std::make_shared<VolumeRecord>();
  volume->id = "v";
  volume->name = name;
  volume->state = state;
  volume->revision = revision;
  return {revision, "v", volume};
}
VolumeChange Removal(int64_t revision) { return {revision, "v", nullptr}; }

TEST(WatchFilterTest, FromTheBeginning) {
  ASSERT_OK_AND_ASSIGN(WatchFilter told, WatchFilter::Create("", false));
  EXPECT_EQ(told.Tell(Removal(1)), Event::kNone);
  EXPECT_EQ(told.Tell(Change(2, "a")), Event::kAdded);
  EXPECT_EQ(told.Tell(Change(3, "a")), Event::kChanged);
  EXPECT_EQ(told.Tell(Removal(4)), Event::kRemoved);
  EXPECT_EQ(told.Tell(Change(5, "a")), Event::kAdded);
}

TEST(WatchFilterTest, AListingThatIsNewerThanAChangeHidesIt) {
  ASSERT_OK_AND_ASSIGN(WatchFilter told, WatchFilter::Create("", false));
  told.Listed(*Change(7, "a").volume);
  EXPECT_EQ(told.Tell(Change(6, "a")), Event::kNone);
  EXPECT_EQ(told.Tell(Change(7, "a")), Event::kNone);
  EXPECT_EQ(told.Tell(Change(8, "a")), Event::kChanged);
}

TEST(WatchFilterTest, NothingIsRememberedForAReaderThatHasAllVolumes) {
  ASSERT_OK_AND_ASSIGN(WatchFilter told, WatchFilter::Create("", false));
  told.Listed(*Change(1, "a").volume);
  EXPECT_EQ(told.remembered(), 1u);
  told.CaughtUp();
  EXPECT_EQ(told.remembered(), 0u);
  EXPECT_EQ(told.Tell(Change(2, "b")), Event::kChanged);
  EXPECT_EQ(told.Tell(Removal(3)), Event::kRemoved);
  EXPECT_EQ(told.Tell(Change(4, "a", VolumeState::kCreating)), Event::kAdded);
  EXPECT_EQ(told.Tell(Change(5, "a", VolumeState::kCreating)), Event::kChanged);
  EXPECT_EQ(told.Tell(Change(6, "a")), Event::kChanged);
  EXPECT_EQ(told.remembered(), 0u);
}

TEST(WatchFilterTest, AVolumeThatIsBeingMadeWhenItIsListedIsAddedOnce) {
  ASSERT_OK_AND_ASSIGN(WatchFilter told, WatchFilter::Create("", false));
  told.Listed(*Change(1, "a", VolumeState::kCreating).volume);
  told.CaughtUp();
  EXPECT_EQ(told.Tell(Change(2, "a", VolumeState::kCreating)), Event::kChanged);
}

TEST(WatchFilterTest, AFilterAddsAndRemoves) {
  ASSERT_OK_AND_ASSIGN(WatchFilter told, WatchFilter::Create("name = a", false));
  EXPECT_EQ(told.Tell(Change(1, "b")), Event::kNone);
  EXPECT_EQ(told.Tell(Change(2, "a")), Event::kAdded);
  EXPECT_EQ(told.Tell(Change(3, "b")), Event::kLeft);
  EXPECT_EQ(told.Tell(Change(4, "b")), Event::kNone);
  EXPECT_EQ(told.Tell(Removal(5)), Event::kNone);
}

TEST(WatchFilterTest, AReaderThatResumesMayKnowMoreThanIsKnownHere) {
  ASSERT_OK_AND_ASSIGN(WatchFilter told, WatchFilter::Create("name = a", true));
  EXPECT_EQ(told.Tell(Change(1, "a")), Event::kChanged);
  ASSERT_OK_AND_ASSIGN(told, WatchFilter::Create("name = a", true));
  EXPECT_EQ(told.Tell(Change(1, "a", VolumeState::kCreating)), Event::kAdded);
  ASSERT_OK_AND_ASSIGN(told, WatchFilter::Create("name = a", true));
  EXPECT_EQ(told.Tell(Change(1, "b")), Event::kLeft);
  EXPECT_EQ(told.Tell(Change(2, "b")), Event::kNone);
  EXPECT_EQ(told.Tell(Change(3, "a")), Event::kAdded);
  ASSERT_OK_AND_ASSIGN(told, WatchFilter::Create("", true));
  EXPECT_EQ(told.Tell(Removal(1)), Event::kRemoved);
}

}  // namespace
}  // namespace cairn
