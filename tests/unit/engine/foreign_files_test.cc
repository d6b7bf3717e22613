// Files that no record names: found, and soon enough, but not looked for at each deletion.
#include "lib/engine/stray_files.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "lib/base/id.h"
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

class StrayFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(catalog_, OpenSqliteCatalog({.path = dir_.File("catalog.db")}));
    std::filesystem::create_directory(dir_.File("share"));
  }
  void Put(const std::string& name) { WriteFile(dir_.File("share") + "/" + name, "x"); }
  std::vector<std::string> Of(StrayFiles& strays, const std::string& id) {
    auto found = strays.Of("share", dir_.File("share"), id);
    EXPECT_OK(found);
    return found.ok() ? *found : std::vector<std::string>();
  }

  TempDir dir_;
  std::unique_ptr<Catalog> catalog_;
  SetClock clock_;
  const std::string id_ = NewId();
};

TEST_F(StrayFilesTest, ListingTakesATwentiethOfTheTimeAtMost) {
  for (const absl::Duration takes : {absl::ZeroDuration(), absl::Milliseconds(150)}) {
    SlowListing files(&clock_, takes);
    StrayFiles strays(&files, catalog_.get(), &clock_);
    const MonotonicTime began = clock_.Monotonic();
    while (clock_.Monotonic() - began < absl::Seconds(30)) {
      EXPECT_TRUE(Of(strays, id_).empty());
      clock_.Pass(absl::Milliseconds(1));
    }
    const absl::Duration period = std::max(absl::Milliseconds(100), 20 * takes);
    EXPECT_NEAR(static_cast<double>(files.calls("List")), absl::Seconds(30) / period, 4);
  }
}

TEST_F(StrayFilesTest, OneThatCameLaterIsFoundAfterThePeriod) {
  SlowListing files(&clock_, absl::Milliseconds(10));
  StrayFiles strays(&files, catalog_.get(), &clock_);
  EXPECT_TRUE(Of(strays, id_).empty());
  Put(LayerFileName(id_, NewId()));
  EXPECT_TRUE(Of(strays, id_).empty());
  clock_.Pass(absl::Milliseconds(200));
  EXPECT_EQ(Of(strays, id_).size(), 1u);
  // Nor does it matter that the wall clock is set back.
  Put(LayerFileName(id_, NewId()));
  clock_.Set(-absl::Hours(1));
  clock_.Pass(absl::Milliseconds(200));
  EXPECT_EQ(Of(strays, id_).size(), 2u);
}

TEST_F(StrayFilesTest, MapsTemporaryFilesAndThoseOfOthersAreNone) {
  StrayFiles strays(FileSystem::Posix(), catalog_.get(), &clock_);
  Put(InfoFileName(id_));
  Put("." + LayerFileName(id_, NewId()) + ".tmp-" + NewId());
  Put("volume-");
  Put(LayerFileName(NewId(), NewId()));
  EXPECT_TRUE(Of(strays, id_).empty());
  Put(BaseFileName(id_));
  clock_.Pass(absl::Seconds(1));
  EXPECT_EQ(Of(strays, id_), std::vector<std::string>{BaseFileName(id_)});
}

TEST_F(StrayFilesTest, TheFirstQuestionListsWhateverWasLearntBefore) {
  FaultyFileSystem files(FileSystem::Posix());
  StrayFiles strays(&files, catalog_.get(), &clock_);
  const std::string stray = LayerFileName(id_, NewId());
  strays.Learn("share", {}, clock_.Monotonic());
  Put(stray);
  EXPECT_EQ(Of(strays, id_).size(), 1u);
  // From then on a listing made for another purpose saves one.
  clock_.Pass(absl::Milliseconds(90));
  strays.Learn("share", {}, clock_.Monotonic());
  clock_.Pass(absl::Milliseconds(90));
  EXPECT_TRUE(Of(strays, id_).empty());
  EXPECT_EQ(files.calls("List"), 1);
}

TEST_F(StrayFilesTest, AShareThatCannotBeListedIsAnErrorAndTriedAgain) {
  FaultyFileSystem files(FileSystem::Posix());
  StrayFiles strays(&files, catalog_.get(), &clock_);
  files.Inject({.call = "List"});
  EXPECT_THAT(strays.Of("share", dir_.File("share"), id_), HasReasonOf(Reason::kIoError));
  EXPECT_TRUE(Of(strays, id_).empty());
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
  EXPECT_LE(files_.calls("List") - before, 2 + (absl::Now() - began) / absl::Milliseconds(100));
}

TEST_F(DeletionTest, StraysOfOtherVolumesCostNothing) {
  CallsOfADeletion("Open");
  const int64_t alone = CallsOfADeletion("Open");
  for (int i = 0; i < 50; ++i) {
    WriteFile(engine_->directory() + "/" + LayerFileName(NewId(), NewId()), "x");
  }
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(CallsOfADeletion("Open"), alone);
}

TEST_F(DeletionTest, AStrayThatComesBetweenTwoIsFound) {
  CallsOfADeletion("List");
  ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_->Snapshot(volume_));
  const std::string stray = engine_->directory() + "/" + LayerFileName(volume_, NewId());
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", BaseFileName(volume_),
           stray});
  // A period is twenty listings, which a busy machine draws out.
  absl::SleepFor(absl::Seconds(1));
  EXPECT_THAT(engine_->Do(DeleteSnapshotRequest{.snapshot_id = snapshot}),
              HasReasonOf(Reason::kBackingFileShared));
}

}  // namespace
}  // namespace cairn
