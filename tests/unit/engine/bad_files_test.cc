// Files on a share that nobody should trust: adopting them is refused, and neither they nor the
// catalog change.
#include <gtest/gtest.h>

#include "lib/base/id.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::Adopt;
using testing::HasReasonOf;
using testing::NewSnapshot;
using testing::Observe;
using testing::OnlyValidated;
using testing::RunTool;
using testing::StatusIs;
using testing::TestEngine;
using testing::WriteFile;

class BadFilesTest : public ::testing::Test {
 protected:
  std::string base() const { return "volume-" + id_; }
  std::string layer() const { return base() + "." + snapshot_; }
  std::string Path(const std::string& file) const { return engine_.directory() + "/" + file; }
  void WriteMap(const std::string& text) { WriteFile(Path(base() + ".info"), text); }

  // A qcow2 file whose header names `backing`, without looking at it.
  void MakeBacked(const std::string& file, const std::string& backing,
                  const std::string& format = "qcow2") {
    RunTool({"qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", format, "-b", backing,
             Path(file), "1M"});
  }
  void MakePlain(const std::string& file, const std::string& format = "qcow2") {
    RunTool({"qemu-img", "create", "-q", "-f", format, Path(file), "1M"});
  }

  void ExpectNotAdopted(Reason reason, VolumeFormat format = VolumeFormat::kQcow2) {
    const std::string before = Observe(engine_);
    EXPECT_THAT(engine_.Do(Adopt(engine_.address(0), id_, format), OnlyValidated()),
                HasReasonOf(reason));
    const absl::Time begun = absl::Now();
    absl::Status status = engine_.Do(Adopt(engine_.address(0), id_, format));
    EXPECT_LT(absl::Now() - begun, absl::Seconds(20));
    EXPECT_THAT(status, HasReasonOf(reason));
    EXPECT_THAT(status, StatusIs(ReasonCode(reason)));
    EXPECT_EQ(Observe(engine_), before);
    EXPECT_EQ(engine_.Volume(id_), nullptr);
  }

  TestEngine engine_;
  const std::string id_ = NewId();
  const std::string snapshot_ = NewId();
};

TEST_F(BadFilesTest, NoFile) { ExpectNotAdopted(Reason::kFileNotFound); }

TEST_F(BadFilesTest, CorruptMaps) {
  MakePlain(base());
  MakeBacked(layer(), base());
  const std::string active = "\"active\": \"" + layer() + "\"";
  for (const std::string& text :
       {std::string(), std::string("{}"), std::string("[]"), std::string("null"), std::string("{"),
        std::string("{\"active\": 1}"), std::string("{\"active\": \"\"}"),
        std::string("{\"active\": \"/etc/passwd\"}"), std::string("{\"active\": \"../x\"}"),
        "{\"active\": \"volume-" + NewId() + "\"}", "{\"" + snapshot_ + "\": \"" + layer() + "\"}",
        "{" + active + ", \"" + snapshot_ + "\": [\"" + layer() + "\"]}",
        "{" + active + ", \"not-an-id\": \"" + layer() + "\"}",
        "{" + active + ", \"" + snapshot_ + "\": \"" + base() + "\"}",
        "{" + active + ", \"" + snapshot_ + "\": \"" + base() + "." + NewId() + "\"}",
        std::string(5 << 20, ' ')}) {
    WriteMap(text);
    SCOPED_TRACE(text.substr(0, 100));
    if (text.size() > (1 << 20)) {
      const std::string before = Observe(engine_);
      EXPECT_THAT(engine_.Do(Adopt(engine_.address(0), id_, VolumeFormat::kQcow2)),
                  StatusIs(absl::StatusCode::kDataLoss));
      EXPECT_EQ(Observe(engine_), before);
    } else {
      ExpectNotAdopted(Reason::kMapCorrupt);
    }
  }
}

class BackingNameTest : public BadFilesTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(BackingNameTest, IsUnsafeInABaseAndInALayer) {
  WriteFile(Path("other"), std::string(kMiB, 'o'));
  MakeBacked(base(), GetParam());
  ExpectNotAdopted(Reason::kImageUnsafe);
  std::filesystem::remove(Path(base()));
  MakePlain(base());
  MakeBacked(layer(), GetParam());
  WriteMap("{\"active\": \"" + layer() + "\"}");
  ExpectNotAdopted(Reason::kImageUnsafe);
}

INSTANTIATE_TEST_SUITE_P(Names, BackingNameTest,
                         ::testing::Values("/etc/passwd", "../other", "./other", "other",
                                           "json:{\"driver\":\"raw\"}", "nbd:localhost:10809",
                                           "nbd://localhost/x", "nbd+unix:///x?socket=/tmp/s",
                                           "https://localhost/x", "file:other", "fat:rw:/tmp",
                                           "volume-", "volume-x/../other"));

TEST_F(BadFilesTest, ALayerOfAnotherVolume) {
  const std::string other = "volume-" + NewId();
  MakePlain(other);
  MakeBacked(base(), other);
  ExpectNotAdopted(Reason::kImageUnsafe);
}

TEST_F(BadFilesTest, ABackingNameWithItsVolumesNameAndAWrongSuffix) {
  MakeBacked(base(), base() + ".info");
  ExpectNotAdopted(Reason::kImageUnsafe);
}

TEST_F(BadFilesTest, AnExternalDataFile) {
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
           "data_file=" + engine_.dir().File("data"), Path(base()), "1M"});
  ExpectNotAdopted(Reason::kImageUnsafe);
}

TEST_F(BadFilesTest, AHeaderThatNamesItself) {
  MakeBacked(base(), base());
  ExpectNotAdopted(Reason::kChainCorrupt);
}

TEST_F(BadFilesTest, ALoopOfTwo) {
  MakeBacked(base(), layer());
  MakeBacked(layer(), base());
  WriteMap("{\"active\": \"" + layer() + "\"}");
  ExpectNotAdopted(Reason::kChainCorrupt);
}

TEST_F(BadFilesTest, ALayerWithoutARecordedBackingFormat) {
  MakePlain(base());
  // An older qemu leaves the format out.
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", Path(layer()), "1M"});
  std::string content = testing::ReadFile(Path(layer()));
  const std::string name = base();
  constexpr size_t kNameAt = 256;
  for (size_t i = 0; i < 8; ++i) {
    content[8 + i] = static_cast<char>(kNameAt >> (8 * (7 - i)) & 0xff);
  }
  for (size_t i = 0; i < 4; ++i) {
    content[16 + i] = static_cast<char>(name.size() >> (8 * (3 - i)) & 0xff);
  }
  content.replace(kNameAt, name.size(), name);
  WriteFile(Path(layer()), content);
  WriteMap("{\"active\": \"" + layer() + "\"}");
  ExpectNotAdopted(Reason::kImageUnsafe);
}

TEST_F(BadFilesTest, AMissingFileBelow) {
  MakeBacked(layer(), base());
  WriteMap("{\"active\": \"" + layer() + "\"}");
  ExpectNotAdopted(Reason::kChainCorrupt);
}

TEST_F(BadFilesTest, ATruncatedHeader) {
  MakePlain(base());
  std::filesystem::resize_file(Path(base()), 50);
  ExpectNotAdopted(Reason::kImageCorrupt);
}

TEST_F(BadFilesTest, ARawFileSaidToBeQcow2) {
  WriteFile(Path(base()), std::string(kMiB, 'r'));
  ExpectNotAdopted(Reason::kImageMismatch);
}

TEST_F(BadFilesTest, ABaseOfAnotherFormatThanWasSaid) {
  MakePlain(base());
  MakeBacked(layer(), base());
  WriteMap("{\"active\": \"" + layer() + "\"}");
  ExpectNotAdopted(Reason::kImageMismatch, VolumeFormat::kRawSparse);
}

TEST_F(BadFilesTest, ARawFileThatIsNoMultipleOfASector) {
  WriteFile(Path(base()), std::string(1000, 'r'));
  ExpectNotAdopted(Reason::kInvalidField, VolumeFormat::kRawSparse);
}

TEST_F(BadFilesTest, SnapshotsThatTheMapNamesInAnotherWay) {
  MakePlain(base());
  MakeBacked(layer(), base());
  std::string capitals = snapshot_;
  for (char& c : capitals) c = static_cast<char>(std::toupper(c));
  for (const std::string& key : {capitals, "tmp-snap-" + snapshot_}) {
    WriteMap("{\"active\": \"" + layer() + "\", \"" + key + "\": \"" + layer() + "\"}");
    ExpectNotAdopted(Reason::kImageUnsafe);
  }
}

TEST_F(BadFilesTest, SymbolicLinks) {
  WriteFile(engine_.dir().File("secret"), std::string(kMiB, 's'));
  std::filesystem::create_symlink(engine_.dir().File("secret"), Path(base()));
  ExpectNotAdopted(Reason::kImageUnsafe, VolumeFormat::kRawSparse);
}

// What says qcow2 inside a raw volume is data: it is adopted as what it was said to be.
TEST_F(BadFilesTest, ARawFileWhoseContentIsAQcow2HeaderIsRaw) {
  MakeBacked(base(), "/etc/passwd");
  const auto size = static_cast<int64_t>(std::filesystem::file_size(Path(base())));
  std::filesystem::resize_file(Path(base()), static_cast<uintmax_t>(size + 511) / 512 * 512);
  ASSERT_OK(engine_.Do(Adopt(engine_.address(0), id_, VolumeFormat::kRawSparse)));
  EXPECT_EQ(engine_->ConnectionOf(id_, "")->file_format, FileFormat::kRaw);
  ASSERT_OK_AND_ASSIGN(std::string snapshot, engine_.Snapshot(id_));
  EXPECT_EQ(
      testing::QemuInfo(engine_.ActivePath(id_), FileFormat::kQcow2)["backing-filename-format"],
      "raw");
}

}  // namespace
}  // namespace cairn
