// Steps that are done again. Those that write a qcow2 file in place, after they were cut short at each of
// their changes: the file is whole, and no cluster is counted that nothing uses. One that made a new file:
// what was written into it since is there.
#include <fmt/format.h>

#include <filesystem>

#include "lib/base/size.h"
#include "lib/chain/step_runner.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/qemu.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {
namespace {

constexpr int64_t kImageBytes = 4 * kMiB;

class StepAgainTest : public ::testing::Test {
 protected:
  StepAgainTest() {
    context_.tool = tool_.get();
    context_.directory_of = [this](const std::string&) -> absl::StatusOr<std::string> {
      return dir_.File("share");
    };
    std::filesystem::create_directory(dir_.File("share"));
  }
  std::string Path(const std::string& file) const { return dir_.File("share/" + file); }
  void Make(const std::string& file, const std::string& below = "") {
    CreateImageOptions options;
    options.size_bytes = kImageBytes;
    options.preallocate_metadata = false;
    options.backing_file = below;
    options.backing_format = below.empty() ? "" : "qcow2";
    ASSERT_OK(
        CreateImage(*FileSystem::Posix(), dir_.File("share"), file, "temporary", options, {}, {}));
  }

  // Returns at how many instants cut short the file had clusters that nothing used.
  int CutShortEverywhere(const Step& step, const std::string& changed) {
    std::filesystem::copy_file(Path(changed), dir_.File("before"));
    int leaks = 0;
    FaultyFileSystem files(FileSystem::Posix());
    files.EnumerateFaults({.error_number = EIO, .from_then_on = true}, [&](int64_t nth) {
      SCOPED_TRACE(fmt::format("the change that does not happen: {}", nth));
      std::filesystem::copy_file(dir_.File("before"), Path(changed),
                                 std::filesystem::copy_options::overwrite_existing);
      context_.files = &files;
      context_.again = false;
      const absl::Status status = RunStep(step, context_);
      EXPECT_EQ(status.ok(), !files.fired()) << status;
      leaks += QemuCheck(Path(changed)) ? 0 : 1;
      context_.files = FileSystem::Posix();
      context_.again = true;
      EXPECT_OK(RunStep(step, context_));
      EXPECT_TRUE(QemuCheck(Path(changed)));
    });
    return leaks;
  }

  TempDir dir_;
  std::unique_ptr<ImageTool> tool_ = MakeQemuImageTool(ProcessRunner::Posix(), {});
  StepContext context_;
};

TEST_F(StepAgainTest, AMergeLeavesNoClustersBehind) {
  Make("base");
  QemuWrite(Path("base"), FileFormat::kQcow2, 0, 65536, 1);
  Make("layer", "base");
  QemuWrite(Path("layer"), FileFormat::kQcow2, kMiB, 65536, 2);
  EXPECT_GT(CutShortEverywhere(CommitStep{.share = "s", .layer = "layer", .base = "base"}, "base"),
            0);
  EXPECT_TRUE(QemuReads(Path("base"), FileFormat::kQcow2, 0, 65536, 1));
  EXPECT_TRUE(QemuReads(Path("base"), FileFormat::kQcow2, kMiB, 65536, 2));
}

TEST_F(StepAgainTest, GrowthLeavesNoClustersBehind) {
  Make("image");
  QemuWrite(Path("image"), FileFormat::kQcow2, 0, 65536, 3);
  EXPECT_GT(
      CutShortEverywhere(
          GrowImageStep{.share = "s", .file = "image", .size_bytes = int64_t{8} << 40}, "image"),
      0);
  EXPECT_TRUE(QemuReads(Path("image"), FileFormat::kQcow2, 0, 65536, 3));
}

TEST_F(StepAgainTest, AnImageThatHasItsNameIsLeftAsItIs) {
  context_.files = FileSystem::Posix();
  const MakeImageStep step{.share = "s", .file = "image", .size_bytes = kMiB, .backing_file = {}};
  ASSERT_OK(RunStep(step, context_));
  QemuWrite(Path("image"), FileFormat::kQcow2, 0, 65536, 4);
  context_.again = true;
  ASSERT_OK(RunStep(step, context_));
  EXPECT_TRUE(QemuReads(Path("image"), FileFormat::kQcow2, 0, 65536, 4));
  std::filesystem::remove(Path("image"));
  ASSERT_OK(RunStep(step, context_));
  EXPECT_TRUE(QemuReads(Path("image"), FileFormat::kQcow2, 0, 65536, 0));
}

// A map, or a header, that says neither what it said before the step nor what the step writes belongs to a
// chain that has gone on: an older plan leaves it alone.
TEST_F(StepAgainTest, ANewerMapIsLeftAlone) {
  const InfoMap former{"volume-v", {}};
  const InfoMap mine{"volume-v.a", {{"a", "volume-v.a"}}};
  const InfoMap newer{"volume-v.b", {{"a", "volume-v.a"}, {"b", "volume-v.b"}}};
  const InfoMap same_active{"volume-v.a", {{"a", "volume-v.a"}, {"c", "volume-v"}}};
  const WriteMapStep step{
      .share = "s", .volume_id = "v", .map = mine, .former = FormerMap{"volume-v", {"gone"}}};
  context_.files = FileSystem::Posix();
  context_.again = true;
  for (const InfoMap& present : {newer, same_active}) {
    WriteFile(Path("volume-v.info"), FormatInfoMap(present));
    EXPECT_THAT(RunStep(step, context_), HasReasonOf(Reason::kCatalogOlder));
    EXPECT_EQ(ReadFile(Path("volume-v.info")), FormatInfoMap(present));
  }
  const InfoMap with_dropped{"volume-v", {{"gone", "volume-v"}}};
  for (const std::string& present :
       {FormatInfoMap(former), FormatInfoMap(with_dropped), std::string("{")}) {
    WriteFile(Path("volume-v.info"), present);
    EXPECT_OK(RunStep(step, context_));
    EXPECT_EQ(ReadFile(Path("volume-v.info")), FormatInfoMap(mine));
  }
}

TEST_F(StepAgainTest, ANewerHeaderIsLeftAlone) {
  for (const char* file : {"base", "merged", "other"}) Make(file);
  Make("layer", "other");
  context_.files = FileSystem::Posix();
  context_.again = true;
  const RepointStep step{.share = "s",
                         .layer = "layer",
                         .backing_file = "base",
                         .backing_format = FileFormat::kQcow2,
                         .instead_of = "merged"};
  EXPECT_THAT(RunStep(step, context_), HasReasonOf(Reason::kCatalogOlder));
  RunTool(
      {"qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "merged", Path("layer")});
  EXPECT_OK(RunStep(step, context_));
  EXPECT_OK(RunStep(step, context_));
}

// What was prepared is only renamed.
TEST_F(StepAgainTest, APreparedMapNeedsNoRoom) {
  const InfoMap map{"volume-v.a", {{"a", "volume-v.a"}}};
  FaultyFileSystem files(FileSystem::Posix());
  context_.files = &files;
  context_.operation_id = "op";
  context_.again = false;
  ASSERT_OK(RunStep(PrepareMapStep{"s", "v", map}, context_));
  context_.prepared = true;
  files.Inject({.call = "Create", .error_number = ENOSPC, .from_then_on = true});
  const WriteMapStep step{.share = "s", .volume_id = "v", .map = map, .former = FormerMap{}};
  EXPECT_OK(RunStep(step, context_));
  EXPECT_FALSE(files.fired());
  EXPECT_EQ(ReadFile(Path("volume-v.info")), FormatInfoMap(map));
  context_.again = true;
  EXPECT_OK(RunStep(step, context_));
  files.Clear();
}

}  // namespace
}  // namespace cairn::testing
