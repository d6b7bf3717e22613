#include <fmt/format.h>

#include <limits>

#include "lib/base/size.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_layout.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

class Qcow2HeaderTest : public ::testing::Test {
 protected:
  // A small image of qemu's with a backing file, with all its extensions.
  std::string QemuOverlay() {
    MustRun(
        {"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "base", "-F", "raw", path_, "10M"});
    return ReadFile(path_);
  }
  std::string OwnImage() {
    MemoryFile file("");
    EXPECT_OK(CreateQcow2(file, {.size_bytes = 10 * kMiB}, {}));
    return file.content();
  }
  absl::StatusOr<Qcow2Header> Read(std::string content) {
    MemoryFile file(std::move(content));
    return ReadQcow2Header(file);
  }
  absl::Status SetBacking(const std::string& name, const std::string& format) {
    ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(path_, OpenMode::kReadWrite));
    return SetQcow2Backing(*file, name, format);
  }
  // All functions that take a foreign file, none of which may crash or ask for too much memory.
  void Exercise(const std::string& content) {
    MemoryFile file(content);
    const absl::StatusOr<Qcow2Header> header = ReadQcow2Header(file);
    if (!header.ok()) {
      EXPECT_TRUE(GetErrorDetails(header.status()).has_value()) << Describe(header.status());
      return;
    }
    SetQcow2Backing(file, "other", "qcow2").IgnoreError();
    for (const int64_t size : {20 * kMiB, 3 * kGiB, 5 * kTiB}) {
      GrowQcow2(file, size).IgnoreError();
    }
  }

  TempDir dir_;
  std::string path_ = dir_.File("image");
};

TEST_F(Qcow2HeaderTest, ReadsWhatQemuWrote) {
  ASSERT_OK_AND_ASSIGN(const Qcow2Header header, Read(QemuOverlay()));
  EXPECT_EQ(header.version, 3u);
  EXPECT_EQ(header.virtual_size, 10 * kMiB);
  EXPECT_EQ(header.cluster_bits, 16u);
  EXPECT_EQ(header.backing_file, "base");
  EXPECT_EQ(header.backing_format, "raw");
  EXPECT_EQ(header.refcount_order, 4u);
  EXPECT_EQ(header.crypt_method, 0u);
  EXPECT_EQ(header.snapshot_count, 0u);
}

TEST_F(Qcow2HeaderTest, ReadsEveryKindOfImage) {
  for (const std::string options :
       {"compat=0.10", "cluster_size=512", "cluster_size=2M", "refcount_bits=1", "refcount_bits=64",
        "extended_l2=on", "lazy_refcounts=on", "compression_type=zstd", "preallocation=metadata"}) {
    SCOPED_TRACE(options);
    MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path_, "10M"});
    ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(path_, OpenMode::kRead));
    ASSERT_OK_AND_ASSIGN(const Qcow2Header header, ReadQcow2Header(*file));
    EXPECT_EQ(header.virtual_size, 10 * kMiB);
  }
}

TEST_F(Qcow2HeaderTest, ReportsAnExternalDataFileAndEncryption) {
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=" + dir_.File("data"), path_,
           "10M"});
  ASSERT_OK_AND_ASSIGN(Qcow2Header header, Read(ReadFile(path_)));
  EXPECT_TRUE(header.has_external_data_file());
  EXPECT_EQ(header.data_file, dir_.File("data"));
  std::string content = OwnImage();
  qcow2::Store32(content, qcow2::kCryptMethodAt, 1);
  ASSERT_OK_AND_ASSIGN(header, Read(content));
  EXPECT_EQ(header.crypt_method, 1u);
}

TEST_F(Qcow2HeaderTest, TruncatedAtAnyLengthIsCorrupt) {
  for (const std::string& content : {QemuOverlay(), OwnImage()}) {
    for (size_t length = 0; length <= 4096; length += length < 600 ? 1 : 100) {
      EXPECT_THAT(Read(content.substr(0, length)), HasReasonOf(Reason::kImageCorrupt)) << length;
    }
  }
}

TEST_F(Qcow2HeaderTest, ExtremeFieldsAreAStatus) {
  const std::vector<uint64_t> extremes = {0,
                                          1,
                                          2,
                                          8,
                                          511,
                                          512,
                                          0xffff,
                                          0x10000,
                                          0x10001,
                                          0x7fffffff,
                                          0x80000000,
                                          0xffffffff,
                                          0xfffffffe,
                                          0x7fffffffffffffff,
                                          0x8000000000000000,
                                          0xffffffffffffffff,
                                          0xffffffffffff0000,
                                          0x7fffffffffff0000,
                                          0x00ffffffffff0000,
                                          0x0100000000000000};
  for (const std::string& content : {QemuOverlay(), OwnImage()}) {
    for (size_t at = 0; at + 8 <= 160; at += 4) {
      for (const uint64_t value : extremes) {
        SCOPED_TRACE(fmt::format("{} = {:#x}", at, value));
        std::string changed = content;
        qcow2::Store32(changed, at, static_cast<uint32_t>(value));
        Exercise(changed);
        changed = content;
        qcow2::Store64(changed, at, value);
        Exercise(changed);
      }
    }
  }
}

TEST_F(Qcow2HeaderTest, RandomChangesAreAStatus) {
  Random random;
  CAIRN_TRACE_SEED(random);
  const std::vector<std::string> contents = {QemuOverlay(), OwnImage()};
  for (int i = 0; i < 3000; ++i) {
    std::string content = random.OneOf(contents);
    const int64_t changes = random.Between(1, 8);
    for (int64_t change = 0; change < changes; ++change) {
      // The header, the refcount table, the first refcount block, the L1 table.
      const int64_t at = random.Between(0, 3) * 64 * kKiB + random.Size(0, 600, 1);
      if (at >= static_cast<int64_t>(content.size())) continue;
      content[static_cast<size_t>(at)] = static_cast<char>(random.Between(0, 255));
    }
    Exercise(content);
  }
}

TEST_F(Qcow2HeaderTest, FieldsThatCannotBeAreCorrupt) {
  const std::string overlay = QemuOverlay();
  struct Case {
    size_t at;
    size_t bytes;
    uint64_t value;
  };
  for (const Case& c : {
           Case{qcow2::kMagicAt, 4, 0x514649fa},
           Case{qcow2::kVersionAt, 4, 1},
           Case{qcow2::kVersionAt, 4, 4},
           Case{qcow2::kClusterBitsAt, 4, 8},
           Case{qcow2::kClusterBitsAt, 4, 22},
           Case{qcow2::kSizeAt, 8, 1ull << 63},
           Case{qcow2::kSizeAt, 8, 1ull << 40},
           Case{qcow2::kL1SizeAt, 4, 0},
           Case{qcow2::kL1SizeAt, 4, 4 * 1024 * 1024 + 1},
           Case{qcow2::kL1SizeAt, 4, 0xffffffff},
           Case{qcow2::kL1OffsetAt, 8, 0},
           Case{qcow2::kL1OffsetAt, 8, 0x30001},
           Case{qcow2::kL1OffsetAt, 8, 1ull << 48},
           Case{qcow2::kL1OffsetAt, 8, 0x10000},
           Case{qcow2::kRefcountTableOffsetAt, 8, 0x10008},
           Case{qcow2::kRefcountTableOffsetAt, 8, 1ull << 62},
           Case{qcow2::kRefcountTableClustersAt, 4, 0},
           Case{qcow2::kRefcountTableClustersAt, 4, 129},
           Case{qcow2::kCryptMethodAt, 4, 3},
           Case{qcow2::kSnapshotCountAt, 4, 65537},
           Case{qcow2::kSnapshotCountAt, 4, 1},
           Case{qcow2::kRefcountOrderAt, 4, 7},
           Case{qcow2::kHeaderLengthAt, 4, 103},
           Case{qcow2::kHeaderLengthAt, 4, 65537},
           Case{qcow2::kBackingOffsetAt, 8, 65537},
           Case{qcow2::kBackingOffsetAt, 8, 50},
           Case{qcow2::kBackingSizeAt, 4, 1024},
           Case{qcow2::kBackingSizeAt, 4, 0xffffffff},
       }) {
    std::string content = overlay;
    if (c.bytes == 4) qcow2::Store32(content, c.at, static_cast<uint32_t>(c.value));
    if (c.bytes == 8) qcow2::Store64(content, c.at, c.value);
    EXPECT_THAT(Read(content), HasReasonOf(Reason::kImageCorrupt)) << c.at << " " << c.value;
  }
  for (int bit = 5; bit < 64; ++bit) {
    std::string content = overlay;
    qcow2::Store64(content, qcow2::kIncompatibleAt, 1ull << bit);
    EXPECT_THAT(Read(content), HasReasonOf(Reason::kImageUnsafe)) << bit;
  }
}

TEST_F(Qcow2HeaderTest, TwoBackingFormatsAreCorrupt) {
  MemoryFile file("");
  ASSERT_OK(
      CreateQcow2(file, {.size_bytes = kMiB, .backing_file = "b", .backing_format = "raw"}, {}));
  std::string content = file.content();
  // Behind the one extension (type, length, 8 bytes of data): the same again, then the end.
  content.replace(120, 16, content.substr(104, 16));
  qcow2::Store64(content, qcow2::kBackingOffsetAt, 144);
  qcow2::Store64(content, 136, 0);
  content[144] = 'b';
  EXPECT_THAT(Read(content), HasReasonOf(Reason::kImageCorrupt));
}

TEST_F(Qcow2HeaderTest, SetBackingChangesTheHeaderAlone) {
  Random random;
  CAIRN_TRACE_SEED(random);
  const int64_t size = 20 * kMiB;
  for (const std::string name : {"a", "b"}) {
    MustRun({"qemu-img", "create", "-q", "-f", "qcow2", dir_.File(name), std::to_string(size)});
    WriteRandomData(random, dir_.File(name), "qcow2", size, 5);
  }
  for (const std::string options : {"compat=1.1", "compat=0.10", "cluster_size=512"}) {
    SCOPED_TRACE(options);
    MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "-b", "a", "-F", "qcow2",
             path_, std::to_string(size)});
    WriteRandomData(random, path_, "qcow2", size, 5);
    const std::string before = ReadFile(path_);
    ASSERT_OK(SetBacking("b", "qcow2"));
    EXPECT_EQ(CheckImage(path_), 0);
    auto info = ImageInfoOf(path_);
    EXPECT_EQ(info["backing-filename"], "b");
    EXPECT_EQ(info["backing-filename-format"], "qcow2");
    const std::string after = ReadFile(path_);
    EXPECT_EQ(after.size(), before.size());
    EXPECT_EQ(after.substr(4096), before.substr(4096));
    // As qemu's own.
    const std::string theirs = dir_.File("theirs");
    WriteFile(theirs, before);
    MustRun({"qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "b", "-F", "qcow2", theirs});
    EXPECT_TRUE(SameContent(path_, "qcow2", theirs, "qcow2"));

    const std::string long_name(100, 'n');
    ASSERT_OK(SetBacking(long_name, "raw"));
    ASSERT_OK(SetBacking("", ""));
    info = ImageInfoOf(path_);
    EXPECT_FALSE(info.contains("backing-filename"));
    EXPECT_FALSE(info.contains("backing-filename-format"));
    // In the first cluster only: the random data beyond may hold any byte.
    EXPECT_EQ(ReadFile(path_).substr(0, 512).find("nnnnn"), std::string::npos)
        << "nothing of the old name is left";
    ASSERT_OK(SetBacking("a", "qcow2"));
    WriteFile(theirs, before);
    EXPECT_TRUE(SameContent(path_, "qcow2", theirs, "qcow2"));
  }
}

TEST_F(Qcow2HeaderTest, SetBackingRefusesWhatDoesNotFitOrIsUnsafe) {
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path_, "1M"});
  // An extension of another program's takes half of the cluster.
  std::string before = ReadFile(path_);
  qcow2::Store32(before, 112, 0x12345678);
  qcow2::Store32(before, 116, 256);
  WriteFile(path_, before);
  EXPECT_THAT(SetBacking(std::string(250, 'n'), "raw"), HasReasonOf(Reason::kImageCorrupt));
  EXPECT_THAT(SetBacking("../b", "raw"), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(SetBacking("b", "vpc"), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(SetBacking("b", ""), HasReasonOf(Reason::kInvalidField));
  EXPECT_EQ(ReadFile(path_), before);
}

TEST(CheckBackingNameTest, BareNamesOnly) {
  EXPECT_OK(CheckBackingName("volume-1.snap-2"));
  EXPECT_OK(CheckBackingName(std::string(255, 'x')));
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("/etc/passwd"),
        std::string("a/b"), std::string("json:{}"), std::string("nbd:host:1"), std::string("a\nb"),
        std::string("volume-1\n"), std::string("a\0b", 3), std::string("\xc3\xa4"),
        std::string("a\x7f"), std::string(256, 'x')}) {
    EXPECT_THAT(CheckBackingName(name), HasReasonOf(Reason::kImageUnsafe)) << name;
  }
}

}  // namespace
}  // namespace cairn::testing
