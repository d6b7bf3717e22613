#include "lib/image/image.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <filesystem>

#include "lib/base/size.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_layout.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

// A small file system of its own; not there without privileges.
class SmallFileSystem {
 public:
  SmallFileSystem() { mounted_ = mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=4m") == 0; }
  ~SmallFileSystem() {
    if (mounted_) umount2(dir_.path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  const std::string& path() const { return dir_.path(); }

 private:
  TempDir dir_;
  bool mounted_ = false;
};

class ImageTest : public ::testing::Test {
 protected:
  absl::Status Create(const std::string& name, const CreateImageOptions& options) {
    return CreateImage(files_, dir_.path(), name, "temporary", options, {}, {});
  }
  absl::Status Grow(const std::string& name, VolumeFormat format, int64_t size) {
    return GrowImage(files_, dir_.path(), name, format, size, {}, {});
  }
  absl::StatusOr<ImageInfo> Inspect(const std::string& name,
                                    FileFormat format = FileFormat::kQcow2) {
    return InspectImage(files_, dir_.path(), name, format);
  }
  std::vector<std::string> Names() {
    auto names = files_.List(dir_.path());
    EXPECT_OK(names);
    std::sort(names->begin(), names->end());
    return *names;
  }
  // An overlay with any backing name and format, however hostile.
  void WriteOverlay(const std::string& name, const std::string& backing,
                    const std::string& format) {
    MemoryFile file("");
    ASSERT_OK(CreateQcow2(file, {.size_bytes = kMiB}, {}));
    ASSERT_OK_AND_ASSIGN(qcow2::HeaderBlock block, qcow2::ReadHeaderBlock(file));
    block.header.backing_file = backing;
    block.header.backing_format = format;
    ASSERT_OK_AND_ASSIGN(const std::string bytes, qcow2::EncodeHeaderBlock(block));
    ASSERT_OK(file.WriteAt(0, bytes));
    WriteFile(dir_.File(name), file.content());
  }

  TempDir dir_;
  FileSystem& files_ = *FileSystem::Posix();
};

TEST_F(ImageTest, CreatesEachFormat) {
  ASSERT_OK(Create("sparse", {.format = VolumeFormat::kRawSparse, .size_bytes = 10 * kMiB}));
  ASSERT_OK_AND_ASSIGN(ImageInfo info, Inspect("sparse", FileFormat::kRaw));
  EXPECT_EQ(info.virtual_size, 10 * kMiB);
  EXPECT_EQ(info.physical_bytes, 0);

  std::vector<int64_t> progress;
  ASSERT_OK(CreateImage(files_, dir_.path(), "thick", "temporary",
                        {.format = VolumeFormat::kRawThick, .size_bytes = 10 * kMiB}, {},
                        [&](int64_t done, int64_t total) {
                          EXPECT_EQ(total, 10 * kMiB);
                          progress.push_back(done);
                        }));
  ASSERT_OK_AND_ASSIGN(info, Inspect("thick", FileFormat::kRaw));
  EXPECT_EQ(info.virtual_size, 10 * kMiB);
  EXPECT_GE(info.physical_bytes, 10 * kMiB);
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
  ASSERT_FALSE(progress.empty());
  EXPECT_EQ(progress.back(), 10 * kMiB);

  ASSERT_OK(Create("qcow2", {.size_bytes = 10 * kMiB, .permissions = {.mode = 0666}}));
  ASSERT_OK_AND_ASSIGN(info, Inspect("qcow2"));
  EXPECT_EQ(info.virtual_size, 10 * kMiB);
  EXPECT_GT(info.file_bytes, 10 * kMiB) << "preallocated";
  EXPECT_FALSE(info.dirty);
  ASSERT_OK_AND_ASSIGN(const FileStat stat, files_.Stat(dir_.File("qcow2")));
  EXPECT_EQ(stat.mode & 0777, 0666u);
  EXPECT_EQ(Names(), (std::vector<std::string>{"qcow2", "sparse", "thick"}));
}

TEST_F(ImageTest, ThickWithoutFallocateIsWritten) {
  FaultyFileSystem files(&files_);
  files.Inject({.call = "Allocate", .error_number = EOPNOTSUPP, .from_then_on = true});
  int64_t last = -1;
  ASSERT_OK(CreateImage(files, dir_.path(), "thick", "temporary",
                        {.format = VolumeFormat::kRawThick, .size_bytes = 9 * kMiB + 512}, {},
                        [&](int64_t done, int64_t) {
                          EXPECT_GT(done, last);
                          last = done;
                        }));
  EXPECT_EQ(last, 9 * kMiB + 512);
  ASSERT_OK_AND_ASSIGN(ImageInfo info, Inspect("thick", FileFormat::kRaw));
  EXPECT_GE(info.physical_bytes, 9 * kMiB + 512);
  QemuIo(dir_.File("thick"), "raw", {"write -P 1 0 9M"});
  ASSERT_OK(GrowImage(files, dir_.path(), "thick", VolumeFormat::kRawThick, 12 * kMiB, {}, {}));
  ASSERT_OK_AND_ASSIGN(info, Inspect("thick", FileFormat::kRaw));
  EXPECT_GE(info.physical_bytes, 12 * kMiB);
  QemuIo(dir_.File("thick"), "raw", {"read -P 1 0 9M", "read -P 0 9M 3M"});
}

TEST_F(ImageTest, TakesOwnerAndGroupOfTheBackingFile) {
  if (geteuid() != 0) GTEST_SKIP() << "needs privileges";
  ASSERT_OK(Create("base", {.size_bytes = kMiB}));
  ASSERT_EQ(chown(dir_.File("base").c_str(), 1234, 2345), 0);
  CreateImageOptions options{.size_bytes = kMiB, .backing_file = "base", .backing_format = "qcow2"};
  options.permissions = {.mode = 0640, .owner_of_backing = true};
  ASSERT_OK(Create("top", options));
  ASSERT_OK_AND_ASSIGN(const FileStat stat, files_.Stat(dir_.File("top")));
  EXPECT_EQ(stat.uid, 1234u);
  EXPECT_EQ(stat.gid, 2345u);
  EXPECT_EQ(stat.mode & 0777, 0640u);
}

TEST_F(ImageTest, CreateReplacesNothingAndRefuses) {
  WriteFile(dir_.File("image"), "old");
  EXPECT_THAT(Create("image", {.format = VolumeFormat::kRawSparse, .size_bytes = kMiB}),
              HasReasonOf(Reason::kFileExists));
  EXPECT_EQ(ReadFile(dir_.File("image")), "old");
  std::filesystem::remove(dir_.File("image"));
  ASSERT_OK(Create("image", {.format = VolumeFormat::kRawSparse, .size_bytes = kMiB}));
  EXPECT_EQ(std::filesystem::file_size(dir_.File("image")), static_cast<uintmax_t>(kMiB));
  EXPECT_THAT(Create("a", {.format = VolumeFormat::kRawSparse,
                           .size_bytes = kMiB,
                           .backing_file = "image",
                           .backing_format = "raw"}),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(Create("a", {.size_bytes = kMiB, .backing_file = "a", .backing_format = "qcow2"}),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(Create("a", {.size_bytes = 100}), HasReasonOf(Reason::kInvalidField));
  EXPECT_EQ(Names(), std::vector<std::string>{"image"});
}

TEST_F(ImageTest, NoFileIsLeftWhateverCallFails) {
  for (const VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    FaultyFileSystem files(&files_);
    const int64_t faults =
        files.EnumerateFaults({.call = "*", .error_number = EIO}, [&](int64_t n) {
          const absl::Status status =
              CreateImage(files, dir_.path(), "image", "temporary",
                          {.format = format, .size_bytes = 10 * kMiB}, {}, {});
          EXPECT_EQ(status.ok(), !files.fired()) << n << " " << Describe(status);
          EXPECT_EQ(Names(),
                    status.ok() ? std::vector<std::string>{"image"} : std::vector<std::string>{})
              << n;
          std::filesystem::remove(dir_.File("image"));
        });
    EXPECT_GE(faults, 6);
  }
}

TEST_F(ImageTest, NoSpaceLeavesNothing) {
  SmallFileSystem small;
  if (!small.mounted()) GTEST_SKIP() << "cannot mount a tmpfs";
  EXPECT_THAT(CreateImage(files_, small.path(), "image", "temporary",
                          {.format = VolumeFormat::kRawThick, .size_bytes = 10 * kMiB}, {}, {}),
              HasReasonOf(Reason::kNoSpace));
  EXPECT_THAT(
      CreateImage(files_, small.path(), "image", "temporary", {.size_bytes = 100 * kGiB}, {}, {}),
      HasReasonOf(Reason::kNoSpace));
  ASSERT_OK_AND_ASSIGN(const auto names, files_.List(small.path()));
  EXPECT_TRUE(names.empty());
  // A thick file that cannot grow keeps its size.
  ASSERT_OK(CreateImage(files_, small.path(), "image", "temporary",
                        {.format = VolumeFormat::kRawThick, .size_bytes = kMiB}, {}, {}));
  EXPECT_THAT(GrowImage(files_, small.path(), "image", VolumeFormat::kRawThick, 10 * kMiB, {}, {}),
              HasReasonOf(Reason::kNoSpace));
  ASSERT_OK_AND_ASSIGN(const FileStat stat, files_.Stat(small.path() + "/image"));
  EXPECT_EQ(stat.size_bytes, kMiB);
  EXPECT_LE(stat.physical_bytes, kMiB);
}

TEST_F(ImageTest, CountsTheBitmapsThatItHolds) {
  ASSERT_OK(Create("image", {.size_bytes = kMiB}));
  ASSERT_OK_AND_ASSIGN(ImageInfo info, Inspect("image"));
  EXPECT_EQ(info.bitmaps, 0u);
  for (const char* name : {"a", "b"}) {
    MustRun({"qemu-img", "bitmap", "--add", dir_.File("image"), name});
  }
  ASSERT_OK_AND_ASSIGN(info, Inspect("image"));
  EXPECT_EQ(info.bitmaps, 2u);
}

TEST_F(ImageTest, ChainOfDepthFive) {
  Random random;
  CAIRN_TRACE_SEED(random);
  const int64_t size = 16 * kMiB;
  ASSERT_OK(Create("0", {.format = VolumeFormat::kRawSparse, .size_bytes = size}));
  MustRun({"qemu-img", "create", "-q", "-f", "raw", dir_.File("flat"), std::to_string(size)});
  for (int layer = 0; layer < 5; ++layer) {
    const std::string format = layer == 0 ? "raw" : "qcow2";
    std::vector<std::string> commands;
    for (int i = 0; i < 6; ++i) {
      commands.push_back(fmt::format("write -P {} {} {}", random.Between(1, 255),
                                     random.Between(0, size / 512 - 400) * 512,
                                     random.Between(1, 400) * 512));
    }
    QemuIo(dir_.File(std::to_string(layer)), format, commands);
    QemuIo(dir_.File("flat"), "raw", commands);
    ASSERT_OK(Create(
        std::to_string(layer + 1),
        {.size_bytes = size, .backing_file = std::to_string(layer), .backing_format = format}));
    EXPECT_TRUE(
        SameContent(dir_.File(std::to_string(layer + 1)), "qcow2", dir_.File("flat"), "raw"));
  }
  for (int layer = 5; layer > 0; --layer) {
    ASSERT_OK_AND_ASSIGN(const ImageInfo info, Inspect(std::to_string(layer)));
    EXPECT_EQ(info.backing_file, std::to_string(layer - 1));
    EXPECT_EQ(info.backing_format, layer == 1 ? "raw" : "qcow2");
  }
  ASSERT_OK(Grow("5", VolumeFormat::kQcow2, 3 * size));
  EXPECT_EQ(CheckImage(dir_.File("5")), 0);
  EXPECT_TRUE(SameContent(dir_.File("5"), "qcow2", dir_.File("flat"), "raw"));
}

TEST_F(ImageTest, GrowsRawAndDoesNothingTwice) {
  ASSERT_OK(Create("raw", {.format = VolumeFormat::kRawSparse, .size_bytes = kMiB}));
  ASSERT_OK(Grow("raw", VolumeFormat::kRawSparse, 3 * kMiB));
  ASSERT_OK(Grow("raw", VolumeFormat::kRawSparse, 2 * kMiB));
  ASSERT_OK_AND_ASSIGN(ImageInfo info, Inspect("raw", FileFormat::kRaw));
  EXPECT_EQ(info.virtual_size, 3 * kMiB);
  ASSERT_OK(Create("qcow2", {.size_bytes = kMiB}));
  ASSERT_OK(Grow("qcow2", VolumeFormat::kQcow2, 3 * kMiB));
  ASSERT_OK(Grow("qcow2", VolumeFormat::kQcow2, 2 * kMiB));
  ASSERT_OK_AND_ASSIGN(info, Inspect("qcow2"));
  EXPECT_EQ(info.virtual_size, 3 * kMiB);
  EXPECT_THAT(Grow("none", VolumeFormat::kQcow2, 2 * kMiB), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(ImageTest, ALayerBelowItsBaseInSizeIsNotGrown) {
  ASSERT_OK(Create("base", {.size_bytes = 4 * kMiB}));
  QemuIo(dir_.File("base"), "qcow2", {"write -P 1 0 4M"});
  ASSERT_OK(Create("top", {.size_bytes = kMiB, .backing_file = "base", .backing_format = "qcow2"}));
  EXPECT_THAT(Grow("top", VolumeFormat::kQcow2, 8 * kMiB), HasReasonOf(Reason::kImageMismatch));
}

TEST_F(ImageTest, InspectRefusesHostileHeaders) {
  WriteOverlay("image", "base", "qcow2");
  EXPECT_OK(Inspect("image"));
  WriteOverlay("image", "image", "qcow2");
  EXPECT_THAT(Inspect("image"), HasReasonOf(Reason::kChainCorrupt));
  for (const std::string& backing :
       {std::string("/etc/passwd"), std::string("../x"), std::string("json:{\"driver\":\"nbd\"}"),
        std::string("nbd:unix:/x"), std::string("x\n"), std::string("image\0", 6),
        std::string(256, 'x'), std::string(1023, 'x'), std::string("http://h/x")}) {
    WriteOverlay("image", backing, "raw");
    EXPECT_THAT(Inspect("image"), HasReasonOf(Reason::kImageUnsafe)) << backing;
  }
  WriteOverlay("image", std::string(1024, 'x'), "raw");
  EXPECT_THAT(Inspect("image"), HasReasonOf(Reason::kImageCorrupt));
  WriteOverlay("image", "base", "vmdk");
  EXPECT_THAT(Inspect("image"), HasReasonOf(Reason::kImageUnsafe));
  WriteOverlay("image", "base", "");
  ASSERT_OK_AND_ASSIGN(const ImageInfo info, Inspect("image"));
  EXPECT_EQ(info.backing_format, "");
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=" + dir_.File("data"),
           dir_.File("image"), "1M"});
  EXPECT_THAT(Inspect("image"), HasReasonOf(Reason::kImageUnsafe));
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
           "encrypt.format=aes,encrypt.key-secret=s", dir_.File("image"), "1M"});
  EXPECT_THAT(Inspect("image"), HasReasonOf(Reason::kImageUnsafe));
}

TEST_F(ImageTest, ARawFileIsNeverLookedInto) {
  WriteOverlay("image", "/etc/passwd", "raw");
  ASSERT_OK_AND_ASSIGN(const ImageInfo info, Inspect("image", FileFormat::kRaw));
  EXPECT_EQ(info.backing_file, "");
  EXPECT_EQ(info.virtual_size, info.file_bytes);
}

TEST_F(ImageTest, ASymbolicLinkIsNotFollowed) {
  ASSERT_OK(Create("image", {.size_bytes = kMiB}));
  std::filesystem::create_symlink("image", dir_.File("link"));
  EXPECT_FALSE(Inspect("link").ok());
}

}  // namespace
}  // namespace cairn::testing
