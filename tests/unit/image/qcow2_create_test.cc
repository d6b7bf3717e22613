#include <fmt/format.h>

#include "lib/base/size.h"
#include "lib/image/qcow2.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

class Qcow2CreateTest : public ::testing::Test {
 protected:
  TempDir dir_;
  std::string path_ = dir_.File("image");
};

TEST_F(Qcow2CreateTest, PassesQemuChecksAtEverySize) {
  Random random;
  CAIRN_TRACE_SEED(random);
  std::vector<int64_t> sizes = {512,         64 * kKiB - 512,  64 * kKiB, 64 * kKiB + 512,
                                512 * kMiB,  512 * kMiB + 512, 4 * kTiB,  4 * kTiB + 512,
                                1024 * kTiB, kMaxVolumeBytes};
  for (int i = 0; i < 30; ++i) sizes.push_back(random.Size(512, kMaxVolumeBytes, 512));
  for (const int64_t size : sizes) {
    SCOPED_TRACE(size);
    ASSERT_OK(CreateAt(path_, {.size_bytes = size}));
    EXPECT_EQ(CheckImage(path_), 0);
    const auto info = ImageInfoOf(path_);
    EXPECT_EQ(info["virtual-size"], size);
    EXPECT_FALSE(info.contains("backing-filename"));
    EXPECT_EQ(info["format-specific"]["data"]["compat"], "1.1");
    EXPECT_EQ(info["cluster-size"], 64 * kKiB);
    ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(path_, OpenMode::kRead));
    ASSERT_OK_AND_ASSIGN(const Qcow2Header header, ReadQcow2Header(*file));
    EXPECT_EQ(header.virtual_size, size);
    // Empty tables are holes: a header, a table entry and a few refcounts.
    ASSERT_OK_AND_ASSIGN(const FileStat stat, file->Stat());
    EXPECT_LE(stat.physical_bytes, 64 * kKiB);
  }
}

TEST_F(Qcow2CreateTest, PreallocatedPassesQemuChecksAtEverySize) {
  Random random;
  CAIRN_TRACE_SEED(random);
  std::vector<int64_t> sizes = {512, 64 * kKiB, 512 * kMiB, 512 * kMiB + 512, 2 * kGiB, 100 * kGiB};
  for (int i = 0; i < 20; ++i) sizes.push_back(random.Size(512, 64 * kGiB, 512));
  for (const int64_t size : sizes) {
    SCOPED_TRACE(size);
    ASSERT_OK(CreateAt(path_, {.size_bytes = size, .preallocate_metadata = true}));
    EXPECT_EQ(CheckImage(path_), 0);
    EXPECT_EQ(ImageInfoOf(path_)["virtual-size"], size);
    ASSERT_OK_AND_ASSIGN(const FileStat stat, FileSystem::Posix()->Stat(path_));
    EXPECT_GE(stat.size_bytes, size);
    EXPECT_LE(stat.physical_bytes, size / 4096 + kMiB) << "data clusters are holes";
    const int64_t last = (size - 1) / 512 * 512;
    QemuIo(path_, "qcow2",
           {fmt::format("read -P 0 {} 512", last), fmt::format("write -P 7 {} 512", last),
            fmt::format("read -P 7 {} 512", last), "write -P 9 0 512", "read -P 9 0 512"});
    EXPECT_EQ(CheckImage(path_), 0);
    ASSERT_OK_AND_ASSIGN(const FileStat written, FileSystem::Posix()->Stat(path_));
    EXPECT_EQ(written.size_bytes, stat.size_bytes) << "a write allocates no cluster";
  }
}

TEST_F(Qcow2CreateTest, PreallocatedReadsLikeQemusOwn) {
  Random random;
  CAIRN_TRACE_SEED(random);
  const int64_t size = random.Size(512, 4 * kGiB, 512);
  const std::string theirs = dir_.File("theirs");
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", theirs,
           std::to_string(size)});
  ASSERT_OK(CreateAt(path_, {.size_bytes = size, .preallocate_metadata = true}));
  EXPECT_TRUE(SameContent(path_, "qcow2", theirs, "qcow2"));
  ASSERT_OK_AND_ASSIGN(const FileStat ours, FileSystem::Posix()->Stat(path_));
  ASSERT_OK_AND_ASSIGN(const FileStat stat, FileSystem::Posix()->Stat(theirs));
  EXPECT_LE(ours.size_bytes, stat.size_bytes + 64 * kKiB);
}

TEST_F(Qcow2CreateTest, OverlayReadsItsBase) {
  Random random;
  CAIRN_TRACE_SEED(random);
  for (const std::string format : {"raw", "qcow2"}) {
    const int64_t size = random.Size(64 * kKiB, 64 * kMiB, 512);
    const std::string base = dir_.File("base");
    MustRun({"qemu-img", "create", "-q", "-f", format, base, std::to_string(size)});
    WriteRandomData(random, base, format, size, 5);
    ASSERT_OK(
        CreateAt(path_, {.size_bytes = size, .backing_file = "base", .backing_format = format}));
    EXPECT_EQ(CheckImage(path_), 0);
    const auto info = ImageInfoOf(path_);
    EXPECT_EQ(info["backing-filename"], "base");
    EXPECT_EQ(info["backing-filename-format"], format);
    EXPECT_TRUE(SameContent(path_, "qcow2", base, format));
    WriteRandomData(random, path_, "qcow2", size, 5);
    EXPECT_EQ(CheckImage(path_), 0);
  }
}

TEST_F(Qcow2CreateTest, RefusesWhatCannotBe) {
  EXPECT_THAT(CreateAt(path_, {.size_bytes = 0}), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(CreateAt(path_, {.size_bytes = 513}), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(CreateAt(path_, {.size_bytes = kMaxVolumeBytes + 512}),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(CreateAt(path_, {.size_bytes = kMaxVolumeBytes, .preallocate_metadata = true}),
              HasReasonOf(Reason::kInvalidField))
      << "the refcount table has no room for the data clusters";
  EXPECT_THAT(CreateAt(path_, {.size_bytes = 512, .backing_file = "b"}),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(CreateAt(path_, {.size_bytes = 512, .backing_format = "raw"}),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(CreateAt(path_, {.size_bytes = 512, .backing_file = "b", .backing_format = "vmdk"}),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(
      CreateAt(path_, {.size_bytes = 512, .backing_file = "/etc/passwd", .backing_format = "raw"}),
      HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(CreateAt(path_, {.size_bytes = 512,
                               .backing_file = "b",
                               .backing_format = "raw",
                               .preallocate_metadata = true}),
              HasReasonOf(Reason::kInvalidField));
}

TEST_F(Qcow2CreateTest, IsCancelled) {
  CancelSource source;
  source.Cancel();
  MemoryFile file("");
  EXPECT_THAT(
      CreateQcow2(file, {.size_bytes = 32 * kMiB, .preallocate_metadata = true}, source.token()),
      HasReasonOf(Reason::kCancelled));
}

}  // namespace
}  // namespace cairn::testing
