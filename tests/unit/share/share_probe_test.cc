// Directory shares: probes, figures and state over real directories.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lib/share/share.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/share/fake_mounts.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::FakeMountProgram;
using testing::FakeMountTable;
using testing::FakeSpace;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TempDir;
using ::testing::UnorderedElementsAre;
using testing::WriteFile;

class ShareProbeTest : public ::testing::Test {
 protected:
  std::unique_ptr<Share> MakeShare(const std::string& directory) {
    return std::make_unique<Share>(ShareSpec{"file://" + directory, "", 1}, MountOptions{},
                                   Share::System{&files_, &mount_, &table_});
  }

  TempDir dir_;
  FakeSpace files_;
  FakeMountTable table_;
  FakeMountProgram mount_{&table_};
};

TEST_F(ShareProbeTest, IsNotUsableBeforeTheFirstProbe) {
  auto share = MakeShare(dir_.path());
  EXPECT_EQ(share->status().state, ShareState::kMounting);
  absl::Status usable = share->CheckUsable();
  EXPECT_THAT(usable, HasReasonOf(Reason::kShareUnavailable));
  EXPECT_EQ(GetErrorDetails(usable)->metadata.at("state"), "MOUNTING");
}

TEST_F(ShareProbeTest, DirectoryIsOnlineAfterItsFirstProbe) {
  auto share = MakeShare(dir_.path());
  EXPECT_EQ(share->directory(), dir_.path());
  EXPECT_EQ(share->address(), "file://" + dir_.path());
  ASSERT_OK(share->Probe());
  EXPECT_OK(share->CheckUsable());
  ShareStatus status = share->status();
  EXPECT_EQ(status.state, ShareState::kOnline);
  EXPECT_EQ(status.last_error, "");
  EXPECT_GT(status.capacity.total_bytes, 0);
  EXPECT_GT(status.capacity.available_bytes, 0);
  EXPECT_GT(status.probe_latency, absl::ZeroDuration());
  EXPECT_EQ(status.nfs_version, "");
}

TEST_F(ShareProbeTest, DirectoryIsNeverMounted) {
  auto share = MakeShare(dir_.path());
  ASSERT_OK(share->Probe());
  EXPECT_THAT(mount_.calls(), IsEmpty());
  EXPECT_EQ(table_.reads(), 0);
}

TEST_F(ShareProbeTest, ProbesLeaveNothingButTheLockBehind) {
  auto share = MakeShare(dir_.path());
  for (int i = 0; i < 3; ++i) ASSERT_OK(share->Probe());
  std::vector<std::string> left;
  for (const auto& entry : fs::recursive_directory_iterator(dir_.path())) {
    left.push_back(fs::relative(entry.path(), dir_.path()).string());
  }
  EXPECT_THAT(left, UnorderedElementsAre(".cairn", ".cairn/owner"));
}

TEST_F(ShareProbeTest, WritesOnlyWhenTheShareComesUp) {
  auto share = MakeShare(dir_.path());
  for (int i = 0; i < 3; ++i) ASSERT_OK(share->Probe());
  EXPECT_EQ(files_.calls("Create"), 2);  // the two files of the trial
}

TEST_F(ShareProbeTest, MissingDirectoryIsUnreachableAndIsNotCreated) {
  auto share = MakeShare(dir_.File("absent"));
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kFileNotFound));
  EXPECT_EQ(share->status().state, ShareState::kUnreachable);
  EXPECT_THAT(share->status().last_error, HasSubstr("absent"));
  EXPECT_FALSE(fs::exists(dir_.File("absent")));
}

TEST_F(ShareProbeTest, FileIsNoDirectoryShare) {
  WriteFile(dir_.File("file"), "");
  auto share = MakeShare(dir_.File("file"));
  EXPECT_FALSE(share->Probe().ok());
  EXPECT_EQ(share->status().state, ShareState::kUnreachable);
}

TEST_F(ShareProbeTest, DirectoryMayBeASymbolicLink) {
  fs::create_directory(dir_.File("real"));
  fs::create_directory_symlink(dir_.File("real"), dir_.File("link"));
  auto share = MakeShare(dir_.File("link"));
  EXPECT_OK(share->Probe());
}

TEST_F(ShareProbeTest, DirectoryThatRefusesWritesIsUnreachable) {
  files_.Inject({.call = "Create", .error_number = EROFS});
  auto share = MakeShare(dir_.path());
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareNotWritable));
  EXPECT_EQ(share->status().state, ShareState::kUnreachable);
  EXPECT_THAT(share->status().last_error, HasSubstr("Read-only"));
}

// In a child, since root may write everywhere and rights cannot be taken back.
TEST_F(ShareProbeTest, DirectoryWithoutRightsIsUnreachable) {
  constexpr uid_t kNobody = 65534;
  fs::permissions(dir_.path(), fs::perms{0755});
  fs::create_directory(dir_.File("d"));
  fs::permissions(dir_.File("d"), fs::perms{0555});
  EXPECT_EXIT(
      {
        if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);
        _exit(HasReason(MakeShare(dir_.File("d"))->Probe(), Reason::kShareNotWritable) ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "UNREACHABLE|^$");
}

TEST_F(ShareProbeTest, FullShareIsOnline) {
  files_.Inject({.call = "Create", .error_number = ENOSPC});
  auto share = MakeShare(dir_.path());
  EXPECT_OK(share->Probe());
  EXPECT_OK(share->CheckUsable());
}

TEST_F(ShareProbeTest, HealsByItself) {
  auto share = MakeShare(dir_.File("late"));
  EXPECT_FALSE(share->Probe().ok());
  fs::create_directory(dir_.File("late"));
  EXPECT_OK(share->Probe());
  EXPECT_EQ(share->status().state, ShareState::kOnline);
  EXPECT_EQ(share->status().last_error, "");
}

TEST_F(ShareProbeTest, AnyFailingCallMakesItUnreachableAndTheNextProbeHealsIt) {
  auto share = MakeShare(dir_.path());
  int64_t faults = files_.EnumerateFaults({.call = "*", .error_number = EIO}, [&](int64_t) {
    absl::Status status = share->Probe();
    EXPECT_EQ(status.ok(), !files_.fired());
    EXPECT_EQ(share->CheckUsable().ok(), status.ok());
  });
  EXPECT_GE(faults, 4);  // Stat, Create, Remove, StatFileSystem
}

TEST_F(ShareProbeTest, SinceIsTheTimeOfTheLastChangeOfState) {
  auto share = MakeShare(dir_.path());
  ASSERT_OK(share->Probe());
  absl::Time since = share->status().since;
  ASSERT_OK(share->Probe());
  EXPECT_EQ(share->status().since, since);
  fs::remove_all(dir_.path());
  EXPECT_FALSE(share->Probe().ok());
  EXPECT_GT(share->status().since, since);
}

TEST_F(ShareProbeTest, UnusableShareSaysWhichAndSinceWhenAndWhy) {
  auto share = MakeShare(dir_.File("absent"));
  EXPECT_FALSE(share->Probe().ok());
  absl::Status usable = share->CheckUsable();
  ASSERT_THAT(usable, HasReasonOf(Reason::kShareUnavailable));
  ErrorMetadata metadata = GetErrorDetails(usable)->metadata;
  EXPECT_EQ(metadata.at("share"), share->address());
  EXPECT_THAT(metadata.at("last_error"), HasSubstr("absent"));
  EXPECT_THAT(metadata.at("since"), HasSubstr("T"));
}

// The figures of the original's own suite: stat says (2620544, 2129984), du says 490560.
TEST_F(ShareProbeTest, CapacityIsTotalAvailableAndAllocated) {
  files_.SetSpace(dir_.path(), {.total_bytes = 2620544, .available_bytes = 2129984});
  WriteFile(dir_.File("volume-a"), "");
  fs::resize_file(dir_.File("volume-a"), 490560);
  auto share = MakeShare(dir_.path());
  ASSERT_OK(share->Probe());
  ASSERT_OK(share->MeasureAllocated());
  ShareCapacity capacity = share->status().capacity;
  EXPECT_EQ(capacity.total_bytes, 2620544);
  EXPECT_EQ(capacity.available_bytes, 2129984);
  EXPECT_EQ(capacity.allocated_bytes, 490560);
}

TEST_F(ShareProbeTest, CapacityOfAPathWithSpaces) {
  fs::create_directory(dir_.File("mnt with spaces"));
  WriteFile(dir_.File("mnt with spaces/volume-a"), "12345");
  auto share = MakeShare(dir_.File("mnt with spaces"));
  ASSERT_OK(share->Probe());
  ASSERT_OK(share->MeasureAllocated());
  EXPECT_EQ(share->status().capacity.allocated_bytes, 5);
}

TEST_F(ShareProbeTest, AllocatedIsKeptUpToDateAndNeverNegative) {
  auto share = MakeShare(dir_.path());
  share->AddAllocated(100);
  share->AddAllocated(-30);
  EXPECT_EQ(share->status().capacity.allocated_bytes, 70);
  share->AddAllocated(-1000);
  EXPECT_EQ(share->status().capacity.allocated_bytes, 0);
}

TEST_F(ShareProbeTest, MeasuringCorrectsWhatWasAdded) {
  WriteFile(dir_.File("volume-a"), "12345");
  auto share = MakeShare(dir_.path());
  ASSERT_OK(share->Probe());
  share->AddAllocated(1 << 20);
  ASSERT_OK(share->MeasureAllocated());
  EXPECT_EQ(share->status().capacity.allocated_bytes, 5);
}

TEST_F(ShareProbeTest, ShareThatIsDownIsNotMeasured) {
  auto share = MakeShare(dir_.path());
  share->AddAllocated(100);
  EXPECT_THAT(share->MeasureAllocated(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_EQ(share->status().capacity.allocated_bytes, 100);
}

TEST_F(ShareProbeTest, MeasurementOfALostMountIsThrownAway) {
  WriteFile(dir_.File("volume-a"), "12345");
  auto share = MakeShare(dir_.path());
  ASSERT_OK(share->Probe());
  ASSERT_OK(share->MeasureAllocated());
  WriteFile(dir_.File("volume-b"), "12345");
  files_.SetDeviceShift(1);
  EXPECT_THAT(share->MeasureAllocated(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_EQ(share->status().capacity.allocated_bytes, 5);
}

TEST_F(ShareProbeTest, WhatIsAddedDuringAMeasurementIsNotLost) {
  ShareHealth health("h:/a");
  ShareHealth::Mark mark = health.mark();
  health.AddAllocated(100);
  health.AddAllocated(-40);
  EXPECT_FALSE(health.SetMeasured(mark, 1000, /*force=*/false));
  EXPECT_EQ(health.status().capacity.allocated_bytes, 60);
  EXPECT_TRUE(health.SetMeasured(mark, 1000, /*force=*/true));
  EXPECT_EQ(health.status().capacity.allocated_bytes, 1100);
  EXPECT_TRUE(health.SetMeasured(health.mark(), 1000, /*force=*/false));
  EXPECT_EQ(health.status().capacity.allocated_bytes, 1000);
}

TEST_F(ShareProbeTest, RefreshSeesRoomThatWasTakenSinceTheProbe) {
  files_.SetSpace(dir_.path(), {.total_bytes = 1000, .available_bytes = 900});
  auto share = MakeShare(dir_.path());
  ASSERT_OK(share->Probe());
  files_.SetSpace(dir_.path(), {.total_bytes = 1000, .available_bytes = 400});
  ASSERT_OK(share->RefreshCapacity());
  EXPECT_EQ(share->status().capacity.available_bytes, 400);
}

TEST_F(ShareProbeTest, DrainingShareStaysUsable) {
  auto share = MakeShare(dir_.path());
  share->SetDraining(true);
  EXPECT_EQ(share->status().state, ShareState::kMounting);
  ASSERT_OK(share->Probe());
  EXPECT_EQ(share->status().state, ShareState::kDraining);
  EXPECT_OK(share->CheckUsable());
  share->SetDraining(false);
  EXPECT_EQ(share->status().state, ShareState::kOnline);
}

TEST_F(ShareProbeTest, DrainingShareThatFailsIsShownUnreachable) {
  auto share = MakeShare(dir_.File("absent"));
  share->SetDraining(true);
  EXPECT_FALSE(share->Probe().ok());
  EXPECT_EQ(share->status().state, ShareState::kUnreachable);
  EXPECT_FALSE(share->CheckUsable().ok());
}

TEST_F(ShareProbeTest, ErrorsHoldOneLine) {
  ShareHealth health("h:/a");
  health.SetUnreachable(Error(Reason::kToolFailed, "mount.nfs: line one\nline two\r\n"));
  EXPECT_EQ(health.status().last_error.find_first_of("\r\n"), std::string::npos);
}

TEST(ShareStateTest, HasNames) {
  EXPECT_EQ(ShareStateName(ShareState::kMounting), "MOUNTING");
  EXPECT_EQ(ShareStateName(ShareState::kOnline), "ONLINE");
  EXPECT_EQ(ShareStateName(ShareState::kDegraded), "DEGRADED");
  EXPECT_EQ(ShareStateName(ShareState::kUnreachable), "UNREACHABLE");
  EXPECT_EQ(ShareStateName(ShareState::kDraining), "DRAINING");
}

}  // namespace
}  // namespace cairn
