// What is said when nobody answers: a libvirtd that has stopped, died, or is not there.
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "tests/unit/hypervisor/libvirt_fixture.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LibvirtOutageTest : public LibvirtTest {
 protected:
  void SetUp() override {
    MakeBase("base");
    StartMachine({{Path("base")}});
  }
};

TEST_F(LibvirtOutageTest, ADaemonThatHangsIsUnavailableWithinTheLimit) {
  HypervisorOptions options;
  options.connect_timeout = absl::Seconds(1);
  options.answer_timeout = absl::Milliseconds(1500);
  auto hypervisor = Connect(options);
  ASSERT_THAT(Files(*hypervisor, kVda), ElementsAre("base"));
  MakeLayer("layer", "base");

  libvirtd_->Signal(SIGSTOP);
  absl::Time start = absl::Now();
  absl::Status status =
      hypervisor->SwitchToLayers({{kVda, {"layer", "base", FileFormat::kQcow2, false}}});
  absl::Duration took = absl::Now() - start;
  start = absl::Now();
  absl::Status connecting = ConnectLibvirt(Address(), options).status();
  absl::Duration connecting_took = absl::Now() - start;
  libvirtd_->Signal(SIGCONT);

  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_FALSE(IsGone(status)) << Describe(status);
  EXPECT_THAT(std::string(status.message()), HasSubstr(libvirtd_->uri()));
  EXPECT_LT(took, absl::Seconds(4));
  EXPECT_THAT(connecting, HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_LT(connecting_took, absl::Seconds(4));

  // The connection is of no use any more, a new one is.
  EXPECT_THAT(hypervisor->Look(kVda), HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_THAT(Files(*Connect(), kVda), ElementsAre("base"));
}

TEST_F(LibvirtOutageTest, ADaemonThatDiedIsUnavailableAndItsSuccessorKnowsTheMachine) {
  auto hypervisor = Connect();
  SwitchTo(*hypervisor, "layer", "base");
  libvirtd_->Signal(SIGKILL);
  absl::Status status = hypervisor->Look(kVda).status();
  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_FALSE(IsGone(status)) << Describe(status);
  status = ConnectLibvirt(Address(), {}).status();
  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_FALSE(IsGone(status)) << Describe(status);

  ASSERT_TRUE(libvirtd_->Start());
  hypervisor = Connect();
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("layer", "base"));
  SwitchTo(*hypervisor, "layer-2", "layer");
  const LayerMerge merge{MergeDirection::kCommit, "layer", "base", "layer-2", "base",
                         FileFormat::kQcow2};
  ASSERT_OK_AND_ASSIGN(JobState job, hypervisor->Merge(kVda, merge, "job-1", kLong));
  EXPECT_EQ(job.phase, JobState::Phase::kDone);
  ExpectBacking("layer-2", "base", FileFormat::kQcow2);
}

TEST_F(LibvirtOutageTest, AMachineThatWasKilledIsGone) {
  auto hypervisor = Connect();
  kill(machine_->pid(), SIGKILL);
  ExpectGoneSoon([&] { return hypervisor->Look(kVda).status(); });
}

TEST_F(LibvirtOutageTest, ADomainThatIsNotDefinedIsGone) {
  HypervisorAddress address = Address();
  address.domain = "nobody";
  ASSERT_OK_AND_ASSIGN(auto hypervisor, ConnectLibvirt(address, {}));
  absl::Status status = hypervisor->Look(kVda).status();
  EXPECT_TRUE(IsGone(status)) << Describe(status);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nobody"));
}

TEST_F(LibvirtOutageTest, NobodyAnswersAtAWrongAddress) {
  HypervisorAddress address = Address();
  address.address = "qemu+unix:///system?socket=" + Path("nothing");
  absl::Status status = ConnectLibvirt(address, {}).status();
  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_FALSE(IsGone(status)) << Describe(status);
  EXPECT_THAT(std::string(status.message()), HasSubstr(address.address));
  EXPECT_THAT(std::string(status.message()), HasSubstr("No such file"));
}

}  // namespace
}  // namespace cairn::testing
