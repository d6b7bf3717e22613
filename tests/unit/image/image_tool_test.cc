#include "lib/image/image_tool.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <filesystem>

#include "lib/base/size.h"
#include "lib/image/image.h"
#include "lib/image/qcow2.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

// Never goes back, never beyond the total.
class ProgressWatch {
 public:
  ProgressFn function() {
    return [this](int64_t done, int64_t total) {
      EXPECT_GE(done, last_);
      EXPECT_LE(done, total);
      last_ = done;
      total_ = total;
    };
  }
  bool complete() const { return total_ >= 0 && last_ == total_; }

 private:
  int64_t last_ = 0;
  int64_t total_ = -1;
};

class ImageToolTest : public ::testing::Test {
 protected:
  absl::Status Create(const std::string& name, const CreateImageOptions& options) {
    return CreateImage(*FileSystem::Posix(), dir_.path(), name, "temporary", options, {}, {});
  }
  int64_t Physical(const std::string& name) {
    auto stat = FileSystem::Posix()->Stat(dir_.File(name));
    return stat.ok() ? stat->physical_bytes : -1;
  }
  // The same commands on two images.
  void WriteBoth(const std::string& name, const std::string& format, int64_t size, int writes) {
    std::vector<std::string> commands;
    for (int i = 0; i < writes; ++i) {
      const int64_t sectors = random_.Between(1, 500);
      commands.push_back(fmt::format("write -P {} {} {}", random_.Between(1, 255),
                                     random_.Between(0, size / 512 - sectors) * 512,
                                     sectors * 512));
    }
    QemuIo(dir_.File(name), format, commands);
    QemuIo(dir_.File("flat"), "raw", commands);
  }
  void MakeFlat(int64_t size) {
    MustRun({"qemu-img", "create", "-q", "-f", "raw", dir_.File("flat"), std::to_string(size)});
  }

  Random random_;
  TempDir dir_;
  std::unique_ptr<ImageTool> tool_ = MakeQemuImageTool(ProcessRunner::Posix(), {});
};

TEST_F(ImageToolTest, Version) {
  ASSERT_OK_AND_ASSIGN(const std::string version, tool_->Version());
  EXPECT_FALSE(version.empty());
  EXPECT_EQ(version.find_first_not_of("0123456789."), std::string::npos) << version;
}

TEST_F(ImageToolTest, CommitMergesIntoEachKindOfBase) {
  CAIRN_TRACE_SEED(random_);
  for (const VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    const std::string name(FileFormatName(BaseFileFormat(format)));
    const int64_t size = 32 * kMiB;
    MakeFlat(2 * size);
    for (const char* file : {"base", "-top:,"}) std::filesystem::remove(dir_.File(file));
    ASSERT_OK(Create("base", {.format = format, .size_bytes = size}));
    WriteBoth("base", name, size, 8);
    // The layer is larger than its base, which must grow.
    ASSERT_OK(
        Create("-top:,", {.size_bytes = 2 * size, .backing_file = "base", .backing_format = name}));
    WriteBoth("-top:,", "qcow2", 2 * size, 8);
    ASSERT_OK_AND_ASSIGN(const int64_t measured, tool_->MeasureCommit(dir_.path(), "-top:,", "base",
                                                                      BaseFileFormat(format), {}));
    const int64_t before = Physical("base");
    ProgressWatch watch;
    ASSERT_OK(tool_->Commit(dir_.path(), "-top:,", {}, watch.function()));
    EXPECT_TRUE(watch.complete());
    EXPECT_LE(Physical("base") - before, measured);
    EXPECT_TRUE(SameContent(dir_.File("base"), name, dir_.File("flat"), "raw"));
    EXPECT_EQ(ImageInfoOf(dir_.File("base"), name)["virtual-size"], 2 * size);
    if (format == VolumeFormat::kQcow2) {
      EXPECT_EQ(CheckImage(dir_.File("base")), 0);
    }
    // A second time, as after a crash.
    ASSERT_OK(tool_->Commit(dir_.path(), "-top:,", {}, {}));
    EXPECT_TRUE(SameContent(dir_.File("base"), name, dir_.File("flat"), "raw"));
    ASSERT_OK_AND_ASSIGN(const int64_t again, tool_->MeasureCommit(dir_.path(), "-top:,", "base",
                                                                   BaseFileFormat(format), {}));
    EXPECT_EQ(again, 0);
  }
}

TEST_F(ImageToolTest, CommitOfAMiddleLayerGoesOneLayerDown) {
  CAIRN_TRACE_SEED(random_);
  const int64_t size = 8 * kMiB;
  MakeFlat(size);
  ASSERT_OK(Create("0", {.size_bytes = size}));
  WriteBoth("0", "qcow2", size, 4);
  const std::string base = ReadFile(dir_.File("0"));
  for (const std::string name : {"1", "2"}) {
    ASSERT_OK(Create(
        name,
        {.size_bytes = size, .backing_file = name == "1" ? "0" : "1", .backing_format = "qcow2"}));
    WriteBoth(name, "qcow2", size, 4);
  }
  ASSERT_OK(tool_->Commit(dir_.path(), "2", {}, {}));
  EXPECT_TRUE(SameContent(dir_.File("1"), "qcow2", dir_.File("flat"), "raw"));
  EXPECT_EQ(ReadFile(dir_.File("0")), base);
}

TEST_F(ImageToolTest, ACommitThatWasEndedHalfWayCanBeRunAgain) {
  CAIRN_TRACE_SEED(random_);
  const int64_t size = 192 * kMiB;
  MakeFlat(size);
  ASSERT_OK(Create("0", {.size_bytes = size}));
  WriteBoth("0", "qcow2", size, 4);
  ASSERT_OK(Create("1", {.size_bytes = size, .backing_file = "0", .backing_format = "qcow2"}));
  QemuIo(dir_.File("1"), "qcow2", {"write -P 9 0 160M"});
  QemuIo(dir_.File("flat"), "raw", {"write -P 9 0 160M"});
  CancelSource cancel;
  const absl::Status status =
      tool_->Commit(dir_.path(), "1", cancel.token(), [&](int64_t done, int64_t total) {
        if (done > 0 && done < total) cancel.Cancel();
      });
  // A quick disk may have ended it before.
  EXPECT_TRUE(status.ok() || HasReason(status, Reason::kCancelled)) << Describe(status);
  EXPECT_TRUE(SameContent(dir_.File("1"), "qcow2", dir_.File("flat"), "raw"));
  ASSERT_OK(tool_->Commit(dir_.path(), "1", {}, {}));
  EXPECT_TRUE(SameContent(dir_.File("0"), "qcow2", dir_.File("flat"), "raw"));
  EXPECT_NE(CheckImage(dir_.File("0")), 2);
}

TEST_F(ImageToolTest, ErrorsHaveReasons) {
  EXPECT_THAT(tool_->Commit(dir_.path(), "none", {}, {}), HasReasonOf(Reason::kFileNotFound));
  WriteFile(dir_.File("junk"), "junk");
  EXPECT_THAT(tool_->Commit(dir_.path(), "junk", {}, {}), HasReasonOf(Reason::kToolFailed));
  EXPECT_FALSE(tool_->MeasureCommit(dir_.path(), "junk", "junk", FileFormat::kRaw, {}).ok());
  CancelSource cancel;
  cancel.Cancel();
  ASSERT_OK(Create("0", {.size_bytes = kMiB}));
  ASSERT_OK(Create("1", {.size_bytes = kMiB, .backing_file = "0", .backing_format = "qcow2"}));
  EXPECT_THAT(tool_->Commit(dir_.path(), "1", cancel.token(), {}), HasReasonOf(Reason::kCancelled));
}

TEST_F(ImageToolTest, FullShareIsNoSpace) {
  TempDir small;
  if (mount("tmpfs", small.path().c_str(), "tmpfs", 0, "size=8m") != 0) {
    GTEST_SKIP() << "cannot mount a tmpfs";
  }
  CreateImageOptions base{.size_bytes = 16 * kMiB, .preallocate_metadata = false};
  CreateImageOptions top{.size_bytes = 16 * kMiB, .backing_file = "0", .backing_format = "qcow2"};
  EXPECT_OK(CreateImage(*FileSystem::Posix(), small.path(), "0", "t", base, {}, {}));
  EXPECT_OK(CreateImage(*FileSystem::Posix(), small.path(), "1", "t", top, {}, {}));
  QemuIo(small.File("1"), "qcow2", {"write -P 1 0 5M"});
  EXPECT_THAT(tool_->Commit(small.path(), "1", {}, {}), HasReasonOf(Reason::kNoSpace));
  QemuIo(small.File("1"), "qcow2", {"read -P 1 0 5M"});
  for (const VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    EXPECT_THAT(tool_->Convert({.source_path = small.File("1"),
                                .source_format = FileFormat::kQcow2,
                                .target_path = small.File("2"),
                                .target_format = format,
                                .size_bytes = 16 * kMiB},
                               {}, {}),
                HasReasonOf(Reason::kNoSpace));
    EXPECT_OK(FileSystem::Posix()->Remove(small.File("2")));
  }
  umount2(small.path().c_str(), MNT_DETACH);
}

TEST_F(ImageToolTest, ConvertBetweenAllFormats) {
  CAIRN_TRACE_SEED(random_);
  const int64_t size = 32 * kMiB;
  MakeFlat(size);
  ASSERT_OK(Create("raw", {.format = VolumeFormat::kRawSparse, .size_bytes = size}));
  WriteBoth("raw", "raw", size, 6);
  ASSERT_OK(Create("qcow2", {.size_bytes = size, .backing_file = "raw", .backing_format = "raw"}));
  WriteBoth("qcow2", "qcow2", size, 6);
  std::filesystem::copy_file(dir_.File("flat"), dir_.File("raw2"));
  for (const FileFormat source : {FileFormat::kRaw, FileFormat::kQcow2}) {
    for (const VolumeFormat target :
         {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
      for (const int64_t target_size : {size, size + 512, 3 * size}) {
        const bool preallocate = random_.Between(0, 1) == 1;
        SCOPED_TRACE(
            fmt::format("{} {} {}", FileFormatName(source), VolumeFormatName(target), target_size));
        ProgressWatch watch;
        ASSERT_OK(
            tool_->Convert({.source_path = dir_.File(source == FileFormat::kRaw ? "raw2" : "qcow2"),
                            .source_format = source,
                            .target_path = dir_.File("target"),
                            .target_format = target,
                            .preallocate_metadata = preallocate,
                            .size_bytes = target_size},
                           {}, watch.function()));
        EXPECT_TRUE(watch.complete());
        const std::string format(FileFormatName(BaseFileFormat(target)));
        EXPECT_TRUE(SameContent(dir_.File("target"), format, dir_.File("flat"), "raw"));
        EXPECT_EQ(ImageInfoOf(dir_.File("target"), format)["virtual-size"], target_size);
        if (target == VolumeFormat::kQcow2) {
          EXPECT_EQ(CheckImage(dir_.File("target")), 0);
          EXPECT_FALSE(ImageInfoOf(dir_.File("target")).contains("backing-filename"));
        } else if (target == VolumeFormat::kRawSparse) {
          EXPECT_LE(Physical("target"), Physical("flat") + kMiB) << "holes stay holes";
        } else {
          EXPECT_GE(Physical("target"), target_size);
        }
      }
    }
  }
}

TEST_F(ImageToolTest, ConvertRefusesALargerSource) {
  ASSERT_OK(Create("source", {.size_bytes = 2 * kMiB}));
  EXPECT_FALSE(tool_
                   ->Convert({.source_path = dir_.File("source"),
                              .source_format = FileFormat::kQcow2,
                              .target_path = dir_.File("target"),
                              .size_bytes = kMiB},
                             {}, {})
                   .ok());
}

TEST_F(ImageToolTest, ARawSourceThatLooksLikeQcow2StaysRaw) {
  ASSERT_OK(Create("source", {.size_bytes = kMiB}));
  const int64_t size = static_cast<int64_t>(std::filesystem::file_size(dir_.File("source")));
  ASSERT_OK(tool_->Convert({.source_path = dir_.File("source"),
                            .source_format = FileFormat::kRaw,
                            .target_path = dir_.File("target"),
                            .target_format = VolumeFormat::kRawSparse,
                            .size_bytes = size},
                           {}, {}));
  EXPECT_EQ(ReadFile(dir_.File("target")), ReadFile(dir_.File("source")));
}

TEST_F(ImageToolTest, ConvertIsCancelled) {
  ASSERT_OK(Create("source", {.format = VolumeFormat::kRawSparse, .size_bytes = 512 * kMiB}));
  QemuIo(dir_.File("source"), "raw", {"write -P 1 0 512M"});
  CancelSource cancel;
  const absl::Status status = tool_->Convert({.source_path = dir_.File("source"),
                                              .source_format = FileFormat::kRaw,
                                              .target_path = dir_.File("target"),
                                              .size_bytes = 512 * kMiB},
                                             cancel.token(), [&](int64_t done, int64_t total) {
                                               if (done > 0 && done < total) cancel.Cancel();
                                             });
  if (status.ok()) GTEST_SKIP() << "the disk was too quick";
  EXPECT_THAT(status, HasReasonOf(Reason::kCancelled));
}

}  // namespace
}  // namespace cairn::testing
