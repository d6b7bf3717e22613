#include <fmt/format.h>

#include <filesystem>

#include "lib/base/size.h"
#include "lib/image/image.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_refcount.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

class Qcow2GrowTest : public ::testing::Test {
 protected:
  // Grows, and expects a clean image with the same content followed by zeros.
  void GrowAndCheck(int64_t size) {
    SCOPED_TRACE(fmt::format("to {}", size));
    const int64_t old_size = ImageInfoOf(path_)["virtual-size"];
    ASSERT_OK(GrowAt(path_, size));
    EXPECT_EQ(CheckImage(path_), 0);
    EXPECT_EQ(ImageInfoOf(path_)["virtual-size"], size);
    if (std::filesystem::exists(before_)) {
      EXPECT_TRUE(SameContent(path_, "qcow2", before_, "qcow2"));
    }
    if (size == old_size) return;
    // The new range is zeros, next to the old end and at the new one.
    const int64_t length = std::min(size - old_size, kMiB);
    QemuIo(path_, "qcow2",
           {fmt::format("read -P 0 {} {}", old_size, length),
            fmt::format("read -P 0 {} {}", size - length, length)});
  }
  // Remembers the content: an untouched copy of the file.
  void Remember() {
    std::error_code error;
    std::filesystem::copy_file(path_, before_, std::filesystem::copy_options::overwrite_existing,
                               error);
    ASSERT_FALSE(error);
  }

  TempDir dir_;
  std::string path_ = dir_.File("image");
  std::string before_ = dir_.File("before");
};

TEST_F(Qcow2GrowTest, EmptyImagesOfAllSizes) {
  Random random;
  CAIRN_TRACE_SEED(random);
  for (int i = 0; i < 25; ++i) {
    int64_t size = random.Size(512, kMaxVolumeBytes, 512);
    SCOPED_TRACE(size);
    ASSERT_OK(CreateAt(path_, {.size_bytes = size}));
    for (int step = 0; step < 2; ++step) {
      size = std::max(size, random.Size(size, kMaxVolumeBytes, 512));
      GrowAndCheck(size);
    }
  }
  ASSERT_OK(CreateAt(path_, {.size_bytes = 512}));
  GrowAndCheck(kMaxVolumeBytes);
}

TEST_F(Qcow2GrowTest, KeepsDataAndCanBeWrittenAtTheEnd) {
  Random random;
  CAIRN_TRACE_SEED(random);
  for (int i = 0; i < 12; ++i) {
    const bool preallocate = random.Between(0, 1) == 1;
    // qemu-img compare reads all preallocated clusters.
    int64_t size = random.Size(512, preallocate ? kGiB : 64 * kGiB, 512);
    SCOPED_TRACE(size);
    ASSERT_OK(CreateAt(path_, {.size_bytes = size, .preallocate_metadata = preallocate}));
    WriteRandomData(random, path_, "qcow2", size, 8);
    for (int step = 0; step < 2; ++step) {
      Remember();
      size = random.Size(size, 16 * kTiB, 512);
      GrowAndCheck(size);
      QemuIo(path_, "qcow2",
             {fmt::format("write -P 5 {} 512", size - 512),
              fmt::format("read -P 5 {} 512", size - 512)});
      EXPECT_EQ(CheckImage(path_), 0);
    }
  }
}

// Small clusters reach the rare parts quickly: moved L1 tables, new refcount blocks, a new refcount
// table.
TEST_F(Qcow2GrowTest, ImagesOfQemuWithOtherParameters) {
  Random random;
  CAIRN_TRACE_SEED(random);
  for (int i = 0; i < 20; ++i) {
    const int64_t cluster = int64_t{1} << random.Between(9, 21);
    const int64_t refcount_bits = int64_t{1} << random.Between(0, 6);
    std::string options = fmt::format("cluster_size={}", cluster);
    if (random.Between(0, 3) == 0) {
      options += ",compat=0.10";
    } else {
      options += fmt::format(",refcount_bits={}", refcount_bits);
      if (cluster >= 16 * kKiB && random.Between(0, 1) == 1) options += ",extended_l2=on";
    }
    const int64_t size_max = cluster * cluster / 8 * 200;
    int64_t size = random.Size(512, std::min(size_max, 64 * kGiB), 512);
    SCOPED_TRACE(fmt::format("{} {}", options, size));
    MustRun(
        {"qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path_, std::to_string(size)});
    WriteRandomData(random, path_, "qcow2", size, 8);
    for (int step = 0; step < 3; ++step) {
      Remember();
      size = std::min(random.Size(size, size * 50, 512), std::min(size_max * 100, 64 * kTiB));
      size = std::max(size, int64_t{ImageInfoOf(path_)["virtual-size"]});
      GrowAndCheck(size);
      WriteRandomData(random, path_, "qcow2", size, 3);
      EXPECT_EQ(CheckImage(path_), 0);
    }
  }
}

TEST_F(Qcow2GrowTest, NewRefcountTable) {
  // 64-bit refcounts in 512-byte clusters: a table cluster covers 2 MiB of file.
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64",
           path_, "1M"});
  QemuIo(path_, "qcow2", {"write -P 3 0 1M"});
  Remember();
  auto file = FileSystem::Posix()->Open(path_, OpenMode::kRead);
  ASSERT_OK(file);
  ASSERT_OK_AND_ASSIGN(const Qcow2Header old, ReadQcow2Header(**file));
  // An L1 table of 8 MiB, which alone needs four more.
  GrowAndCheck(32 * kGiB);
  ASSERT_OK_AND_ASSIGN(const Qcow2Header header, ReadQcow2Header(**file));
  EXPECT_GT(header.refcount_table_clusters, old.refcount_table_clusters);
  EXPECT_NE(header.refcount_table_offset, old.refcount_table_offset);
  EXPECT_NE(header.l1_table_offset, old.l1_table_offset);
}

TEST_F(Qcow2GrowTest, ClustersCountedBeyondTheEndOfTheFileAreNotTaken) {
  ASSERT_OK(CreateAt(path_, {.size_bytes = 4 * kTiB}));
  QemuIo(path_, "qcow2", {"write -P 1 0 64k"});
  // Cluster 20 is in use for somebody who has not written it yet.
  {
    ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(path_, OpenMode::kReadWrite));
    ASSERT_OK_AND_ASSIGN(const Qcow2Header header, ReadQcow2Header(*file));
    EXPECT_EQ(header.l1_size, 8192u) << "a full cluster: the next one must move the table";
    ASSERT_OK(file->WriteAt(2 * 64 * kKiB + 20 * 2, std::string("\0\1", 2)));
  }
  ASSERT_OK(GrowAt(path_, 5 * kTiB));
  ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(path_, OpenMode::kRead));
  ASSERT_OK_AND_ASSIGN(const Qcow2Header header, ReadQcow2Header(*file));
  EXPECT_EQ(header.l1_table_offset, 21u * 64 * kKiB);
  EXPECT_EQ(CheckImage(path_), 3) << "cluster 20 is leaked, nothing worse";
}

TEST_F(Qcow2GrowTest, GarbageBehindTheL1TableDoesNotCount) {
  ASSERT_OK(CreateAt(path_, {.size_bytes = kGiB}));
  {
    ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(path_, OpenMode::kReadWrite));
    ASSERT_OK_AND_ASSIGN(const Qcow2Header header, ReadQcow2Header(*file));
    ASSERT_OK(file->WriteAt(static_cast<int64_t>(header.l1_table_offset) + header.l1_size * 8,
                            std::string(4096, '\xaa')));
  }
  GrowAndCheck(100 * kGiB);
}

TEST_F(Qcow2GrowTest, ShrinkingIsRefusedAndTheSameSizeIsNothing) {
  ASSERT_OK(CreateAt(path_, {.size_bytes = kGiB}));
  EXPECT_THAT(GrowAt(path_, kMiB), HasReasonOf(Reason::kInvalidField));
  EXPECT_OK(GrowAt(path_, kGiB));
  EXPECT_THAT(GrowAt(path_, kGiB + 1), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(GrowAt(path_, kMaxVolumeBytes + 512), HasReasonOf(Reason::kInvalidField));
}

TEST_F(Qcow2GrowTest, OldDataBehindTheEndDoesNotComeBack) {
  Random random;
  CAIRN_TRACE_SEED(random);
  for (const char* options : {"cluster_size=64k", "cluster_size=512", "cluster_size=2M",
                              "compat=0.10", "extended_l2=on,cluster_size=128k"}) {
    SCOPED_TRACE(options);
    MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path_, "8M"});
    QemuIo(path_, "qcow2", {"write -P 170 0 8M"});
    const int64_t size = random.Size(512, 8 * kMiB - 512, 512);
    SCOPED_TRACE(size);
    MustRun({"qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", path_, std::to_string(size)});
    Remember();
    GrowAndCheck(8 * kMiB);
    QemuIo(path_, "qcow2",
           {fmt::format("read -P 170 0 {}", size),
            fmt::format("read -P 0 {} {}", size, 8 * kMiB - size)});
  }
}

TEST_F(Qcow2GrowTest, OldDataThatCannotBeClearedIsAReasonToRefuse) {
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", path_, "1M"});
  QemuIo(path_, "qcow2", {"write -P 170 0 1M"});
  MustRun({"qemu-img", "convert", "-c", "-O", "qcow2", path_, before_});
  MustRun({"qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", before_, "1536"});
  EXPECT_THAT(GrowAt(before_, kMiB), HasReasonOf(Reason::kImageUnsafe));
  MustRun({"qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", path_, "1536"});
  MustRun({"qemu-img", "snapshot", "-c", "s", path_});
  EXPECT_THAT(GrowAt(path_, kMiB), HasReasonOf(Reason::kImageUnsafe));
}

TEST_F(Qcow2GrowTest, WhatCannotBeKeptConsistentIsRefused) {
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", path_, "1M"});
  MustRun({"qemu-img", "snapshot", "-c", "s", path_});
  EXPECT_TRUE(absl::IsUnimplemented(GrowAt(path_, kGiB)));
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", path_, "1M"});
  MustRun({"qemu-img", "bitmap", "--add", path_, "b"});
  EXPECT_TRUE(absl::IsUnimplemented(GrowAt(path_, kGiB)));
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
           "data_file=" + dir_.File("data") + ",cluster_size=64k", path_, "1M"});
  EXPECT_THAT(GrowAt(path_, kGiB), HasReasonOf(Reason::kImageUnsafe));
}

// Whatever call fails, the image is the old or the new one, with the old data, at worst with leaks.
TEST_F(Qcow2GrowTest, SurvivesTheFailureOfAnyCall) {
  Random random;
  CAIRN_TRACE_SEED(random);
  const std::string pristine = dir_.File("pristine");
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64",
           pristine, "1M"});
  QemuIo(pristine, "qcow2", {"write -P 3 0 1M"});
  std::filesystem::copy_file(pristine, before_);
  FaultyFileSystem files(FileSystem::Posix());
  const int64_t size = 256 * kMiB;
  const int64_t faults = files.EnumerateFaults({.call = "*", .error_number = ENOSPC}, [&](int64_t) {
    std::filesystem::copy_file(pristine, path_, std::filesystem::copy_options::overwrite_existing);
    const absl::Status status =
        GrowImage(files, dir_.path(), "image", VolumeFormat::kQcow2, size, {}, {});
    EXPECT_EQ(status.ok(), !files.fired());
    const int check = CheckImage(path_);
    EXPECT_TRUE(check == 0 || (check == 3 && files.fired())) << check;
    EXPECT_TRUE(SameContent(path_, "qcow2", before_, "qcow2"));
    files.Clear();
    EXPECT_OK(GrowImage(files, dir_.path(), "image", VolumeFormat::kQcow2, size, {}, {}));
    EXPECT_EQ(ImageInfoOf(path_)["virtual-size"], size);
  });
  EXPECT_GT(faults, 10);
}

TEST(Qcow2RefcountTest, EveryWidthKeepsItsNeighbours) {
  for (uint32_t order = 0; order <= 6; ++order) {
    const int bits = 1 << order;
    const uint64_t max = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
    std::string block(64, '\0');
    const int64_t count = 64 * 8 / bits;
    for (int64_t i = 0; i < count; ++i) qcow2::SetRefcount(block, i, order, i % 2 == 0 ? max : 0);
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_EQ(qcow2::GetRefcount(block, i, order), i % 2 == 0 ? max : 0) << order << " " << i;
    }
    qcow2::SetRefcount(block, 2, order, 1);
    EXPECT_EQ(qcow2::GetRefcount(block, 2, order), 1u);
    EXPECT_EQ(qcow2::GetRefcount(block, 1, order), 0u);
    EXPECT_EQ(qcow2::GetRefcount(block, 3, order), 0u);
  }
}

}  // namespace
}  // namespace cairn::testing
