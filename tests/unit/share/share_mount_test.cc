// NFS shares: mounting, against a mount(8) and a mount table that fail on demand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "lib/share/share.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/share/fake_mounts.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::FakeMountProgram;
using testing::FakeMountTable;
using testing::FakeSpace;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::TempDir;

constexpr char kAddress[] = "nfs-host1:/export";
constexpr char kMd5[] = "2f4f60214cf43c595666dd815f0360a4";

class ShareMountTest : public ::testing::Test {
 protected:
  ShareMountTest() {
    options_.mount_point_base = dir_.path();
    options_.attempt_pause = absl::ZeroDuration();
  }

  std::unique_ptr<Share> MakeShare(const std::string& options = "",
                                   const std::string& address = kAddress) {
    return std::make_unique<Share>(ShareSpec{address, options, 1}, options_,
                                   Share::System{&files_, &mount_, &table_});
  }
  std::string MountPoint() const { return dir_.File(kMd5); }
  // mount(8) that ends with 32 and these words, and mounts nothing.
  void MountFails(const std::string& stderr_text = "mount.nfs: Connection refused") {
    mount_.SetBehaviour(
        [stderr_text](const ProcessSpec&) { return FakeMountProgram::Exit(32, stderr_text); });
  }

  TempDir dir_;
  FakeSpace files_;
  FakeMountTable table_;
  FakeMountProgram mount_{&table_};
  MountOptions options_;
};

TEST_F(ShareMountTest, MountsOnTheDirectoryNamedByTheMd5OfItsAddress) {
  auto share = MakeShare();
  EXPECT_EQ(share->directory(), MountPoint());
  ASSERT_OK(share->Probe());
  EXPECT_TRUE(fs::is_directory(MountPoint()));
  ASSERT_THAT(mount_.calls(), SizeIs(1));
  EXPECT_THAT(mount_.calls()[0].argv, ElementsAre("mount", "-t", "nfs", kAddress, MountPoint()));
  EXPECT_EQ(mount_.calls()[0].timeout, options_.attempt_timeout);
}

TEST_F(ShareMountTest, PoolOptionsComeFirstAndTheSharesOwnFollow) {
  options_.nfs_mount_options = "rw,hard";
  auto share = MakeShare("vers=3,soft");
  ASSERT_OK(share->Probe());
  EXPECT_THAT(mount_.calls()[0].argv, ElementsAre("mount", "-t", "nfs", "-o", "rw,hard,vers=3,soft",
                                                  kAddress, MountPoint()));
}

TEST_F(ShareMountTest, OneSideOfOptionsAlone) {
  ASSERT_OK(MakeShare("vers=3")->Probe());
  EXPECT_EQ(mount_.calls()[0].argv[4], "vers=3");
  table_.Clear();
  options_.nfs_mount_options = "hard";
  ASSERT_OK(MakeShare()->Probe());
  EXPECT_EQ(mount_.calls()[1].argv[4], "hard");
}

TEST_F(ShareMountTest, MountedShareIsOnlineWithWhatTheKernelSays) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  ShareStatus status = share->status();
  EXPECT_EQ(status.state, ShareState::kOnline);
  EXPECT_EQ(status.nfs_version, "4.2");
  EXPECT_EQ(status.mount_options, "rw,relatime,vers=4.2,proto=tcp");
}

TEST_F(ShareMountTest, ShareThatIsMountedAlreadyIsTakenOver) {
  fs::create_directory(MountPoint());
  table_.Add(kAddress, MountPoint());
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  EXPECT_THAT(mount_.calls(), IsEmpty());
}

TEST_F(ShareMountTest, KernelShowsSourcesWithoutTrailingSlash) {
  auto share = MakeShare("", "nfs-host1:/export/");
  fs::create_directory(share->directory());
  table_.Add("nfs-host1:/export", share->directory());
  ASSERT_OK(share->Probe());
  EXPECT_THAT(mount_.calls(), IsEmpty());
}

TEST_F(ShareMountTest, SecondProbeDoesNotMountAgain) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  ASSERT_OK(share->Probe());
  EXPECT_THAT(mount_.calls(), SizeIs(1));
}

TEST_F(ShareMountTest, SymbolicLinkInTheBaseIsResolvedAsTheKernelDoes) {
  fs::create_directory(dir_.File("real"));
  fs::create_directory_symlink(dir_.File("real"), dir_.File("link"));
  options_.mount_point_base = dir_.File("link");
  auto share = MakeShare();
  EXPECT_EQ(share->directory(), dir_.File("real") + "/" + kMd5);
  EXPECT_OK(share->Probe());
}

TEST_F(ShareMountTest, BaseThatIsMissingIsCreated) {
  options_.mount_point_base = dir_.File("a/b//mnt");
  auto share = MakeShare();
  EXPECT_OK(share->Probe());
  EXPECT_TRUE(fs::is_directory(dir_.File("a/b/mnt") + "/" + kMd5));
}

TEST_F(ShareMountTest, FailureMakesItUnreachableWithTheReason) {
  MountFails();
  auto share = MakeShare();
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kToolFailed));
  EXPECT_EQ(share->status().state, ShareState::kUnreachable);
  EXPECT_THAT(share->status().last_error, HasSubstr("Connection refused"));
  EXPECT_THAT(share->CheckUsable(), HasReasonOf(Reason::kShareUnavailable));
}

TEST_F(ShareMountTest, AttemptsAreExactlyAsManyAsConfigured) {
  MountFails();
  options_.attempts = 5;
  EXPECT_FALSE(MakeShare()->Probe().ok());
  EXPECT_THAT(mount_.calls(), SizeIs(5));
}

TEST_F(ShareMountTest, ZeroOrFewerAttemptsAreOne) {
  MountFails();
  options_.attempts = 0;
  EXPECT_FALSE(MakeShare()->Probe().ok());
  EXPECT_THAT(mount_.calls(), SizeIs(1));
  options_.attempts = -7;
  EXPECT_FALSE(MakeShare()->Probe().ok());
  EXPECT_THAT(mount_.calls(), SizeIs(2));
}

TEST_F(ShareMountTest, LaterAttemptMaySucceed) {
  int calls = 0;
  mount_.SetBehaviour([&](const ProcessSpec& spec) {
    if (++calls < 3) return FakeMountProgram::Exit(32, "mount.nfs: Connection timed out");
    table_.Add(kAddress, spec.argv.back());
    return FakeMountProgram::Exit(0);
  });
  auto share = MakeShare();
  EXPECT_OK(share->Probe());
  EXPECT_EQ(calls, 3);
}

TEST_F(ShareMountTest, PausesBetweenAttempts) {
  MountFails();
  options_.attempts = 3;
  options_.attempt_pause = absl::Milliseconds(50);
  absl::Time begun = absl::Now();
  EXPECT_FALSE(MakeShare()->Probe().ok());
  EXPECT_GE(absl::Now() - begun, absl::Milliseconds(100));
}

TEST_F(ShareMountTest, AttemptThatTimesOutIsOneOfTheAttempts) {
  options_.attempts = 2;
  mount_.SetBehaviour([](const ProcessSpec&) -> absl::StatusOr<ProcessResult> {
    return Error(Reason::kDeadline, "mount took longer than 30s");
  });
  auto share = MakeShare();
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kDeadline));
  EXPECT_THAT(mount_.calls(), SizeIs(2));
}

TEST_F(ShareMountTest, AlreadyMountedIsSuccessWhenTheTableShowsIt) {
  mount_.SetBehaviour([&](const ProcessSpec& spec) {
    table_.Add(kAddress, spec.argv.back());
    return FakeMountProgram::Exit(32, "mount.nfs: /mnt is already mounted");
  });
  EXPECT_OK(MakeShare()->Probe());
}

TEST_F(ShareMountTest, AlreadyMountedIsAFailureWhenTheTableDoesNotShowIt) {
  MountFails("mount.nfs: /mnt is busy or already mounted");
  EXPECT_THAT(MakeShare()->Probe(), HasReasonOf(Reason::kToolFailed));
}

TEST_F(ShareMountTest, SuccessThatTheTableDoesNotShowIsAFailure) {
  mount_.SetBehaviour([](const ProcessSpec&) { return FakeMountProgram::Exit(0); });
  auto share = MakeShare();
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_FALSE(share->CheckUsable().ok());
}

TEST_F(ShareMountTest, AnotherMountOnTheMountPointIsNeverTakenForTheShare) {
  fs::create_directory(MountPoint());
  table_.Add("other-host:/export", MountPoint());
  auto share = MakeShare();
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_THAT(share->status().last_error, HasSubstr("other-host:/export"));
  EXPECT_THAT(mount_.calls(), IsEmpty());
}

TEST_F(ShareMountTest, MountOfAnotherTypeIsNeverTakenForTheShare) {
  fs::create_directory(MountPoint());
  table_.Add(kAddress, MountPoint(), "tmpfs");
  EXPECT_THAT(MakeShare()->Probe(), HasReasonOf(Reason::kShareUnavailable));
}

TEST_F(ShareMountTest, NothingIsWrittenIntoABareMountPoint) {
  MountFails();
  EXPECT_FALSE(MakeShare()->Probe().ok());
  EXPECT_TRUE(fs::is_empty(MountPoint()));
  EXPECT_EQ(files_.calls("Create"), 0);
}

TEST_F(ShareMountTest, MissingHelperNamesThePackageAndIsNotTriedAgain) {
  MountFails(
      "mount: /mnt: bad option; for several filesystems (e.g. nfs, cifs) you might need a "
      "/sbin/mount.<type> helper program.");
  absl::Status status = MakeShare()->Probe();
  EXPECT_THAT(status, HasReasonOf(Reason::kToolMissing));
  EXPECT_EQ(GetErrorDetails(status)->metadata.at("package"), "nfs-common");
  EXPECT_THAT(mount_.calls(), SizeIs(1));
}

TEST_F(ShareMountTest, LostMountIsRestored) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  table_.Clear();
  ASSERT_OK(share->Probe());
  EXPECT_THAT(mount_.calls(), SizeIs(2));
  EXPECT_EQ(share->status().state, ShareState::kOnline);
}

TEST_F(ShareMountTest, LostMountIsNotUsableWhileItIsRestored) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  table_.Clear();
  ShareState during = ShareState::kOnline;
  mount_.SetBehaviour([&](const ProcessSpec& spec) {
    during = share->status().state;
    EXPECT_FALSE(share->CheckUsable().ok());
    table_.Add(kAddress, spec.argv.back());
    return FakeMountProgram::Exit(0);
  });
  ASSERT_OK(share->Probe());
  EXPECT_EQ(during, ShareState::kMounting);
}

TEST_F(ShareMountTest, DeadShareKeepsItsStateFromProbeToProbe) {
  MountFails();
  auto share = MakeShare();
  EXPECT_FALSE(share->Probe().ok());
  absl::Time since = share->status().since;
  EXPECT_FALSE(share->Probe().ok());
  EXPECT_EQ(share->status().since, since);
}

TEST_F(ShareMountTest, ChangedOptionsHoldFromTheNextMountOn) {
  auto share = MakeShare("vers=3");
  ASSERT_OK(share->Probe());
  const ShareSpec& before = share->spec();
  share->SetSpec({kAddress, "vers=4.2", 7});
  EXPECT_EQ(share->spec().mount_options, "vers=4.2");
  EXPECT_EQ(before.mount_options, "vers=3");
  ASSERT_OK(share->Probe());
  EXPECT_THAT(mount_.calls(), SizeIs(1));
  table_.Clear();
  ASSERT_OK(share->Probe());
  EXPECT_EQ(mount_.calls()[1].argv[4], "vers=4.2");
}

TEST_F(ShareMountTest, ProbeBesideARunningOneReturnsAtOnce) {
  auto share = MakeShare();
  int nested = 0;
  mount_.SetBehaviour([&](const ProcessSpec& spec) {
    ++nested;
    EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareUnavailable));
    table_.Add(kAddress, spec.argv.back());
    return FakeMountProgram::Exit(0);
  });
  EXPECT_OK(share->Probe());
  EXPECT_EQ(nested, 1);
}

TEST_F(ShareMountTest, ShutdownEndsThePauseBetweenAttempts) {
  MountFails();
  options_.attempt_pause = absl::Minutes(10);
  auto share = MakeShare();
  std::thread probe([&] { EXPECT_FALSE(share->Probe().ok()); });
  while (mount_.calls().empty()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_TRUE(share->Shutdown(absl::Seconds(10)));
  probe.join();
  EXPECT_THAT(mount_.calls(), SizeIs(1));
  EXPECT_TRUE(mount_.calls()[0].cancel.cancelled());
}

TEST(MergeMountOptionsTest, TheSharesOwnComeLastAndTakeThePlaceOfThePools) {
  EXPECT_EQ(MergeMountOptions("", ""), "");
  EXPECT_EQ(MergeMountOptions("hard", ""), "hard");
  EXPECT_EQ(MergeMountOptions("", "vers=3"), "vers=3");
  EXPECT_EQ(MergeMountOptions("rw,hard", "vers=3,soft"), "rw,hard,vers=3,soft");
  EXPECT_EQ(MergeMountOptions("vers=4.2,hard,rsize=65536", "nfsvers=3,rsize=4096"),
            "hard,nfsvers=3,rsize=4096");
  EXPECT_EQ(MergeMountOptions("vers=4,minorversion=2", "v3"), "v3");
  EXPECT_EQ(MergeMountOptions("vers=4.2", "vers=3"), "vers=3");
  EXPECT_EQ(MergeMountOptions(",,hard,", "ro"), "hard,ro");
}

TEST(NfsVersionTest, IsReadFromTheMountOptions) {
  EXPECT_EQ(NfsVersionOf("rw,vers=4.2,hard"), "4.2");
  EXPECT_EQ(NfsVersionOf("vers=3"), "3");
  EXPECT_EQ(NfsVersionOf("rw,mountvers=3"), "");
  EXPECT_EQ(NfsVersionOf(""), "");
}

}  // namespace
}  // namespace cairn
