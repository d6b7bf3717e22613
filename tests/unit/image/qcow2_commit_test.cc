// The native commit, with qemu's tools as judges: what it does, that nothing can stop it at a wrong
// moment, and what it leaves alone.
#include "lib/image/qcow2_commit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "lib/image/image.h"
#include "lib/image/image_lock.h"
#include "lib/image/qcow2_layout.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/commit_fixture.h"

namespace cairn::testing {
namespace {

TEST_F(CommitTest, RandomLayersAreMergedAsQemuDoesIt) {
  CAIRN_TRACE_SEED(random_);
  std::map<std::string, int> others;
  int merged = 0;
  constexpr int kRounds = 60;
  for (int i = 0; i < kRounds; ++i) {
    const Shape shape = RandomShape();
    SCOPED_TRACE(fmt::format("round {}: {}", i, shape.Describe()));
    MakeChain(shape);
    Fill(shape);
    CopyChain("qemu");
    MustRun({"qemu-img", "commit", "-q", "-d", "-f", "qcow2", "layer"}, dir_.File("qemu"));
    MustRun({"qemu-img", "convert", "-f", "qcow2", "-O", "raw", Path("layer"), dir_.File("flat")});
    const std::string before = ReadFile(Path("base"));
    const absl::Status status = Commit();
    if (absl::IsUnimplemented(status)) {
      ++others[std::string(ToStd(status.message()))];
      EXPECT_EQ(ReadFile(Path("base")), before);
      continue;
    }
    ASSERT_OK(status);
    ++merged;
    if (shape.base_format == "qcow2") {
      EXPECT_EQ(CheckImage(Path("base")), 0);
    }
    EXPECT_TRUE(SameContent(Path("base"), shape.base_format, dir_.File("qemu") + "/base",
                            shape.base_format));
    EXPECT_TRUE(SameContent(Path("base"), shape.base_format, dir_.File("flat"), "raw"));
    EXPECT_TRUE(SameContent(Path("layer"), "qcow2", dir_.File("flat"), "raw"));
    EXPECT_EQ(ImageInfoOf(Path("base"), shape.base_format)["virtual-size"],
              ImageInfoOf(dir_.File("qemu") + "/base", shape.base_format)["virtual-size"]);
    // Again is no harm.
    ASSERT_OK(Commit());
    EXPECT_TRUE(SameContent(Path("base"), shape.base_format, dir_.File("flat"), "raw"));
    if (HasFailure()) break;
  }
  EXPECT_GT(merged, kRounds / 2) << fmt::format("{}", others);
}

TEST_F(CommitTest, PreallocatedBasesAreWrittenInPlace) {
  const int64_t size = 20 * kMiB + 512;
  ASSERT_OK(CreateAt(Path("base"), {.size_bytes = size, .preallocate_metadata = true}));
  MakeLayer("layer", "base", "qcow2", size, "");
  QemuIo(Path("layer"), "qcow2", {"write -P 7 1M 3M", "write -z 5M 1M", "write -P 8 20M 512"});
  FaultyFileSystem files(FileSystem::Posix());
  const auto size_before = std::filesystem::file_size(Path("base"));
  ASSERT_OK(CommitSmallLayer(files, Path(""), "layer", "base", {}, {}));
  EXPECT_EQ(std::filesystem::file_size(Path("base")), size_before);
  EXPECT_EQ(files.calls("Sync"), 1);
  EXPECT_LE(files.calls("WriteAt"), 4);
  EXPECT_EQ(CheckImage(Path("base")), 0);
  QemuIo(Path("base"), "qcow2",
         {"read -P 7 1M 3M", "read -P 0 5M 1M", "read -P 8 20M 512", "read -P 0 8M 12M"});
}

TEST_F(CommitTest, NewClustersCostTwoSyncsAndFewCalls) {
  MakeImage("base", "qcow2", kGiB, "");
  MakeLayer("layer", "base", "qcow2", kGiB, "");
  QemuIo(Path("layer"), "qcow2", {"write -P 7 1M 8M", "write -P 8 700M 64k"});
  FaultyFileSystem files(FileSystem::Posix());
  std::vector<int64_t> seen;
  ASSERT_OK(CommitSmallLayer(files, Path(""), "layer", "base", {}, [&](int64_t done, int64_t all) {
    EXPECT_LE(done, all);
    seen.push_back(done);
  }));
  EXPECT_EQ(files.calls("Sync"), 2);
  EXPECT_LE(files.calls("WriteAt"), 8);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back(), 8 * kMiB + 64 * kKiB);
  EXPECT_EQ(CheckImage(Path("base")), 0);
  QemuIo(Path("base"), "qcow2", {"read -P 7 1M 8M", "read -P 8 700M 64k", "read -P 0 9M 600M"});
}

// An L1 entry in use for the first time, and a refcount block that has to be made.
TEST_F(CommitTest, ANewRefcountBlockIsMade) {
  MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k,refcount_bits=64",
           Path("base"), "16M"});
  QemuIo(Path("base"), "qcow2", {"write -P 1 0 1900k"});
  MakeLayer("layer", "base", "qcow2", 16 * kMiB, "cluster_size=4k");
  QemuIo(Path("layer"), "qcow2", {"write -P 2 1M 5M"});
  ASSERT_OK(Commit());
  EXPECT_EQ(CheckImage(Path("base")), 0);
  QemuIo(Path("base"), "qcow2", {"read -P 1 0 1M", "read -P 2 1M 5M", "read -P 0 6M 10M"});
}

TEST_F(CommitTest, ZerosKeepTheRoomOfAThickBase) {
  const int64_t size = 4 * kMiB;
  ASSERT_OK(CreateImage(*FileSystem::Posix(), Path(""), "base", "temporary",
                        {.format = VolumeFormat::kRawThick, .size_bytes = size}, {}, {}));
  QemuIo(Path("base"), "raw", {"write -P 5 0 2M"});
  MakeLayer("layer", "base", "raw", size, "");
  QemuIo(Path("layer"), "qcow2", {"write -z 64k 3M"});
  const int64_t room = FileSystem::Posix()->Stat(Path("base"))->physical_bytes;
  ASSERT_OK(Commit());
  EXPECT_GE(FileSystem::Posix()->Stat(Path("base"))->physical_bytes, room);
  QemuIo(Path("base"), "raw", {"read -P 5 0 64k", "read -P 0 64k 3M"});
}

TEST_F(CommitTest, ACancelledMergeIsTakenUpAgain) {
  MakeImage("base", "qcow2", kGiB, "");
  MakeLayer("layer", "base", "qcow2", kGiB, "");
  QemuIo(Path("layer"), "qcow2", {"write -P 7 1M 8M", "write -P 8 700M 64k"});
  const auto before = std::filesystem::file_size(Path("base"));
  CancelSource cancel;
  EXPECT_TRUE(absl::IsCancelled(CommitSmallLayer(*FileSystem::Posix(), Path(""), "layer", "base",
                                                 cancel.token(),
                                                 [&](int64_t, int64_t) { cancel.Cancel(); })));
  EXPECT_EQ(std::filesystem::file_size(Path("base")), before);
  EXPECT_EQ(CheckImage(Path("base")), 0);
  ASSERT_OK(Commit());
  QemuIo(Path("base"), "qcow2", {"read -P 7 1M 8M", "read -P 8 700M 64k"});
}

// ---- what is left to qemu-img

TEST_F(CommitTest, WhatIsNotPlainIsLeftAsItIs) {
  const std::string object = "secret,id=s,data=abc";
  struct Case {
    std::string what;
    std::function<void()> make;
  };
  const auto chain = [this](const std::string& base_options, const std::string& layer_options) {
    MakeImage("base", "qcow2", 8 * kMiB, base_options);
    QemuIo(Path("base"), "qcow2", {"write -P 1 0 1M"});
    MakeLayer("layer", "base", "qcow2", 8 * kMiB, layer_options);
    QemuIo(Path("layer"), "qcow2", {"write -P 2 512k 1M"});
  };
  const auto poke = [this](const std::string& name, int64_t offset, const std::string& bytes) {
    ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(Path(name), OpenMode::kReadWrite));
    ASSERT_OK(file->WriteAt(offset, bytes));
  };
  const auto entry_of = [this](const std::string& name, int64_t at) {
    const std::string bytes = ReadFile(Path(name)).substr(static_cast<size_t>(at), 8);
    return qcow2::Load64(bytes, 0);
  };
  // Where the first L2 table is.
  const auto table_of = [&](const std::string& name) {
    const auto l1 = static_cast<int64_t>(entry_of(name, qcow2::kL1OffsetAt));
    return static_cast<int64_t>(entry_of(name, l1) & ~qcow2::kCopied);
  };
  const auto bytes_of = [](uint64_t value) {
    std::string bytes(8, '\0');
    qcow2::Store64(bytes, 0, value);
    return bytes;
  };
  std::vector<Case> cases = {
      {"compressed clusters",
       [&] {
         chain("", "");
         QemuIo(Path("layer"), "qcow2", {"write -c -P 3 2M 64k"});
       }},
      {"a compressed cluster below",
       [&] {
         MakeImage("base", "qcow2", 8 * kMiB, "");
         QemuIo(Path("base"), "qcow2", {"write -c -P 3 0 64k"});
         MakeLayer("layer", "base", "qcow2", 8 * kMiB, "");
         QemuIo(Path("layer"), "qcow2", {"write -P 2 0 1M"});
       }},
      {"other clusters", [&] { chain("cluster_size=32k", ""); }},
      {"large",
       [&] {
         chain("", "");
         MustRun({"qemu-img", "resize", "-q", Path("layer"), "64M"});
         MustRun({"qemu-img", "resize", "-q", Path("base"), "64M"});
         QemuIo(Path("layer"), "qcow2", {"write -P 3 0 17M"});
       }},
      {"large tables",
       [&] {
         const std::string options = "cluster_size=512";
         MakeImage("base", "qcow2", 64 * kMiB, options);
         MakeLayer("layer", "base", "qcow2", 64 * kMiB, options);
         QemuIo(Path("layer"), "qcow2", {"write -P 3 0 16M"});
       }},
      {"zeros without end",
       [&] {
         MustRun({"qemu-img", "create", "-q", "-f", "raw", Path("base"), "64M"});
         QemuIo(Path("base"), "raw", {"write -P 3 0 20M"});
         MakeLayer("layer", "base", "raw", 64 * kMiB, "");
         QemuIo(Path("layer"), "qcow2", {"write -z 0 20M"});
       }},
      {"another name below",
       [&] {
         chain("", "");
         std::filesystem::copy_file(Path("base"), Path("other"),
                                    std::filesystem::copy_options::overwrite_existing);
         MustRun({"qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "other",
                  Path("layer")});
       }},
      {"growth inside a cluster",
       [&] {
         MakeImage("base", "qcow2", 8 * kMiB + 512, "");
         MakeLayer("layer", "base", "qcow2", 9 * kMiB, "");
         QemuIo(Path("layer"), "qcow2", {"write -P 2 512k 1M"});
       }},
      {"a cluster with two users",
       [&] {
         chain("", "");
         const uint64_t cluster = (entry_of("base", table_of("base") + 8 * 8) & ~qcow2::kCopied);
         const auto table = static_cast<int64_t>(entry_of("base", qcow2::kRefcountTableOffsetAt));
         const auto block = static_cast<int64_t>(entry_of("base", table));
         poke("base", block + static_cast<int64_t>(cluster >> 16) * 2, std::string("\0\2", 2));
       }},
      {"a cluster that is not said to have one user",
       [&] {
         chain("", "");
         const int64_t at = table_of("base") + 8 * 8;
         poke("base", at, bytes_of(entry_of("base", at) & ~qcow2::kCopied));
       }},
      {"data in the L1 table",
       [&] {
         chain("", "");
         poke("base", table_of("base") + 8 * 8,
              bytes_of(entry_of("base", qcow2::kL1OffsetAt) | qcow2::kCopied));
       }},
      {"data in a refcount block",
       [&] {
         chain("", "");
         const auto table = static_cast<int64_t>(entry_of("base", qcow2::kRefcountTableOffsetAt));
         poke("base", table_of("base") + 8 * 8, bytes_of(entry_of("base", table) | qcow2::kCopied));
       }},
      {"a cluster twice",
       [&] {
         chain("", "");
         const int64_t at = table_of("base") + 8 * 8;
         poke("base", at, bytes_of(entry_of("base", at + 8)));
       }},
      {"data outside the file",
       [&] {
         chain("", "");
         poke("layer", table_of("layer") + 8 * 8, bytes_of((uint64_t{1} << 40) | qcow2::kCopied));
       }},
      {"reserved bits",
       [&] {
         chain("", "");
         const int64_t at = table_of("base") + 8 * 8;
         poke("base", at, bytes_of(entry_of("base", at) | 2));
       }},
  };
  for (const std::string& name : std::vector<std::string>{"base", "layer"}) {
    const auto with = [&chain, name](const std::string& options) {
      return name == "base" ? chain(options, "") : chain("", options);
    };
    cases.push_back({name + ": subclusters", [=] { with("extended_l2=on"); }});
    cases.push_back({name + ": zstd", [=] { with("compression_type=zstd"); }});
    cases.push_back({name + ": data file", [=, this] { with("data_file=" + dir_.File(name)); }});
    cases.push_back({name + ": internal snapshot", [=, this] {
                       with("");
                       MustRun({"qemu-img", "snapshot", "-c", "s", Path(name)});
                     }});
    cases.push_back({name + ": bitmap", [=, this] {
                       with("");
                       MustRun({"qemu-img", "bitmap", "--add", Path(name), "b"});
                     }});
    cases.push_back({name + ": dirty", [=] {
                       with("");
                       poke(name, qcow2::kIncompatibleAt + 7, "\1");
                     }});
    cases.push_back({name + ": corrupt", [=] {
                       with("");
                       poke(name, qcow2::kIncompatibleAt + 7, "\2");
                     }});
    cases.push_back({name + ": autoclear", [=] {
                       with("");
                       poke(name, qcow2::kAutoclearAt, "\1");
                     }});
    cases.push_back({name + ": encrypted", [=] {
                       with("");
                       poke(name, qcow2::kCryptMethodAt + 3, "\2");
                     }});
    cases.push_back({name + ": no header", [=] {
                       with("");
                       poke(name, 0, std::string(512, 'x'));
                     }});
  }
  for (const Case& each : cases) {
    SCOPED_TRACE(each.what);
    each.make();
    const std::string base = ReadFile(Path("base"));
    const std::string layer = ReadFile(Path("layer"));
    const absl::Status status = Commit();
    // A layer without a header never comes so far: it is inspected first.
    if (each.what == "layer: no header") {
      EXPECT_THAT(status, HasReasonOf(Reason::kImageCorrupt));
    } else {
      EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    }
    EXPECT_TRUE(ReadFile(Path("base")) == base);
    EXPECT_TRUE(ReadFile(Path("layer")) == layer);
  }
}

}  // namespace
}  // namespace cairn::testing
