// Every bad input that the engine checks: the right code, reason and field, and nothing changed.
#include <gtest/gtest.h>

#include <limits>

#include "lib/base/id.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::Attach;
using testing::FromSnapshot;
using testing::FromVolume;
using testing::HasReasonOf;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::Observe;
using testing::RunTool;
using testing::StatusIs;
using testing::TestEngine;
using testing::WriteFile;

constexpr char kUnknown[] = "5e1f6a3c-0000-4000-8000-00000000dead";

class BadInputTest : public ::testing::Test {
 protected:
  BadInputTest() {
    auto volume = engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0));
    EXPECT_OK(volume);
    if (volume.ok()) volume_ = *volume;
    auto snapshot = engine_.Snapshot(volume_);
    EXPECT_OK(snapshot);
    if (snapshot.ok()) snapshot_ = *snapshot;
  }

  // Refused from memory: not even an operation was journalled.
  void ExpectRefused(Request request, Reason reason, const std::string& field = {}) {
    const std::string before = Observe(engine_);
    const int64_t revision = engine_->records().revision();
    absl::Status status = engine_.Submit(std::move(request)).status();
    EXPECT_THAT(status, HasReasonOf(reason));
    EXPECT_THAT(status, StatusIs(ReasonCode(reason)));
    if (!field.empty()) {
      auto details = GetErrorDetails(status);
      ASSERT_TRUE(details.has_value());
      EXPECT_EQ(details->metadata["field"], field);
    }
    EXPECT_LT(status.message().size(), 2048u);
    EXPECT_EQ(engine_->records().revision(), revision);
    EXPECT_EQ(Observe(engine_), before);
    EXPECT_EQ(testing::ReservedBytes(engine_), 0);
  }

  // Found out at the files: the operation failed and left everything as it was. Who only asks
  // whether it could be done is told as well.
  void ExpectFails(Request request, Reason reason) {
    const std::string before = Observe(engine_);
    EXPECT_THAT(engine_.Do(request, testing::OnlyValidated()), HasReasonOf(reason));
    absl::Status status = engine_.Do(std::move(request));
    EXPECT_THAT(status, HasReasonOf(reason));
    EXPECT_THAT(status, StatusIs(ReasonCode(reason)));
    EXPECT_EQ(Observe(engine_), before);
    EXPECT_EQ(testing::ReservedBytes(engine_), 0);
  }

  CreateVolumeRequest Plain() { return NewVolume(VolumeFormat::kRawSparse, kMiB); }

  TestEngine engine_;
  std::string volume_;
  std::string snapshot_;
};

class BadIdTest : public BadInputTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(BadIdTest, IsRefusedWhereverAnIdIsExpected) {
  const std::string& id = GetParam();
  ExpectRefused(Attach(id, "vm"), Reason::kInvalidField, "volume_id");
  ExpectRefused(testing::Detach(id), Reason::kInvalidField, "volume_id");
  ExpectRefused(DeleteVolumeRequest{.volume_id = id}, Reason::kInvalidField, "volume_id");
  ExpectRefused(DeleteVolumeRequest{.volume_id = id, .allow_missing = true}, Reason::kInvalidField,
                "volume_id");
  ExpectRefused(ExtendVolumeRequest{.volume_id = id, .size_bytes = kMiB}, Reason::kInvalidField,
                "volume_id");
  ExpectRefused(MigrateVolumeRequest{.volume_id = id, .share = {}}, Reason::kInvalidField,
                "volume_id");
  UpdateVolumeRequest update;
  update.volume_id = id;
  ExpectRefused(update, Reason::kInvalidField, "volume_id");
  ExpectRefused(NewSnapshot(id), Reason::kInvalidField, "volume_id");
  ExpectRefused(DeleteSnapshotRequest{.snapshot_id = id}, Reason::kInvalidField, "snapshot_id");
  ExpectRefused(RevertToSnapshotRequest{.snapshot_id = id}, Reason::kInvalidField, "snapshot_id");
  ExpectRefused(NewVolume(VolumeFormat::kQcow2, 0, FromSnapshot(id)), Reason::kInvalidField,
                "source.snapshot_id");
  ExpectRefused(NewVolume(VolumeFormat::kQcow2, 0, FromVolume(id)), Reason::kInvalidField,
                "source.volume_id");
  ExpectRefused(testing::Adopt(engine_.address(0), id, VolumeFormat::kQcow2), Reason::kInvalidField,
                "file_name");
  if (id.empty()) return;  // an id of its own is optional in what follows
  CreateVolumeRequest create = Plain();
  create.volume_id = id;
  ExpectRefused(create, Reason::kInvalidField, "volume_id");
  ExpectRefused(NewSnapshot(volume_, id), Reason::kInvalidField, "snapshot_id");
  CreateSnapshotRequest grouped = NewSnapshot(volume_);
  grouped.group_id = id;
  ExpectRefused(grouped, Reason::kInvalidField, "group_id");
  AttachVolumeRequest attach = Attach(volume_, "vm");
  attach.attachment_id = id;
  ExpectRefused(attach, Reason::kInvalidField, "attachment_id");
}

INSTANTIATE_TEST_SUITE_P(Ids, BadIdTest,
                         ::testing::Values("", "../x", "x", "..", "/etc/passwd",
                                           std::string(1 << 20, 'a'),
                                           "5e1f6a3c-0000-4000-8000-00000000dea",
                                           "5e1f6a3c-0000-4000-8000-00000000deadx",
                                           "5e1f6a3c-0000-4000-8000-00000000dea\n",
                                           std::string("5e1f6a3c-0000-4000-8000-00000000\0ead", 36),
                                           "{5e1f6a3c-0000-4000-8000-00000000dead}",
                                           "5e1f6a3c00004000800000000000dead",
                                           "5e1f6a3c-0000-4000-8000-0000000/../x"));

class BadSizeTest : public BadInputTest, public ::testing::WithParamInterface<int64_t> {};

TEST_P(BadSizeTest, IsRefusedByCreateAndExtend) {
  for (VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    ExpectRefused(NewVolume(format, GetParam()), Reason::kInvalidField, "size_bytes");
  }
  ExpectRefused(ExtendVolumeRequest{.volume_id = volume_, .size_bytes = GetParam()},
                Reason::kInvalidField, "size_bytes");
}

INSTANTIATE_TEST_SUITE_P(Sizes, BadSizeTest,
                         ::testing::Values(0, -1, -512, 1, 511, 513, kMiB + 1,
                                           kMaxVolumeBytes + 512,
                                           std::numeric_limits<int64_t>::max(),
                                           std::numeric_limits<int64_t>::min()));

TEST_F(BadInputTest, AVolumeDoesNotShrink) {
  ExpectRefused(ExtendVolumeRequest{.volume_id = volume_, .size_bytes = kMiB - 512},
                Reason::kInvalidField, "size_bytes");
}

TEST_F(BadInputTest, ACopyIsNotSmallerThanItsSource) {
  ExpectRefused(NewVolume(VolumeFormat::kQcow2, kMiB - 512, FromVolume(volume_)),
                Reason::kInvalidField, "size_bytes");
  ExpectRefused(NewVolume(VolumeFormat::kQcow2, kMiB - 512, FromSnapshot(snapshot_)),
                Reason::kInvalidField, "size_bytes");
}

TEST_F(BadInputTest, UnknownPoolsSharesVolumesAndSnapshotsAreNotFound) {
  CreateVolumeRequest create = Plain();
  create.pool = "other";
  ExpectRefused(create, Reason::kPoolNotFound);
  create.pool = std::string(1 << 20, 'p');
  ExpectRefused(create, Reason::kPoolNotFound);
  create = Plain();
  create.share = "file:///elsewhere";
  ExpectRefused(create, Reason::kShareNotFound);
  create.share = std::string(1 << 20, 's');
  ExpectRefused(create, Reason::kShareNotFound);
  ExpectRefused(MigrateVolumeRequest{.volume_id = volume_, .share = "host:/x"},
                Reason::kShareNotFound);
  ExpectRefused(testing::Adopt("host:/x", NewId(), VolumeFormat::kQcow2), Reason::kShareNotFound);
  ExpectRefused(testing::Adopt("", NewId(), VolumeFormat::kQcow2), Reason::kInvalidField, "share");
  ExpectRefused(DeleteVolumeRequest{.volume_id = kUnknown}, Reason::kVolumeNotFound);
  ExpectRefused(ExtendVolumeRequest{.volume_id = kUnknown, .size_bytes = kMiB},
                Reason::kVolumeNotFound);
  ExpectRefused(NewSnapshot(kUnknown), Reason::kVolumeNotFound);
  ExpectRefused(Attach(kUnknown, "vm"), Reason::kVolumeNotFound);
  ExpectRefused(DeleteSnapshotRequest{.snapshot_id = kUnknown}, Reason::kSnapshotNotFound);
  ExpectRefused(RevertToSnapshotRequest{.snapshot_id = kUnknown}, Reason::kSnapshotNotFound);
  ExpectRefused(NewVolume({}, 0, FromVolume(kUnknown)), Reason::kVolumeNotFound);
  ExpectRefused(NewVolume({}, 0, FromSnapshot(kUnknown)), Reason::kSnapshotNotFound);
  ExpectRefused(testing::Detach(volume_, kUnknown), Reason::kAttachmentNotFound);
}

TEST_F(BadInputTest, AVolumeWithSnapshotsIsNotDeleted) {
  ExpectRefused(DeleteVolumeRequest{.volume_id = volume_}, Reason::kVolumeHasSnapshots);
}

TEST_F(BadInputTest, AnAttachedVolumeIsLeftAlone) {
  ASSERT_OK(engine_.Do(Attach(volume_, "vm")));
  ExpectRefused(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}, Reason::kVolumeInUse);
  ExpectRefused(ExtendVolumeRequest{.volume_id = volume_, .size_bytes = 2 * kMiB},
                Reason::kVolumeInUse);
  ExpectRefused(MigrateVolumeRequest{.volume_id = volume_, .share = {}}, Reason::kVolumeInUse);
  ExpectRefused(RevertToSnapshotRequest{.snapshot_id = snapshot_}, Reason::kVolumeInUse);
  ExpectRefused(DeleteSnapshotRequest{.snapshot_id = snapshot_}, Reason::kVolumeInUse);
  ExpectRefused(NewSnapshot(volume_), Reason::kVolumeInUse);
  ExpectRefused(NewVolume({}, 0, FromVolume(volume_)), Reason::kVolumeInUse);
}

TEST_F(BadInputTest, TheSameIdWithOtherParametersIsRefused) {
  CreateVolumeRequest create = Plain();
  create.volume_id = NewId();
  create.name = "first";
  ASSERT_OK(engine_.Do(create));
  EXPECT_OK(engine_.Do(create));  // the same again is no error
  for (auto change : std::vector<std::function<void(CreateVolumeRequest&)>>{
           [](auto& r) { r.name = "second"; }, [](auto& r) { r.size_bytes *= 2; },
           [](auto& r) { r.format = VolumeFormat::kQcow2; },
           [](auto& r) {
             r.labels = {{"a", "b"}};
           },
           [this](auto& r) { r.source = FromVolume(volume_); }}) {
    CreateVolumeRequest other = create;
    change(other);
    ExpectRefused(other, Reason::kVolumeExists);
  }
  EXPECT_OK(engine_.Do(NewSnapshot(volume_, snapshot_)));
  ExpectRefused(NewSnapshot(create.volume_id, snapshot_), Reason::kSnapshotExists);
  CreateSnapshotRequest named = NewSnapshot(volume_, snapshot_);
  named.name = "another";
  ExpectRefused(named, Reason::kSnapshotExists);
}

TEST_F(BadInputTest, LabelsAndNamesBeyondTheirLimitsAreRefused) {
  const auto with = [this](Labels labels) {
    CreateVolumeRequest create = Plain();
    create.labels = std::move(labels);
    return create;
  };
  Labels many;
  for (int i = 0; i < 65; ++i) many["k" + std::to_string(i)] = "v";
  ExpectRefused(with(many), Reason::kInvalidField, "labels");
  for (const std::string& key :
       {std::string(), std::string("-a"), std::string("a b"), std::string("a/"), std::string("/a"),
        std::string("a/b/c"), std::string(64, 'k'), std::string(254, 'p') + "/k",
        std::string("k\n"), std::string(1 << 20, 'k')}) {
    ExpectRefused(with({{key, "v"}}), Reason::kInvalidField, "labels");
  }
  ExpectRefused(with({{"k", std::string(256, 'v')}}), Reason::kInvalidField, "labels[k]");
  ExpectRefused(with({{"k", "a\nb"}}), Reason::kInvalidField, "labels[k]");
  ExpectRefused(with({{"k", "\xff"}}), Reason::kInvalidField, "labels[k]");
  for (const std::string& name : {std::string(256, 'n'), std::string("a\0b", 3),
                                  std::string("\xc0\x80"), std::string("\x1b[31m")}) {
    CreateVolumeRequest create = Plain();
    create.name = name;
    ExpectRefused(create, Reason::kInvalidField, "name");
    CreateSnapshotRequest snapshot = NewSnapshot(volume_);
    snapshot.name = name;
    ExpectRefused(snapshot, Reason::kInvalidField, "name");
    UpdateVolumeRequest update;
    update.volume_id = volume_;
    update.name = name;
    ExpectRefused(update, Reason::kInvalidField, "name");
  }
}

TEST_F(BadInputTest, AnUpdateOfAnotherRevisionIsRefused) {
  UpdateVolumeRequest update;
  update.volume_id = volume_;
  update.name = "new";
  update.expected_revision = engine_.Volume(volume_)->revision + 1;
  ExpectRefused(update, Reason::kRevisionMismatch);
}

TEST_F(BadInputTest, DetachByForceNeedsAReason) {
  ASSERT_OK(engine_.Do(Attach(volume_, "vm")));
  DetachVolumeRequest detach = testing::Detach(volume_);
  detach.force = true;
  ExpectRefused(detach, Reason::kInvalidField, "reason");
}

TEST_F(BadInputTest, ImagesOutsideTheAllowedDirectoriesAreForbidden) {
  WriteFile(engine_.dir().File("secret"), std::string(512, 's'));
  const std::string images = engine_.dir().File("images");
  const auto from = [](const std::string& path) {
    return NewVolume(VolumeFormat::kRawSparse, kMiB, testing::FromImage(path));
  };
  ExpectRefused(from(engine_.dir().File("secret")), Reason::kPathForbidden, "source.image_path");
  ExpectRefused(from(images + "x/y"), Reason::kPathForbidden, "source.image_path");
  for (const std::string& path :
       {std::string(), std::string("relative"), images + "/../secret", images + "/", images + "//x",
        std::string("nbd://host/x"), std::string("json:{}"), "/" + std::string(5000, 'x')}) {
    ExpectRefused(from(path), Reason::kInvalidField, "source.image_path");
  }
  std::filesystem::create_symlink(engine_.dir().File("secret"), images + "/link");
  ExpectFails(from(images + "/link"), Reason::kPathForbidden);
  ExpectFails(from(images + "/missing"), Reason::kFileNotFound);
}

TEST_F(BadInputTest, ImagesThatPointElsewhereAreUnsafe) {
  const std::string images = engine_.dir().File("images/");
  WriteFile(engine_.dir().File("secret"), std::string(512, 's'));
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
           engine_.dir().File("secret"), images + "backed"});
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
           "data_file=" + engine_.dir().File("data"), images + "external", "1M"});
  for (const char* name : {"backed", "external"}) {
    CreateVolumeRequest create =
        NewVolume(VolumeFormat::kRawSparse, kMiB, testing::FromImage(images + name));
    create.image_format = FileFormat::kQcow2;
    ExpectFails(create, Reason::kImageUnsafe);
  }
}

TEST_F(BadInputTest, AnImageIsOfTheFormatThatWasSaid) {
  const std::string images = engine_.dir().File("images/");
  WriteFile(images + "short", "QFI\xfb");
  WriteFile(images + "raw", std::string(kMiB, 'r'));
  WriteFile(images + "empty", "");
  for (const auto& [name, reason] :
       {std::pair("short", Reason::kImageCorrupt), std::pair("raw", Reason::kImageMismatch),
        std::pair("empty", Reason::kImageMismatch)}) {
    CreateVolumeRequest create =
        NewVolume(VolumeFormat::kRawSparse, kMiB, testing::FromImage(images + name));
    create.image_format = FileFormat::kQcow2;
    ExpectFails(create, reason);
  }
}

TEST_F(BadInputTest, AnImageThatIsFineIsOnlyValidated) {
  const std::string image = engine_.dir().File("images/raw");
  WriteFile(image, std::string(kMiB, 'r'));
  const std::string before = Observe(engine_);
  EXPECT_OK(engine_.Do(NewVolume(VolumeFormat::kQcow2, 2 * kMiB, testing::FromImage(image)),
                       testing::OnlyValidated()));
  // Too small is found out at the file.
  EXPECT_THAT(engine_.Do(NewVolume(VolumeFormat::kQcow2, kMiB / 2, testing::FromImage(image)),
                         testing::OnlyValidated()),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_EQ(testing::ReservedBytes(engine_), 0);
}

}  // namespace
}  // namespace cairn
