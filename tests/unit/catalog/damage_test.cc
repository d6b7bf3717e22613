// What is damaged, cut, lost or put back: everything is there, or the catalog is refused, or what the
// damage is about stands still. Never are there fewer records, or older ones, without a word.
#include <gmock/gmock.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sqlite3.h>

#include <filesystem>
#include <sstream>

#include "lib/base/strings.h"
#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

constexpr int kVolumesMade = 40;

std::string N(const char* prefix, int number) { return prefix + std::to_string(100 + number); }

// As a real one it names files of its volume.
SnapshotRecord SnapshotOf(int i) {
  SnapshotRecord snapshot = MakeSnapshot(N("s", i), N("v", i), i);
  snapshot.file = "volume-" + N("v", i);
  return snapshot;
}

OperationRecord EndedOperation(int i) {
  OperationRecord operation = MakeOperation(N("o", i), N("v", i), i);
  operation.state = OperationState::kSucceeded;
  operation.request_id = N("r", i);
  return operation;
}

class DamageTest : public ::testing::Test {
 protected:
  DamageTest() {
    spdlog::default_logger()->sinks().push_back(sink_);
    fs::create_directory(state_);
    // Half of it copied into the database, half in the log, as a server that is killed leaves it.
    Fill(0, kVolumesMade / 2);
    auto catalog = Open();
    EXPECT_OK(catalog);
    FillInto(catalog->get(), kVolumesMade / 2, kVolumesMade);
    fs::copy(state_, good_);
  }

  ~DamageTest() override { spdlog::default_logger()->sinks().pop_back(); }

  absl::StatusOr<std::unique_ptr<Catalog>> Open() {
    told_.str("");
    SqliteCatalogOptions options;
    options.path = path_;
    options.log_bytes = 0;
    return OpenSqliteCatalog(options);
  }
  void Fill(int from, int to) {
    ASSERT_OK_AND_ASSIGN(auto catalog, Open());
    FillInto(catalog.get(), from, to);
  }
  static void FillInto(Catalog* catalog, int from, int to) {
    for (int i = from; i < to; ++i) {
      Transaction transaction = Put(MakeVolume(N("v", i), i));
      transaction.put_snapshots = {SnapshotOf(i)};
      transaction.put_operations = {MakeOperation(N("j", i), N("v", i), i), EndedOperation(i)};
      ASSERT_OK(catalog->CommitAndWait(transaction));
    }
  }

  void Restore() {
    fs::remove_all(state_);
    fs::copy(good_, state_);
  }
  // Behind the catalog's back, while it is closed.
  void Execute(const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_close(database);
  }

  // Everything is as it was, or stands still; how many volumes do.
  int Check(const Catalog& catalog) {
    int stopped = 0;
    bool all_readable = true;
    for (int i = 0; i < kVolumesMade; ++i) {
      VolumePtr volume = catalog.FindVolume(N("v", i));
      EXPECT_NE(volume, nullptr) << i;
      if (volume == nullptr) continue;
      const bool stands_still = volume->state == VolumeState::kError &&
                                volume->state_reason.find("read") != std::string::npos;
      stopped += stands_still ? 1 : 0;
      EXPECT_TRUE(stands_still || SameRecord(*volume, MakeVolume(N("v", i), i))) << i;
      SnapshotPtr snapshot = catalog.FindSnapshot(N("s", i));
      if (snapshot != nullptr) {
        EXPECT_TRUE(SameRecord(*snapshot, SnapshotOf(i))) << i;
      }
      // Where nothing of it is left that tells the volume, the log says so.
      const auto is_told = [&](const std::string& record) {
        return told_.str().find(record + ": of which volume it is cannot be told") !=
               std::string::npos;
      };
      EXPECT_TRUE(snapshot != nullptr || stands_still || is_told("snapshot " + N("s", i))) << i;
      auto unfinished = catalog.FindOperation(N("j", i));
      EXPECT_TRUE(!unfinished.ok() || *unfinished != nullptr || stands_still ||
                  is_told("operation " + N("j", i)))
          << i;
      for (const auto& ended :
           {catalog.FindOperation(N("o", i)), catalog.FindOperationByRequest(N("r", i))}) {
        all_readable = all_readable && ended.ok();
        if (!ended.ok()) continue;
        EXPECT_NE(*ended, nullptr) << i;
        if (*ended != nullptr) {
          EXPECT_TRUE(SameRecord(**ended, EndedOperation(i))) << i;
        }
      }
    }
    auto listed = catalog.ListOperations(Query("state = SUCCEEDED", "", 1000));
    // What cannot be read may be one that the filter leaves out.
    EXPECT_TRUE(!listed.ok() || !all_readable || listed->items.size() == kVolumesMade);
    return stopped;
  }

  std::ostringstream told_;  // the log, of the last that was opened
  const std::shared_ptr<spdlog::sinks::ostream_sink_mt> sink_ =
      std::make_shared<spdlog::sinks::ostream_sink_mt>(told_);
  TempDir directory_;
  const std::string state_ = directory_.File("state");
  const std::string good_ = directory_.File("good");
  const std::string path_ = state_ + "/catalog.db";
};

std::string TextOf(const absl::Status& status) { return std::string(ToStd(status.message())); }

TEST_F(DamageTest, AnOlderCatalogIsRefused) {
  Restore();
  ASSERT_OK_AND_ASSIGN(auto catalog, Open());
  ASSERT_OK(catalog->CommitAndWait(Put(MakeVolume("later"))));
  catalog.reset();
  // A copy from before is put back, without what has come since.
  for (const char* name : {"catalog.db", "catalog.db-wal"}) {
    fs::copy_file(good_ + "/" + name, state_ + "/" + name, fs::copy_options::overwrite_existing);
  }
  for (int round = 0; round < 2; ++round) {
    auto older = Open();
    EXPECT_THAT(older, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(TextOf(older.status()), HasSubstr("older than it was"));
    EXPECT_THAT(TextOf(older.status()), HasSubstr("remove " + path_ + ".mark"));
  }
  fs::remove(path_ + ".mark");
  for (int round = 0; round < 2; ++round) {
    ASSERT_OK_AND_ASSIGN(catalog, Open());
    EXPECT_EQ(Check(*catalog), 0);
    EXPECT_EQ(catalog->FindVolume("later"), nullptr);
    ASSERT_OK(catalog->CommitAndWait(Put(MakeVolume("other" + std::to_string(round)))));
    catalog.reset();
  }
}

// With as many commits as the one that was accepted in its place, or more.
TEST_F(DamageTest, AnotherHistoryIsRefused) {
  Restore();
  ASSERT_OK_AND_ASSIGN(auto catalog, Open());
  for (int i = 0; i < 5; ++i) {
    ASSERT_OK(catalog->CommitAndWait(Put(MakeVolume("later" + std::to_string(i)))));
  }
  catalog.reset();
  const std::string other = directory_.File("other");
  fs::copy(state_, other);
  Restore();
  fs::remove(path_ + ".mark");
  ASSERT_OK(Open());
  fs::copy_file(other + "/catalog.db", path_, fs::copy_options::overwrite_existing);
  auto refused = Open();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(TextOf(refused.status()), HasSubstr("another history"));
}

TEST_F(DamageTest, AnotherCatalogIsRefused) {
  TempDir elsewhere;
  ASSERT_OK(OpenSqliteCatalog({elsewhere.File("catalog.db")}));
  Restore();
  fs::remove(path_ + "-wal");
  fs::copy_file(elsewhere.File("catalog.db"), path_, fs::copy_options::overwrite_existing);
  auto refused = Open();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(TextOf(refused.status()), HasSubstr("this is catalog"));
}

TEST_F(DamageTest, WhatIsMissingOrEmptyIsRefused) {
  for (const bool marked : {true, false}) {
    for (const bool removed : {true, false}) {
      Restore();
      if (!marked) fs::remove(path_ + ".mark");
      removed ? fs::remove(path_) : (fs::resize_file(path_, 0), true);
      auto refused = Open();
      EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
      EXPECT_THAT(TextOf(refused.status()), HasSubstr("missing or empty"));
    }
  }
  Restore();
  fs::remove(path_ + "-wal");
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kFailedPrecondition));
  // As the message says: then it is an empty one.
  for (const char* suffix : {"", "-wal", ".mark"}) fs::remove(path_ + suffix);
  ASSERT_OK_AND_ASSIGN(auto catalog, Open());
  EXPECT_EQ(catalog->revision(), 0);
}

TEST_F(DamageTest, ADamagedMarkIsNamed) {
  Restore();
  WriteFile(path_ + ".mark", ReadFile(path_ + ".mark").replace(70, 1, "x"));
  auto refused = Open();
  EXPECT_THAT(refused, HasReasonOf(Reason::kIoError));
  EXPECT_THAT(TextOf(refused.status()), HasSubstr(path_ + ".mark"));
  fs::remove(path_ + ".mark");
  ASSERT_OK_AND_ASSIGN(auto catalog, Open());
  EXPECT_EQ(Check(*catalog), 0);
}

TEST_F(DamageTest, OneUnreadableRecordStopsItsVolumeAlone) {
  for (const auto& damaged : {std::pair("volumes", "v103"), std::pair("snapshots", "s103"),
                              std::pair("journal", "j103")}) {
    const std::string table = damaged.first;
    const std::string id = damaged.second;
    for (const char* change : {"body = substr(body, 9)", "body = replace(body, 'id', 'ib')",
                               "checksum = checksum + 1"}) {
      SCOPED_TRACE(table + " " + change);
      Restore();
      Execute("UPDATE " + table + " SET " + change + " WHERE id = '" + id + "'");
      const auto row = [&] {
        fs::remove(directory_.File("row"));
        Execute("ATTACH '" + directory_.File("row") + "' AS other; CREATE TABLE other.row AS " +
                "SELECT * FROM " + table + " WHERE id = '" + id + "'");
        return ReadFile(directory_.File("row"));
      };
      const std::string before = row();
      for (int round = 0; round < 2; ++round) {
        ASSERT_OK_AND_ASSIGN(auto catalog, Open());
        EXPECT_EQ(Check(*catalog), 1);
        const VolumePtr volume = catalog->FindVolume("v103");
        ASSERT_NE(volume, nullptr);
        EXPECT_EQ(volume->state, VolumeState::kError);
        EXPECT_THAT(volume->state_reason, HasSubstr(id));
        VolumeRecord changed = *volume;
        changed.name = "changed";
        EXPECT_THAT(catalog->CommitAndWait(Put(changed)), HasReasonOf(Reason::kVolumeState));
        EXPECT_THAT(catalog->CommitAndWait(RemoveVolume("v103")),
                    HasReasonOf(Reason::kVolumeState));
        EXPECT_THAT(catalog->CommitAndWait(Put(MakeSnapshot("new", "v103"))),
                    HasReasonOf(Reason::kVolumeState));
        EXPECT_THAT(catalog->CommitAndWait(Put(MakeOperation("new", "v103"))),
                    HasReasonOf(Reason::kVolumeState));
        for (const OperationPtr& each : catalog->UnfinishedOperations()) {
          EXPECT_NE(each->volume_id, "v103");
        }
        EXPECT_EQ(catalog->UnfinishedOperations().size(), kVolumesMade - 1u);
        // All else goes on.
        ASSERT_OK(catalog->CommitAndWait(Put(MakeVolume("more" + std::to_string(round)))));
        ASSERT_OK(
            catalog->CommitAndWait(Put(MakeSnapshot("more" + std::to_string(round), "v104"))));
      }
      EXPECT_EQ(row(), before) << "it stays as it is";
    }
  }
}

TEST_F(DamageTest, AnythingAtAll) {
  const uint64_t seed = Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  RandomRecords random(seed);
  int refused = 0, stopped = 0, whole = 0;
  for (int i = 0; i < 150 && !HasFailure(); ++i) {
    Restore();
    const char* names[] = {"catalog.db", "catalog.db", "catalog.db-wal", "catalog.db-wal",
                           "catalog.db.mark"};
    const std::string name = names[random.Below(5)];
    const std::string file = state_ + "/" + name;
    std::string content = ReadFile(file);
    const auto at = static_cast<size_t>(random.Below(static_cast<int64_t>(content.size())));
    std::string what;
    switch (random.Below(5)) {
      default: {
        const auto bit = random.Below(8);
        content[at] = static_cast<char>(content[at] ^ 1 << bit);
        what = "bit " + std::to_string(bit) + " of byte " + std::to_string(at);
        break;
      }
      case 1:
        content.resize(at);
        what = "cut to " + std::to_string(at);
        break;
      case 2: {
        const size_t page = at / 4096 * 4096;
        const size_t length = std::min<size_t>(4096, content.size() - page);
        content.replace(page, length, std::string(length, random.Below(2) == 0 ? '\0' : '\xA5'));
        what = "page at " + std::to_string(page);
        break;
      }
    }
    SCOPED_TRACE(name + ": " + what);
    WriteFile(file, content);
    auto catalog = Open();
    if (!catalog.ok()) {
      ++refused;
      EXPECT_THAT(TextOf(catalog.status()), HasSubstr(path_));
    } else if (Check(**catalog) > 0) {
      ++stopped;
    } else {
      ++whole;
    }
  }
  EXPECT_GT(refused, 30);
  RecordProperty("refused", refused);
  RecordProperty("stopped", stopped);
  RecordProperty("whole", whole);
}

}  // namespace
}  // namespace cairn::testing
