// Files that no record names: found, and soon enough, but not looked for at each deletion.
#include "lib/engine/foreign_files.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/chain/info_map.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/support/set_clock.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using testing::IsOk;
using testing::RunTool;
using testing::SetClock;
using testing::TempDir;
using testing::TestEngine;
using testing::WriteFile;

// A share whose listing takes its time.
class SlowListing : public FaultyFileSystem {
 public:
  SlowListing(SetClock* clock, absl::Duration takes)
      : FaultyFileSystem(FileSystem::Posix()), clock_(clock), takes_(takes) {}
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    clock_->Pass(takes_);
    return FaultyFileSystem::List(path);
  }

 private:
  SetClock* const clock_;
  const absl::Duration takes_;
};

class ForeignFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(catalog_, OpenSqliteCatalog({.path = dir_.File("catalog.db")}));
    std::filesystem::create_directory(share_);
  }
  // A qcow2 file that says that it stands on `backing`.
  void Put(const std::string& name, const std::string& backing, const std::string& as = "qcow2") {
    RunTool({"qemu-img", "create", "-q", "-u", "-f", as, "-F", "raw", "-b", backing,
             share_ + "/" + name, "1M"});
  }
  absl::Status Check(ForeignFiles& foreign, const std::vector<std::string>& files) {
    return foreign.CheckNoneStandsOn({"share", share_, id_}, files);
  }
  absl::Status Check(ForeignFiles& foreign) { return Check(foreign, {base_}); }

  TempDir dir_;
  const std::string share_ = dir_.File("share");
  std::unique_ptr<Catalog> catalog_;
  SetClock clock_;
  const std::string id_ = NewId();
  const std::string base_ = BaseFileName(id_);
};

TEST_F(ForeignFilesTest, ListingTakesATwentiethOfTheTimeAtMost) {
  for (const absl::Duration takes : {absl::ZeroDuration(), absl::Milliseconds(150)}) {
    SlowListing files(&clock_, takes);
    ForeignFiles foreign(&files, catalog_.get(), &clock_);
    const MonotonicTime began = clock_.Monotonic();
    while (clock_.Monotonic() - began < absl::Seconds(30)) {
      EXPECT_OK(Check(foreign));
      clock_.Pass(absl::Milliseconds(1));
    }
    const absl::Duration period = std::max(absl::Milliseconds(100), 20 * takes);
    EXPECT_NEAR(static_cast<double>(files.calls("List")), absl::Seconds(30) / period, 4);
  }
}

TEST_F(ForeignFilesTest, OneThatCameLaterIsFoundAfterThePeriod) {
  SlowListing files(&clock_, absl::Milliseconds(10));
  ForeignFiles foreign(&files, catalog_.get(), &clock_);
  EXPECT_OK(Check(foreign));
  Put("overlay", base_);
  EXPECT_OK(Check(foreign));
  clock_.Pass(absl::Milliseconds(200));
  EXPECT_THAT(Check(foreign), HasReasonOf(Reason::kBackingFileShared));
  // Nor does it matter that the wall clock is set back.
  std::filesystem::remove(share_ + "/overlay");
  EXPECT_OK(Check(foreign)) << "it is looked at once more";
  Put("another", base_);
  clock_.Set(-absl::Hours(1));
  clock_.Pass(absl::Milliseconds(200));
  EXPECT_THAT(Check(foreign), HasReasonOf(Reason::kBackingFileShared));
}

TEST_F(ForeignFilesTest, TheFirstQuestionListsWhateverWasLearntBefore) {
  FaultyFileSystem files(FileSystem::Posix());
  ForeignFiles foreign(&files, catalog_.get(), &clock_);
  foreign.Learn("share", share_, {}, clock_.Monotonic());
  Put("overlay", base_);
  EXPECT_THAT(Check(foreign), HasReasonOf(Reason::kBackingFileShared));
  // From then on a listing made for another purpose saves one.
  clock_.Pass(absl::Milliseconds(90));
  foreign.Learn("share", share_, {}, clock_.Monotonic());
  clock_.Pass(absl::Milliseconds(90));
  EXPECT_OK(Check(foreign));
  EXPECT_EQ(files.calls("List"), 1);
}

TEST_F(ForeignFilesTest, AShareThatCannotBeListedIsAnErrorAndTriedAgain) {
  FaultyFileSystem files(FileSystem::Posix());
  ForeignFiles foreign(&files, catalog_.get(), &clock_);
  files.Inject({.call = "List"});
  EXPECT_THAT(Check(foreign), HasReasonOf(Reason::kIoError));
  EXPECT_OK(Check(foreign));
}

TEST_F(ForeignFilesTest, AHeaderIsReadAgainWhenTheFileHasChanged) {
  FaultyFileSystem files(FileSystem::Posix());
  ForeignFiles foreign(&files, catalog_.get(), &clock_);
  Put("overlay", "something-else");
  EXPECT_OK(Check(foreign));
  const int64_t read = files.calls("ReadAt");
  clock_.Pass(absl::Seconds(1));
  EXPECT_OK(Check(foreign));
  EXPECT_EQ(files.calls("ReadAt"), read);
  RunTool(
      {"qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", base_, share_ + "/overlay"});
  clock_.Pass(absl::Seconds(1));
  EXPECT_THAT(Check(foreign), HasReasonOf(Reason::kBackingFileShared));
}

TEST_F(ForeignFilesTest, WhateverPathLeadsToTheFile) {
  std::filesystem::create_directory_symlink(share_, dir_.File("link"));
  std::filesystem::create_symlink(share_ + "/" + base_, share_ + "/alias");
  std::filesystem::create_symlink("alias", share_ + "/alias-of-alias");
  WriteFile(share_ + "/" + base_, "x");
  const std::vector<std::string> names = {
      base_,
      "./" + base_,
      "../share/" + base_,
      share_ + "/" + base_,
      share_ + "//./" + base_,
      "/elsewhere/mounted/" + base_,
      "file:" + base_,
      "file:" + share_ + "/" + base_,
      dir_.File("link") + "/" + base_,
      "alias",
      share_ + "/alias-of-alias",
      R"(json:{"driver":"raw","file":{"driver":"file","filename":")" + share_ + "/" + base_ +
          R"("}})",
      R"(json:{"driver":"qcow2","file.driver":"file","file.filename":")" + base_ + R"("})",
      R"(json:{"file":{"filename":"json:{\"file\":{\"filename\":\")" + base_ + R"(\"}}"}})"};
  for (const char* as : {"qcow2", "qed"}) {
    for (const std::string& name : names) {
      Put("overlay", name, as);
      ForeignFiles foreign(FileSystem::Posix(), catalog_.get(), &clock_);
      EXPECT_THAT(Check(foreign), HasReasonOf(Reason::kBackingFileShared)) << as << " on " << name;
      EXPECT_OK(Check(foreign, {LayerFileName(id_, NewId())})) << as << " on " << name;
    }
  }
}

TEST_F(ForeignFilesTest, OtherFormatsThatStandOnAFile) {
  WriteFile(share_ + "/" + base_, std::string(kMiB, 'x'));
  const auto found = [this] {
    ForeignFiles foreign(FileSystem::Posix(), catalog_.get(), &clock_);
    return Check(foreign);
  };
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
           "data_file_raw=on,data_file=" + share_ + "/" + base_, share_ + "/overlay", "1M"});
  EXPECT_THAT(found(), HasReasonOf(Reason::kBackingFileShared)) << "an external data file";
  WriteFile(share_ + "/overlay",
            "# Disk DescriptorFile\nversion=1\nCID=1\nRW 2048 FLAT \"" + base_ + "\" 0\n");
  EXPECT_THAT(found(), HasReasonOf(Reason::kBackingFileShared)) << "an extent of a VMDK image";
  RunTool({"qemu-img", "create", "-q", "-f", "vmdk", share_ + "/base.vmdk", "1M"});
  RunTool({"qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "base.vmdk",
           share_ + "/overlay"});
  EXPECT_OK(found());
  std::filesystem::rename(share_ + "/base.vmdk", share_ + "/" + base_);
  RunTool(
      {"qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base_, share_ + "/overlay"});
  EXPECT_THAT(found(), HasReasonOf(Reason::kBackingFileShared)) << "a child of a VMDK image";
}

TEST_F(ForeignFilesTest, WhatStandsOnNothingOfTheVolumesIsInNobodysWay) {
  const std::string layer = LayerFileName(id_, NewId());
  Put("other-volume", BaseFileName(NewId()));
  Put("remote", "nbd://host/" + base_ + "/export");
  Put("prefix", layer);
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", share_ + "/alone", "1M"});
  WriteFile(share_ + "/text", base_ + " is mentioned, and no more");
  WriteFile(share_ + "/" + InfoFileName(id_), "{}");
  WriteFile(share_ + "/cut", std::string("QFI\xfb\0\0\0\3", 8));
  std::filesystem::create_directory(share_ + "/folder");
  std::filesystem::create_symlink(base_, share_ + "/link");
  ASSERT_EQ(mkfifo((share_ + "/fifo").c_str(), 0600), 0);
  Put("." + layer + ".tmp-" + NewId(), base_);
  ForeignFiles foreign(FileSystem::Posix(), catalog_.get(), &clock_);
  EXPECT_OK(Check(foreign));
  EXPECT_THAT(Check(foreign, {base_, layer}), HasReasonOf(Reason::kBackingFileShared));
}

TEST_F(ForeignFilesTest, WhatCannotBeReadIsAReasonToStopUntilItCan) {
  FaultyFileSystem files(FileSystem::Posix());
  ForeignFiles foreign(&files, catalog_.get(), &clock_);
  Put("overlay", "something-else");
  files.Inject({.call = "ReadAt", .error_number = EACCES, .from_then_on = true});
  const absl::Status refused = Check(foreign);
  EXPECT_THAT(refused, HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("overlay on share"));
  files.Clear();
  EXPECT_OK(Check(foreign));
}

class DeletionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setup_.engine.probe_period = absl::Hours(1);
    setup_.engine.files = &files_;
    engine_ = std::make_unique<TestEngine>(setup_);
    ASSERT_OK_AND_ASSIGN(volume_, engine_->Create(VolumeFormat::kQcow2, kMiB, engine_->address(0)));
  }
  // Takes a snapshot and deletes it; how many calls of that name the deletion made.
  int64_t CallsOfADeletion(std::string_view call) {
    auto snapshot = engine_->Snapshot(volume_);
    EXPECT_OK(snapshot);
    const int64_t before = files_.calls(call);
    EXPECT_OK(engine_->Do(DeleteSnapshotRequest{.snapshot_id = *snapshot}));
    return files_.calls(call) - before;
  }

  FaultyFileSystem files_{FileSystem::Posix()};
  TestEngine::Setup setup_;
  std::unique_ptr<TestEngine> engine_;
  std::string volume_;
};

TEST_F(DeletionTest, ManyListRarely) {
  const absl::Time began = absl::Now();
  const int64_t before = files_.calls("List");
  for (int i = 0; i < 30; ++i) CallsOfADeletion("List");
  // The looks at the whole share after the start may come in between.
  EXPECT_LE(files_.calls("List") - before, 4 + (absl::Now() - began) / absl::Milliseconds(100));
}

TEST_F(DeletionTest, ForeignFilesCostNothingOnceTheyAreKnown) {
  CallsOfADeletion("Open");
  const int64_t alone = CallsOfADeletion("Open");
  for (int i = 0; i < 50; ++i) {
    WriteFile(engine_->directory() + "/" + LayerFileName(NewId(), NewId()), "x");
  }
  // How long a listing counts depends on what it took.
  const absl::Time until = absl::Now() + absl::Minutes(1);
  int64_t most = 0;
  int64_t now = 0;
  while (most <= alone || now != alone) {
    ASSERT_LT(absl::Now(), until);
    now = CallsOfADeletion("Open");
    most = std::max(most, now);
    absl::SleepFor(absl::Milliseconds(50));
  }
}

TEST_F(DeletionTest, AForeignFileThatComesBetweenTwoIsFound) {
  CallsOfADeletion("List");
  ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_->Snapshot(volume_));
  const std::string stray = engine_->directory() + "/" + LayerFileName(volume_, NewId());
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", BaseFileName(volume_),
           stray});
  // A period is twenty listings, which a busy machine draws out.
  absl::SleepFor(absl::Seconds(5));
  EXPECT_THAT(engine_->Do(DeleteSnapshotRequest{.snapshot_id = snapshot}),
              HasReasonOf(Reason::kBackingFileShared));
}

}  // namespace
}  // namespace cairn
