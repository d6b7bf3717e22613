#include "tests/unit/hypervisor/libvirt_fixture.h"

namespace cairn::testing {
namespace {

class LibvirtEnvironment : public ::testing::Environment {
 public:
  void SetUp() override {
    libvirtd_ = std::make_unique<LibvirtDaemon>();
    ASSERT_TRUE(libvirtd_->Start());
  }
  void TearDown() override { libvirtd_.reset(); }
  LibvirtDaemon* libvirtd() const { return libvirtd_.get(); }

 private:
  std::unique_ptr<LibvirtDaemon> libvirtd_;
};

// GoogleTest owns it.
auto* const kEnvironment =
    static_cast<LibvirtEnvironment*>(::testing::AddGlobalTestEnvironment(new LibvirtEnvironment));

}  // namespace

LibvirtDaemon* TheLibvirtd() { return kEnvironment->libvirtd(); }

}  // namespace cairn::testing
