#include "lib/image/content.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <limits>

#include "lib/base/size.h"
#include "lib/image/image.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

class ContentTest : public ::testing::Test {
 protected:
  ContentTest() { setenv("TMPDIR", sockets_.path().c_str(), 1); }
  ~ContentTest() override {
    unsetenv("TMPDIR");
    EXPECT_TRUE(std::filesystem::is_empty(sockets_.path())) << "a socket directory is left";
  }
  absl::Status Create(const std::string& name, const CreateImageOptions& options) {
    return CreateImage(*FileSystem::Posix(), dir_.path(), name, "temporary", options, {}, {});
  }
  absl::StatusOr<std::unique_ptr<ImageContent>> Open(const std::string& name, FileFormat format,
                                                     bool writable) {
    return OpenImageContent(ProcessRunner::Posix(),
                            {.path = dir_.File(name), .format = format, .writable = writable});
  }

  Random random_;
  TempDir sockets_;
  TempDir dir_;
};

TEST_F(ContentTest, ReadsAChainAsQemuDoes) {
  CAIRN_TRACE_SEED(random_);
  const int64_t size = 40 * kMiB;
  ASSERT_OK(Create("base", {.format = VolumeFormat::kRawSparse, .size_bytes = size}));
  WriteRandomData(random_, dir_.File("base"), "raw", size, 8);
  ASSERT_OK(Create("-top", {.size_bytes = size, .backing_file = "base", .backing_format = "raw"}));
  WriteRandomData(random_, dir_.File("-top"), "qcow2", size, 8);
  MustRun(
      {"qemu-img", "convert", "-f", "qcow2", "-O", "raw", dir_.File("-top"), dir_.File("flat")});
  const std::string expected = ReadFile(dir_.File("flat"));

  ASSERT_OK_AND_ASSIGN(auto content, Open("-top", FileFormat::kQcow2, false));
  ASSERT_EQ(content->size_bytes(), size);
  ASSERT_OK_AND_ASSIGN(const std::string all, content->Read(0, size));
  EXPECT_EQ(all, expected);
  bool zeros_seen = false;
  for (int64_t at = 0; at < size;) {
    ASSERT_OK_AND_ASSIGN(const ContentExtent extent, content->ExtentAt(at, size - at));
    ASSERT_GT(extent.length, 0);
    ASSERT_LE(extent.length, size - at);
    if (extent.zero) {
      zeros_seen = true;
      const std::string_view part(expected.data() + at, static_cast<size_t>(extent.length));
      EXPECT_EQ(part.find_first_not_of('\0'), std::string_view::npos);
    }
    at += extent.length;
  }
  EXPECT_TRUE(zeros_seen);
  // In no order, and bounded.
  for (int i = 0; i < 50; ++i) {
    const int64_t at = random_.Between(0, size - 1);
    ASSERT_OK_AND_ASSIGN(const ContentExtent extent, content->ExtentAt(at / 512 * 512, 4096));
    EXPECT_TRUE(extent.length > 0 && extent.length <= 4096);
  }
  EXPECT_OK(content->FlushAndClose());
  EXPECT_FALSE(content->Read(0, 1).ok());
}

TEST_F(ContentTest, WritesAreSeenByQemu) {
  CAIRN_TRACE_SEED(random_);
  const int64_t size = 24 * kMiB;
  for (const VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    const std::string name(VolumeFormatName(format));
    const FileFormat file_format = BaseFileFormat(format);
    ASSERT_OK(Create(name, {.format = format, .size_bytes = size}));
    ASSERT_OK_AND_ASSIGN(auto content,
                         OpenImageContent(ProcessRunner::Posix(),
                                          {.path = dir_.File(name),
                                           .format = file_format,
                                           .writable = true,
                                           .keep_allocated = format == VolumeFormat::kRawThick}));
    std::string expected(static_cast<size_t>(size), '\0');
    for (int i = 0; i < 30; ++i) {
      const int64_t length = random_.Size(1, 12 * kMiB, 1);
      const int64_t at = random_.Between(0, size - length);
      const char c = static_cast<char>(random_.Between(0, 2));
      if (c == 0) {
        ASSERT_OK(content->WriteZeros(at, length));
      } else {
        ASSERT_OK(content->Write(at, std::string(static_cast<size_t>(length), c)));
      }
      expected.replace(static_cast<size_t>(at), static_cast<size_t>(length),
                       std::string(static_cast<size_t>(length), c));
    }
    ASSERT_OK_AND_ASSIGN(const std::string all, content->Read(0, size));
    EXPECT_TRUE(all == expected);
    ASSERT_OK(content->FlushAndClose());
    MustRun({"qemu-img", "convert", "-f", std::string(FileFormatName(file_format)), "-O", "raw",
             dir_.File(name), dir_.File("flat")});
    EXPECT_TRUE(ReadFile(dir_.File("flat")) == expected);
    if (file_format == FileFormat::kQcow2) {
      EXPECT_EQ(CheckImage(dir_.File(name)), 0);
    }
    if (format == VolumeFormat::kRawThick) {
      ASSERT_OK_AND_ASSIGN(const FileStat stat, FileSystem::Posix()->Stat(dir_.File(name)));
      EXPECT_GE(stat.physical_bytes, size);
    }
  }
}

TEST_F(ContentTest, RangesOutsideAreRefused) {
  ASSERT_OK(Create("image", {.size_bytes = kMiB}));
  ASSERT_OK_AND_ASSIGN(auto content, Open("image", FileFormat::kQcow2, true));
  EXPECT_THAT(content->Read(kMiB, 1), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(content->Read(-1, 1), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(content->Read(1, std::numeric_limits<int64_t>::max()),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(content->Write(kMiB - 1, "xx"), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(content->WriteZeros(0, kMiB + 1), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(content->ExtentAt(0, 2 * kMiB), HasReasonOf(Reason::kInvalidField));
  EXPECT_OK(content->Read(kMiB, 0));
}

TEST_F(ContentTest, ReadOnlyIsReadOnly) {
  ASSERT_OK(Create("image", {.size_bytes = kMiB}));
  ASSERT_OK_AND_ASSIGN(auto content, Open("image", FileFormat::kQcow2, false));
  EXPECT_FALSE(content->Write(0, "x").ok());
  EXPECT_FALSE(content->WriteZeros(0, 1).ok());
  // Two readers at once, as two exports.
  ASSERT_OK_AND_ASSIGN(auto second, Open("image", FileFormat::kQcow2, false));
  EXPECT_OK(second->Read(0, 512));
  // But no writer beside them.
  EXPECT_THAT(Open("image", FileFormat::kQcow2, true), HasReasonOf(Reason::kVolumeInUse));
}

TEST_F(ContentTest, ErrorsCarryWhatTheToolSaid) {
  WriteFile(dir_.File("junk"), "junk");
  const auto junk = Open("junk", FileFormat::kQcow2, false);
  EXPECT_THAT(junk, HasReasonOf(Reason::kToolFailed));
  EXPECT_THAT(Describe(junk.status()), ::testing::HasSubstr("qcow2"));
  EXPECT_FALSE(Open("none", FileFormat::kRaw, false).ok());
}

TEST_F(ContentTest, ADirectoryForTemporaryFilesThatIsNoneIsNamed) {
  ASSERT_OK(Create("image", {.size_bytes = kMiB}));
  for (const std::string& named : {dir_.File("none"), sockets_.path() + std::string(120, 'd')}) {
    setenv("TMPDIR", named.c_str(), 1);
    const auto opened = Open("image", FileFormat::kQcow2, false);
    EXPECT_THAT(opened, HasReasonOf(Reason::kToolFailed));
    EXPECT_THAT(Describe(opened.status()), ::testing::HasSubstr(named + " (TMPDIR)"));
  }
}

TEST_F(ContentTest, ASessionThatIsDroppedLeavesNothing) {
  ASSERT_OK(Create("image", {.size_bytes = kMiB}));
  {
    ASSERT_OK_AND_ASSIGN(auto content, Open("image", FileFormat::kQcow2, true));
    ASSERT_OK(content->Write(0, "x"));
  }
  // Its lock is gone with it.
  ASSERT_OK_AND_ASSIGN(auto content, Open("image", FileFormat::kQcow2, true));
  EXPECT_OK(content->FlushAndClose());
}

}  // namespace
}  // namespace cairn::testing
