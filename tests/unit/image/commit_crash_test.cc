// A native commit that ends at any instant, by a failure, a crash of the process or a loss of power:
// the base is never corrupt, what is read through the layer never changes, and a second run ends well.
#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "lib/os/faulty_file_system.h"
#include "tests/unit/image/commit_fixture.h"

namespace cairn::testing {
namespace {

struct Change {
  enum class Kind { kWrite, kTruncate, kSync } kind = Kind::kSync;
  int64_t offset = 0;  // of a truncation: the size
  std::string data{};
};

// Writes down what changes the file.
class RecordedFile : public File {
 public:
  explicit RecordedFile(std::unique_ptr<File> base) : base_(std::move(base)) {}
  const std::vector<Change>& changes() const { return changes_; }

  absl::Status WriteAt(int64_t offset, std::string_view data) override {
    changes_.push_back({Change::Kind::kWrite, offset, std::string(data)});
    return base_->WriteAt(offset, data);
  }
  absl::Status Truncate(int64_t size_bytes) override {
    changes_.push_back({Change::Kind::kTruncate, size_bytes});
    return base_->Truncate(size_bytes);
  }
  absl::Status Sync() override {
    changes_.push_back({});
    return base_->Sync();
  }
  absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) override {
    return base_->ReadAt(offset, length);
  }
  absl::StatusOr<DataExtent> NextData(int64_t offset) override { return base_->NextData(offset); }
  absl::StatusOr<FileStat> Stat() override { return base_->Stat(); }
  void StartSync(int64_t, int64_t) override {}
  absl::StatusOr<bool> TryLockShared(int64_t, int64_t) override { return true; }
  absl::StatusOr<bool> IsLockedByOthers(int64_t, int64_t) override { return false; }
  absl::Status Allocate(int64_t, int64_t) override { return NotUsed(); }
  absl::Status CloneFrom(File&) override { return NotUsed(); }
  absl::StatusOr<int64_t> CopyRangeFrom(File&, int64_t, int64_t) override { return NotUsed(); }
  absl::Status SetOwnerAndMode(uid_t, gid_t, mode_t) override { return NotUsed(); }

 private:
  static absl::Status NotUsed() { return absl::InternalError("a commit has no use for this"); }
  const std::unique_ptr<File> base_;
  std::vector<Change> changes_;
};

class CommitCrashTest : public CommitTest {
 protected:
  // The shapes whose writes differ, small enough that every instant can be looked at.
  std::vector<Shape> Shapes() {
    const std::string small = "cluster_size=4k";
    return {
        {.base_format = "raw", .layer_options = small, .base_bytes = kMiB, .layer_bytes = kMiB},
        {.base_format = "raw", .base_bytes = kMiB, .layer_bytes = 2 * kMiB + 512},
        {.base_format = "qcow2",
         .base_options = small,
         .layer_options = small,
         .base_bytes = 4 * kMiB,
         .layer_bytes = 4 * kMiB},
        {.base_format = "qcow2",
         .base_options = small + ",refcount_bits=64",
         .layer_options = small,
         .base_bytes = 4 * kMiB,
         .layer_bytes = 400 * kMiB},
        {.base_format = "qcow2", .bottom_format = "raw", .base_bytes = kMiB, .layer_bytes = kMiB},
        {.base_format = "qcow2",
         .bottom_format = "qcow2",
         .base_options = "compat=0.10",
         .base_bytes = 4 * kMiB + 512,
         .layer_bytes = 4 * kMiB + 512},
    };
  }

  // A chain, kept aside, and what it reads as.
  void Begin(const Shape& shape) {
    MakeChain(shape);
    WriteRandomly("layer", "qcow2", shape.layer_bytes, 8);
    QemuIo(Path("layer"), "qcow2", {"write -P 9 0 512", "write -z 128k 64k"});
    CopyChain("before");
    MustRun({"qemu-img", "convert", "-f", "qcow2", "-O", "raw", Path("layer"), dir_.File("flat")});
  }
  void PutBack() {
    std::filesystem::copy_file(dir_.File("before") + "/base", Path("base"),
                               std::filesystem::copy_options::overwrite_existing);
  }
  void ExpectSafe(const Shape& shape, bool again) {
    const auto clean = [&] {
      const int check = shape.base_format == "raw" ? 0 : CheckImage(Path("base"));
      EXPECT_TRUE(check == 0 || check == 3) << check;
    };
    clean();
    EXPECT_TRUE(SameContent(Path("layer"), "qcow2", dir_.File("flat"), "raw"));
    if (!again) return;
    ASSERT_OK(Commit());
    clean();
    EXPECT_TRUE(SameContent(Path("base"), shape.base_format, dir_.File("flat"), "raw"));
  }

  std::vector<Change> Record(const Shape& shape) {
    auto layer = FileSystem::Posix()->Open(Path("layer"), OpenMode::kRead);
    auto base = FileSystem::Posix()->Open(Path("base"), OpenMode::kReadWrite);
    EXPECT_OK(layer);
    EXPECT_OK(base);
    RecordedFile recorded(*std::move(base));
    EXPECT_OK(CommitQcow2(**layer, recorded, *FileFormatFromName(shape.base_format), {}, {}));
    return recorded.changes();
  }

  // What a disk may hold when power is lost after `count` changes: all up to the last fsync, and of
  // the rest any, whole or in part.
  void LosePower(const std::vector<Change>& changes, size_t count, bool keep_all) {
    size_t durable = 0;
    for (size_t i = 0; i < count; ++i) {
      if (changes[i].kind == Change::Kind::kSync) durable = i + 1;
    }
    PutBack();
    ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(Path("base"), OpenMode::kReadWrite));
    for (size_t i = 0; i < count; ++i) {
      const Change& change = changes[i];
      const bool whole = i < durable || keep_all;
      if (!whole && random_.Between(0, 1) == 0) continue;
      if (change.kind == Change::Kind::kTruncate) {
        ASSERT_OK(file->Truncate(change.offset));
      } else if (change.kind == Change::Kind::kWrite) {
        WritePart(*file, change, whole);
      }
    }
  }
  // Some of the sectors that a write touches.
  void WritePart(File& file, const Change& change, bool whole) {
    if (whole || random_.Between(0, 1) == 0) {
      ASSERT_OK(file.WriteAt(change.offset, change.data));
      return;
    }
    const int64_t end = change.offset + static_cast<int64_t>(change.data.size());
    for (int64_t at = change.offset; at < end;) {
      const int64_t next = std::min(end, (at / 512 + 1) * 512);
      if (random_.Between(0, 1) == 0) {
        ASSERT_OK(file.WriteAt(at, std::string_view(change.data)
                                       .substr(static_cast<size_t>(at - change.offset),
                                               static_cast<size_t>(next - at))));
      }
      at = next;
    }
  }
};

TEST_F(CommitCrashTest, APowerLossAtAnyInstantHarmsNothing) {
  CAIRN_TRACE_SEED(random_);
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(shape.Describe());
    Begin(shape);
    const std::vector<Change> changes = Record(shape);
    ASSERT_FALSE(changes.empty());
    EXPECT_EQ(changes.back().kind, Change::Kind::kSync);
    for (size_t count = 0; count <= changes.size(); ++count) {
      SCOPED_TRACE(fmt::format("after {} of {} changes", count, changes.size()));
      for (const bool keep_all : {true, false, false}) {
        LosePower(changes, count, keep_all);
        ExpectSafe(shape, random_.Between(0, 3) == 0);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(CommitCrashTest, AFailureOfAnyCallHarmsNothing) {
  CAIRN_TRACE_SEED(random_);
  FaultyFileSystem files(FileSystem::Posix());
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(shape.Describe());
    Begin(shape);
    for (const bool from_then_on : {false, true}) {
      files.EnumerateFaults({.call = from_then_on ? "" : "*",
                             .error_number = ENOSPC,
                             .from_then_on = from_then_on,
                             // Whole sectors, as a disk or a server takes them.
                             .short_write_bytes = random_.Between(0, 10) * kSectorBytes},
                            [&](int64_t) {
                              PutBack();
                              const absl::Status status =
                                  CommitSmallLayer(files, Path(""), "layer", "base", {}, {});
                              EXPECT_EQ(status.ok(), !files.fired());
                              ExpectSafe(shape, random_.Between(0, 3) == 0);
                            });
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace cairn::testing
