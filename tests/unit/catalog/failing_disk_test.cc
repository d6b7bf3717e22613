// Each system call on a catalog's disk fails, one after the other, and then the power does: what was
// acknowledged is there, and nothing that was refused.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string_view>

#include "lib/base/size.h"
#include "lib/catalog/commit_outcome.h"
#include "lib/catalog/memory_index.h"
#include "tests/support/small_disk.h"
#include "tests/unit/catalog/catalog_conformance.h"
#include "tests/unit/catalog/faulty_disk.h"

namespace cairn::testing {
namespace {

using Lasting = FaultyDisk::Lasting;
using Unsynced = FaultyDisk::Unsynced;

SqliteCatalogOptions OptionsOf(const std::string& directory) {
  SqliteCatalogOptions options;
  options.path = directory + "/catalog.db";
  options.later = absl::Milliseconds(1);
  options.write_anew_after = absl::Milliseconds(1);
  options.log_bytes = 0;
  return options;
}

// What became of the commits by number, and what must be there of them.
class Story {
 public:
  enum class Fate { kDurable, kLater, kRefused, kUnknown };

  // A volume of its own, an operation that has ended, and one volume that counts.
  static Transaction Numbered(const Catalog& catalog, int number, bool later) {
    const std::string n = std::to_string(number);
    Transaction transaction = Put(MakeVolume("v" + n));
    VolumeRecord counter = MakeVolume("counter");
    if (VolumePtr present = catalog.FindVolume("counter")) counter = *present;
    counter.size_bytes = number;
    transaction.put_volumes.push_back(counter);
    OperationRecord operation = MakeOperation("o" + n, "v" + n);
    operation.state = OperationState::kSucceeded;
    operation.request_id = "r" + n;
    transaction.put_operations = {operation};
    transaction.may_be_durable_later = later;
    return transaction;
  }

  void Commit(Catalog* catalog, bool later) {
    const int number = static_cast<int>(fates_.size());
    auto outcome = std::make_shared<CommitOutcome>();
    const bool writable = catalog->health().ok();
    auto answered = std::make_shared<std::atomic<bool>>(false);
    catalog->Commit(Numbered(*catalog, number, later), [=](absl::Status status) {
      *answered = true;
      outcome->Set(std::move(status));
    });
    // Where the disk goes on failing, what is in doubt is not answered by itself.
    while (!*answered && catalog->health().ok()) std::this_thread::yield();
    if (!*answered && !heals_) catalog->AnswerDoubts();
    const absl::Status status = outcome->Wait();
    const bool doubt = writable && !heals_ && HasReason(status, Reason::kCatalogUnavailable);
    if (status.ok()) {
      fates_.push_back(later ? Fate::kLater : Fate::kDurable);
    } else if (doubt) {
      fates_.push_back(Fate::kUnknown);
    } else {
      EXPECT_TRUE(HasReason(status, Reason::kNoSpace) ||
                  HasReason(status, Reason::kCatalogUnavailable))
          << Describe(status);
      fates_.push_back(Fate::kRefused);
      EXPECT_EQ(catalog->FindVolume("v" + std::to_string(number)), nullptr);
    }
  }

  // Whether the disk works again after the call that fails: then nothing stays in doubt.
  void set_heals(bool heals) { heals_ = heals; }
  int refused() const {
    return static_cast<int>(std::count(fates_.begin(), fates_.end(), Fate::kRefused));
  }

  void Check(const Catalog& catalog) const {
    const auto is_there = [&](size_t number) {
      const std::string n = std::to_string(number);
      const bool there = catalog.FindVolume("v" + n) != nullptr;
      EXPECT_EQ(FindOperation(catalog, "o" + n) != nullptr, there) << number;
      EXPECT_EQ(FindOperationByRequest(catalog, "r" + n) != nullptr, there) << number;
      return there;
    };
    bool must = false;  // what comes after it is there, or was waited for
    int64_t newest = -1;
    for (size_t i = fates_.size(); i-- > 0;) {
      const bool there = is_there(i);
      if (there && newest < 0) newest = static_cast<int64_t>(i);
      must = must || there || fates_[i] == Fate::kDurable;
      if (fates_[i] == Fate::kRefused) {
        EXPECT_FALSE(there) << "refused, but there: " << i;
      }
      if (fates_[i] == Fate::kDurable || (must && fates_[i] == Fate::kLater)) {
        EXPECT_TRUE(there) << "acknowledged, but lost: " << i;
      }
    }
    if (newest >= 0) {
      EXPECT_EQ(catalog.FindVolume("counter")->size_bytes, newest);
    }
  }

 private:
  std::vector<Fate> fates_;
  bool heals_ = true;
};

class FailingDiskTest : public ::testing::Test {
 protected:
  ~FailingDiskTest() override { FaultyDisk::Get().End(); }

  std::string NewDirectory() {
    std::string directory = directory_.File(std::to_string(++directories_));
    std::filesystem::create_directory(directory);
    return directory;
  }

  static void CommitSome(Catalog* catalog, Story* story) {
    for (const bool later : {false, true, true, false, false, true}) story->Commit(catalog, later);
    // So that the sync in the background has something to do.
    const int before = FaultyDisk::Get().calls();
    for (int i = 0; i < 50 && catalog->health().ok() && FaultyDisk::Get().calls() == before; ++i) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    for (const bool later : {false, true, false}) story->Commit(catalog, later);
  }

  // After a power failure now.
  void CheckCuts(const Story& story, const std::vector<Unsynced>& cuts) {
    for (const Unsynced unsynced : cuts) {
      const std::string left = directory_.File(std::to_string(++directories_));
      FaultyDisk::Get().CutPower(unsynced, left);
      ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog(OptionsOf(left)));
      SCOPED_TRACE(unsynced == Unsynced::kLost ? "unsynced is lost" : "unsynced is kept");
      story.Check(*catalog);
      EXPECT_OK(catalog->CommitAndWait(Put(MakeVolume("after"))));
      catalog.reset();
      std::filesystem::remove_all(left);
    }
  }

  // One life of a catalog, with such a fault; then, if the disk heals, another. False when there was no
  // such call.
  bool RunWith(int failing_call, int error, Lasting lasting) {
    FaultyDisk& disk = FaultyDisk::Get();
    const std::string directory = NewDirectory();
    Story story;
    {
      auto catalog = OpenSqliteCatalog(OptionsOf(directory));
      EXPECT_OK(catalog);
      story.Commit(catalog->get(), false);
      story.Commit(catalog->get(), false);
    }
    disk.Begin(directory, failing_call, error, lasting);
    story.set_heals(lasting == Lasting::kOnce);
    if (auto catalog = OpenSqliteCatalog(OptionsOf(directory)); catalog.ok()) {
      CommitSome(catalog->get(), &story);
      CheckCuts(story, {Unsynced::kLost, Unsynced::kKept});
      story.Check(**catalog);
    }
    const bool failed = disk.has_failed();
    disk.Heal();
    CheckCuts(story, {Unsynced::kLost});  // of its end, too
    story.set_heals(true);
    auto catalog = OpenSqliteCatalog(OptionsOf(directory));
    EXPECT_OK(catalog);
    if (catalog.ok()) {
      story.Check(**catalog);
    }
    if (catalog.ok() && lasting == Lasting::kUntilHealed) {
      const int refused = story.refused();
      CommitSome(catalog->get(), &story);
      EXPECT_EQ(story.refused(), refused) << "the disk is well again";
      CheckCuts(story, {Unsynced::kLost});
    }
    disk.End();
    catalog = absl::InternalError("closed");
    std::filesystem::remove_all(directory);
    return failed;
  }

  void FailEachCall(Lasting lasting) {
    constexpr int kErrors[] = {EIO, ENOSPC, EDQUOT};
    // One in eight under sanitizers, as in the campaign of the engine.
    const char* form = getenv("CAIRN_CAMPAIGN");
    const int step = form != nullptr && std::string_view(form) == "sample" ? 8 : 1;
    int last = 0;
    for (int call = 1; call <= last + 3 * step; call += step) {
      const int error = kErrors[call % 3];
      SCOPED_TRACE("call " + std::to_string(call) + ", " + strerror(error));
      if (RunWith(call, error, lasting)) last = call;
      if (HasFailure()) FAIL() << "it was " << FaultyDisk::Get().failed_call();
    }
    EXPECT_GT(last, 50) << "hardly a call was made";
    RecordProperty("calls", last);
  }

  TempDir directory_;
  int directories_ = 0;
};

TEST_F(FailingDiskTest, EachCallFailsOnce) { FailEachCall(Lasting::kOnce); }

TEST_F(FailingDiskTest, EachCallFailsUntilTheDiskIsHealed) { FailEachCall(Lasting::kUntilHealed); }

// More operations than are in memory, and a record that cannot be read: it stays as it is.
TEST_F(FailingDiskTest, WhatIsNotInMemoryIsWrittenAnewToo) {
  const std::string directory = NewDirectory();
  constexpr int kMany = static_cast<int>(MemoryIndex::kEndedKept) + 500;
  {
    ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog(OptionsOf(directory)));
    Transaction transaction = Put(MakeVolume("unreadable"));
    transaction.put_volumes.push_back(MakeVolume("other"));
    for (int i = 0; i < kMany; ++i) {
      OperationRecord operation = MakeOperation("o" + std::to_string(i), "other", i);
      operation.state = OperationState::kSucceeded;
      transaction.put_operations.push_back(operation);
    }
    ASSERT_OK(catalog->CommitAndWait(transaction));
  }
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open((directory + "/catalog.db").c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, "UPDATE volumes SET body = '{}' WHERE id = 'unreadable'",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  for (int round = 0; round < 2; ++round) {
    ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog(OptionsOf(directory)));
    EXPECT_EQ(catalog->FindVolume("unreadable")->state, VolumeState::kError);
    for (int i = 0; i < kMany; i += 7) {
      EXPECT_NE(FindOperation(*catalog, "o" + std::to_string(i)), nullptr) << i;
    }
    const std::string name = "after" + std::to_string(round);
    FaultyDisk::Get().Begin(directory, 1, EIO, Lasting::kUntilHealed);
    catalog->Commit(Put(MakeVolume(name)), nullptr);
    while (catalog->health().ok()) std::this_thread::yield();
    EXPECT_THAT(catalog->health(), HasReasonOf(Reason::kCatalogUnavailable));
    EXPECT_THAT(catalog->CommitAndWait(Put(MakeVolume("refused"))),
                HasReasonOf(Reason::kCatalogUnavailable));
    EXPECT_NE(catalog->FindVolume("other"), nullptr) << "reads go on";
    FaultyDisk::Get().Heal();
    while (!catalog->health().ok()) std::this_thread::yield();
    FaultyDisk::Get().End();
    ASSERT_OK(catalog->CommitAndWait({}));
    EXPECT_NE(catalog->FindVolume(name), nullptr) << "it was only in doubt";
    EXPECT_EQ(catalog->FindVolume("refused"), nullptr);
    EXPECT_EQ(catalog->FindVolume("unreadable")->state, VolumeState::kError);
    for (int i = 0; i < kMany; i += 7) {
      EXPECT_NE(FindOperation(*catalog, "o" + std::to_string(i)), nullptr) << i;
    }
  }
}

// There is no room for another copy of the history: what counts is written anew all the same.
TEST_F(FailingDiskTest, AFullDiskIsWrittenAnewWithoutItsHistory) {
  SmallDisk small(NewDirectory(), "8m");
  if (!small.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  constexpr int kMany = 4000;
  SqliteCatalogOptions options = OptionsOf(small.path());
  options.log_bytes = SqliteCatalogOptions().log_bytes;
  ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog(options));
  for (int i = 0; i < kMany; i += 50) {
    Transaction transaction = Put(MakeVolume("v" + std::to_string(i)));
    for (int j = i; j < i + 50; ++j) {
      OperationRecord operation = MakeOperation("o" + std::to_string(j), "v", j);
      operation.state = OperationState::kSucceeded;
      transaction.put_operations.push_back(operation);
    }
    ASSERT_OK(catalog->CommitAndWait(transaction));
  }
  small.TakeAllBut(kMiB);
  FaultyDisk::Get().Begin(small.path(), 1, EIO, Lasting::kUntilHealed);
  catalog->Commit(Put(MakeVolume("in doubt")), nullptr);
  while (catalog->health().ok()) std::this_thread::yield();
  FaultyDisk::Get().Heal();
  while (!catalog->health().ok()) std::this_thread::yield();
  FaultyDisk::Get().End();
  EXPECT_EQ(catalog->TotalsOf("nfs1:/export").volumes, kMany / 50 + 1);
  EXPECT_EQ(FindOperation(*catalog, "o0"), nullptr);
  ASSERT_OK(catalog->CommitAndWait(Put(MakeVolume("after"))));
  catalog.reset();
  ASSERT_OK_AND_ASSIGN(catalog, OpenSqliteCatalog(options));
  EXPECT_EQ(catalog->TotalsOf("nfs1:/export").volumes, kMany / 50 + 2);
}

}  // namespace
}  // namespace cairn::testing
