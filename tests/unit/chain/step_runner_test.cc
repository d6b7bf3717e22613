// Which copies the step of a conversion makes itself, and which it leaves to qemu-img.
#include "lib/chain/step_runner.h"

#include <sys/stat.h>

#include <filesystem>

#include "lib/base/size.h"
#include "tests/support/matchers.h"
#include "tests/support/qemu.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {
namespace {

constexpr int64_t kSize = 4 * kMiB;
constexpr char kOperation[] = "aaaaaaaa-0000-4000-8000-000000000001";

// Counts the conversions, and has the real one make them.
class CountingTool : public ImageTool {
 public:
  absl::Status Commit(const std::string&, const std::string&, const CancelToken&,
                      const ProgressFn&) override {
    return absl::UnimplementedError("");
  }
  absl::Status RepairLeaks(const std::string&, const std::string&, const CancelToken&) override {
    return absl::UnimplementedError("");
  }
  absl::Status Resize(const std::string&, const std::string&, int64_t,
                      const CancelToken&) override {
    return absl::UnimplementedError("");
  }
  absl::Status Convert(const ConvertOptions& options, const CancelToken& cancel,
                       const ProgressFn& progress) override {
    ++conversions;
    return real_->Convert(options, cancel, progress);
  }
  absl::StatusOr<int64_t> MeasureCommit(const std::string&, const std::string&, const std::string&,
                                        FileFormat, const CancelToken&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::string> Version() override { return absl::UnimplementedError(""); }

  int conversions = 0;

 private:
  std::unique_ptr<ImageTool> real_ = MakeQemuImageTool(ProcessRunner::Posix(), {});
};

class ConvertStepTest : public ::testing::Test {
 protected:
  ConvertStepTest() {
    context_.files = FileSystem::Posix();
    context_.tool = &tool_;
    context_.directory_of = [this](const std::string& share) -> absl::StatusOr<std::string> {
      return dir_.File(share);
    };
    context_.operation_id = kOperation;
    std::filesystem::create_directory(dir_.File("from"));
    std::filesystem::create_directory(dir_.File("to"));
    step_ = {"from", "source", FileFormat::kQcow2, "to", "clone", VolumeFormat::kQcow2, kSize};
  }
  void Make(const std::string& file, VolumeFormat format, const std::string& below = "") {
    CreateImageOptions options;
    options.format = format;
    options.size_bytes = kSize;
    options.preallocate_metadata = below.empty();
    options.backing_file = below;
    options.backing_format = below.empty() ? "" : "qcow2";
    ASSERT_OK(
        CreateImage(*FileSystem::Posix(), dir_.File("from"), file, "temporary", options, {}, {}));
  }
  // Once more too, as after a crash.
  void ExpectClone(int conversions, uint8_t byte) {
    for (int time = 1; time <= 2; ++time) {
      context_.again = time == 2;
      ASSERT_OK(RunStep(step_, context_));
      EXPECT_EQ(tool_.conversions, time * conversions);
      const std::string clone = dir_.File("to/clone");
      const FileFormat format = BaseFileFormat(step_.format);
      EXPECT_TRUE(QemuReads(clone, format, 0, 65536, byte));
      if (format == FileFormat::kQcow2) {
        EXPECT_TRUE(QemuCheck(clone));
      }
      ASSERT_OK_AND_ASSIGN(const ImageInfo info,
                           InspectImage(*FileSystem::Posix(), dir_.File("to"), "clone", format));
      EXPECT_EQ(info.virtual_size, step_.size_bytes);
      EXPECT_EQ(info.backing_file, "");
      struct stat stat;
      ASSERT_EQ(::stat(clone.c_str(), &stat), 0);
      EXPECT_EQ(stat.st_mode & 0777, context_.permissions.mode);
      ASSERT_OK_AND_ASSIGN(auto names, FileSystem::Posix()->List(dir_.File("to")));
      EXPECT_EQ(names, std::vector<std::string>{"clone"});
    }
  }

  TempDir dir_;
  CountingTool tool_;
  StepContext context_;
  ConvertStep step_;
};

// As on a share where a name is given by a link, when the server dies before the old name is removed.
TEST_F(ConvertStepTest, AFileThatWasLeftWithItsTemporaryNameTooIsPutInOrder) {
  Make("source", VolumeFormat::kQcow2);
  const std::string made = dir_.File("to/clone");
  const std::vector<Step> steps = {
      step_, CopyFileStep{"from", "source", "to", "clone", false},
      MakeImageStep{.share = "to", .file = "clone", .size_bytes = kSize, .backing_file = {}}};
  for (const Step& step : steps) {
    std::filesystem::remove(made);
    context_.again = false;
    ASSERT_OK(RunStep(step, context_));
    std::filesystem::create_hard_link(made, dir_.File("to/" + TemporaryName("clone", kOperation)));
    context_.again = true;
    EXPECT_OK(RunStep(step, context_));
    EXPECT_EQ(std::filesystem::hard_link_count(made), 1u);
    EXPECT_TRUE(QemuCheck(made));
  }
}

TEST_F(ConvertStepTest, AQcow2FileOfItsOwnIsCopied) {
  Make("source", VolumeFormat::kQcow2);
  QemuWrite(dir_.File("from/source"), FileFormat::kQcow2, 0, 65536, 5);
  ExpectClone(0, 5);
  std::filesystem::remove(dir_.File("to/clone"));
  step_.size_bytes = 3 * kSize;
  context_.permissions.mode = 0666;
  ExpectClone(0, 5);
  EXPECT_TRUE(QemuReads(dir_.File("to/clone"), FileFormat::kQcow2, kSize, 2 * kSize, 0));
}

TEST_F(ConvertStepTest, TheSourcesOwnerIsNotTheClones) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  Make("source", VolumeFormat::kQcow2);
  ASSERT_EQ(chown(dir_.File("from/source").c_str(), 1234, 1234), 0);
  context_.permissions.owner_of_backing = true;
  ExpectClone(0, 0);
  struct stat stat;
  ASSERT_EQ(::stat(dir_.File("to/clone").c_str(), &stat), 0);
  EXPECT_EQ(stat.st_uid, geteuid());
}

TEST_F(ConvertStepTest, ALayerIsRead) {
  Make("base", VolumeFormat::kQcow2);
  QemuWrite(dir_.File("from/base"), FileFormat::kQcow2, 0, 65536, 6);
  Make("source", VolumeFormat::kQcow2, "base");
  ExpectClone(1, 6);
}

TEST_F(ConvertStepTest, IntoAnotherFormatItIsRead) {
  Make("source", VolumeFormat::kQcow2);
  QemuWrite(dir_.File("from/source"), FileFormat::kQcow2, 0, 65536, 7);
  step_.format = VolumeFormat::kRawSparse;
  ExpectClone(1, 7);
}

TEST_F(ConvertStepTest, AnImageOfSomebodyElseIsRead) {
  Make("source", VolumeFormat::kQcow2);
  QemuWrite(dir_.File("from/source"), FileFormat::kQcow2, 0, 65536, 8);
  step_.source_share.clear();
  step_.source_file = dir_.File("from/source");
  ExpectClone(1, 8);
}

}  // namespace
}  // namespace cairn::testing
