// Walking chains: what is good is read as qemu-img reads it, what is hostile is refused without
// following it.
#include "lib/chain/chain.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "lib/chain/info_map.h"
#include "tests/support/matchers.h"
#include "tests/support/qemu.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using testing::RunTool;

class ChainTest : public ::testing::Test {
 protected:
  void Make(const std::string& file, const std::string& backing = {},
            const std::string& backing_format = "qcow2", const std::string& size = "1M") {
    std::vector<std::string> argv{"qemu-img", "create", "-q", "-f", "qcow2"};
    if (!backing.empty()) {
      argv.insert(argv.end(), {"-u", "-F", backing_format, "-b", backing});
    }
    argv.insert(argv.end(), {dir_.File(file), size});
    RunTool(argv);
  }
  absl::StatusOr<Chain> Read(const std::string& active,
                             FileFormat base_format = FileFormat::kQcow2) {
    const absl::Time begun = absl::Now();
    auto chain = ReadChain(*FileSystem::Posix(), dir_.path(), id_, active, base_format);
    EXPECT_LT(absl::Now() - begun, absl::Seconds(10));
    return chain;
  }
  std::string Layer(const std::string& suffix) const { return base_ + "." + suffix; }

  testing::TempDir dir_;
  const std::string id_ = NewId();
  const std::string base_ = BaseFileName(id_);
};

TEST_F(ChainTest, IsReadOldestFirst) {
  testing::WriteFile(dir_.File(base_), std::string(1 << 20, '\0'));
  Make(Layer("1"), base_, "raw");
  Make(Layer("2"), Layer("1"), "qcow2", "2M");
  ASSERT_OK_AND_ASSIGN(Chain chain, Read(Layer("2"), FileFormat::kRaw));
  ASSERT_EQ(chain.size(), 3u);
  EXPECT_EQ(chain[0].file, base_);
  EXPECT_EQ(chain[0].image.format, FileFormat::kRaw);
  EXPECT_EQ(chain[1].file, Layer("1"));
  EXPECT_EQ(chain[2].image.virtual_size, 2 << 20);
  EXPECT_EQ(IndexOf(chain, Layer("1")), 1);
  EXPECT_EQ(IndexOf(chain, "volume"), -1);
}

TEST_F(ChainTest, MissingFiles) {
  EXPECT_THAT(Read(base_), HasReasonOf(Reason::kChainCorrupt));
  Make(Layer("1"), base_);
  EXPECT_THAT(Read(Layer("1")), HasReasonOf(Reason::kChainCorrupt));
}

TEST_F(ChainTest, Loops) {
  Make(base_, base_);
  EXPECT_THAT(Read(base_), HasReasonOf(Reason::kChainCorrupt));
  Make(base_, Layer("2"));
  Make(Layer("1"), base_);
  Make(Layer("2"), Layer("1"));
  EXPECT_THAT(Read(Layer("2")), HasReasonOf(Reason::kChainCorrupt));
}

TEST_F(ChainTest, NamesThatLeadElsewhere) {
  for (const std::string& name : {std::string("/etc/passwd"), "../" + base_, "./" + base_,
                                  std::string("json:{}"), "nbd:localhost:1:exportname=" + base_,
                                  BaseFileName(NewId()), base_ + ".info", base_ + ".zzz"}) {
    Make(Layer("1"), name);
    EXPECT_THAT(Read(Layer("1")), HasReasonOf(Reason::kImageUnsafe)) << name;
  }
}

TEST_F(ChainTest, ABaseOfAnotherFormat) {
  Make(base_);
  Make(Layer("1"), base_);
  EXPECT_OK(Read(Layer("1"), FileFormat::kQcow2));
  EXPECT_THAT(Read(Layer("1"), FileFormat::kRaw), HasReasonOf(Reason::kImageMismatch));
}

TEST_F(ChainTest, ALayerWhoseBackingFormatIsNoneOfOurs) {
  Make(base_);
  for (const char* format : {"vmdk", "luks", "host_device"}) {
    Make(Layer("1"), base_, format);
    EXPECT_THAT(Read(Layer("1")), HasReasonOf(Reason::kImageUnsafe)) << format;
  }
}

TEST_F(ChainTest, AFileBelowThatIsLarger) {
  Make(base_, {}, {}, "2M");
  Make(Layer("1"), base_, "qcow2", "1M");
  EXPECT_THAT(Read(Layer("1")), HasReasonOf(Reason::kChainCorrupt));
}

// Bounded, so that a directory of ten thousand such files costs no more.
TEST_F(ChainTest, AChainThatIsTooLong) {
  const auto layer = [this](int i) { return Layer(fmt::format("{:04x}", i)); };
  Make(layer(0), layer(1));
  const std::string header = testing::ReadFile(dir_.File(layer(0)));
  const size_t at = header.find(layer(1));
  ASSERT_NE(at, std::string::npos);
  constexpr int kLength = 1100;
  for (int i = 1; i < kLength; ++i) {
    std::string file = header;
    file.replace(at, layer(1).size(), layer(i + 1));
    testing::WriteFile(dir_.File(layer(i)), file);
  }
  EXPECT_THAT(Read(layer(0)), HasReasonOf(Reason::kChainCorrupt));
}

TEST_F(ChainTest, ListsTheFilesOfOneVolumeOnly) {
  for (const std::string& name : {base_, Layer("1"), Layer("tmp-snap-2"), base_ + ".info",
                                  BaseFileName(NewId()), "." + base_ + ".tmp-x"}) {
    testing::WriteFile(dir_.File(name), "x");
  }
  ASSERT_OK_AND_ASSIGN(auto names, ListChainFiles(*FileSystem::Posix(), dir_.path(), id_));
  EXPECT_EQ(names, (std::vector<std::string>{base_, Layer("1"), Layer("tmp-snap-2")}));
}

}  // namespace
}  // namespace cairn
