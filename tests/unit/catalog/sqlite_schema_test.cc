// Catalogs that earlier versions have left.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include "lib/base/strings.h"
#include "lib/catalog/record_json.h"
#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Each schema as the version wrote it that had it.
constexpr char kSchema1[] = R"sql(
  PRAGMA journal_mode = WAL;
  CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL);
  CREATE TABLE volumes(
    id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
  CREATE TABLE snapshots(
    id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
  CREATE TABLE operations(
    id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
  INSERT INTO meta(key, value) VALUES('revision', 205), ('volume_revision', 1);
  PRAGMA user_version = 1;
)sql";

class SqliteSchemaTest : public ::testing::Test {
 protected:
  SqliteSchemaTest() {
    EXPECT_EQ(sqlite3_open(path_.c_str(), &database_), SQLITE_OK);
    Execute(kSchema1);
    Insert("volumes", "v", 1, RecordToJson(MakeVolume("v")));
    Insert("snapshots", "s", 2, RecordToJson(MakeSnapshot("s", "v")));
    for (int i = 0; i < 200; ++i) {
      // As after a row was numbered by hand.
      if (i == 50) Execute("UPDATE operations SET rowid = 230 WHERE id = 'o20'");
      operations_.push_back(random_.Operation("o" + std::to_string(i)));
      if (i < 3) operations_.back().state = OperationState::kRunning;
      if (i == 3) operations_.back().request_id.clear();
      if (i > 2) operations_.back().state = OperationState::kFailed;
      operations_.back().create_time = Second(200 - i);
      Insert("operations", operations_.back().id, 3 + i, RecordToJson(operations_.back()));
    }
  }
  ~SqliteSchemaTest() override { sqlite3_close(database_); }

  void Execute(const std::string& sql) {
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
  }
  void Insert(const std::string& table, const std::string& id, int64_t revision,
              const std::string& body) {
    sqlite3_stmt* insert = nullptr;
    const std::string sql = "INSERT INTO " + table + " VALUES(?, ?, ?)";
    ASSERT_EQ(sqlite3_prepare_v2(database_, sql.c_str(), -1, &insert, nullptr), SQLITE_OK);
    sqlite3_bind_text(insert, 1, id.c_str(), -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(insert, 2, revision);
    sqlite3_bind_text(insert, 3, body.c_str(), -1, SQLITE_TRANSIENT);
    EXPECT_EQ(sqlite3_step(insert), SQLITE_DONE);
    sqlite3_finalize(insert);
  }
  absl::StatusOr<std::unique_ptr<Catalog>> Open() {
    sqlite3_close(database_);
    database_ = nullptr;
    return OpenSqliteCatalog({path_});
  }

  TempDir directory_;
  const std::string path_ = directory_.File("catalog.db");
  sqlite3* database_ = nullptr;
  RandomRecords random_{Seed()};
  std::vector<OperationRecord> operations_;
};

TEST_F(SqliteSchemaTest, Schema1IsBroughtUpToDate) {
  ASSERT_OK_AND_ASSIGN(auto catalog, Open());
  for (int round = 0; round < 2; ++round) {
    EXPECT_NE(catalog->FindVolume("v"), nullptr);
    EXPECT_NE(catalog->FindSnapshot("s"), nullptr);
    EXPECT_EQ(catalog->revision(), 205 + round * 40);
    EXPECT_THAT(IdsOf(catalog->UnfinishedOperations()), ElementsAre("o2", "o1", "o0"));
    int64_t revision = 3;
    for (const OperationRecord& operation : operations_) {
      OperationPtr found = FindOperation(*catalog, operation.id);
      ASSERT_NE(found, nullptr);
      EXPECT_TRUE(SameRecord(*found, operation));
      EXPECT_EQ(found->revision, revision++);
      if (operation.request_id.empty()) continue;
      found = FindOperationByRequest(*catalog, operation.request_id);
      ASSERT_NE(found, nullptr);
      EXPECT_EQ(found->id, operation.id);
    }
    ListQuery query = Query("", "", 2);
    ASSERT_OK_AND_ASSIGN(auto page, catalog->ListOperations(query));
    EXPECT_THAT(IdsOf(page.items), ElementsAre("o199", "o198"));
    query.page_token = page.next_page_token;
    ASSERT_OK_AND_ASSIGN(page, catalog->ListOperations(query));
    EXPECT_THAT(IdsOf(page.items), ElementsAre("o197", "o196"));
    // Both kinds can be added to what is there, whatever the rows are numbered.
    for (int i = 0; i < 20; ++i) {
      OperationRecord more = MakeOperation("more" + std::to_string(round * 20 + i), "v", 1000);
      if (i % 2 == 0) more.state = OperationState::kSucceeded;
      ASSERT_OK(catalog->CommitAndWait(Put(more)));
      more = *FindOperation(*catalog, more.id);
      more.state = OperationState::kFailed;
      ASSERT_OK(catalog->CommitAndWait(Put(more)));
    }
    catalog.reset();
    ASSERT_OK_AND_ASSIGN(catalog, OpenSqliteCatalog({path_}));
  }
}

TEST_F(SqliteSchemaTest, WhatCannotBeReadIsLeftAsItIs) {
  Execute("UPDATE operations SET body = '{}' WHERE id = 'o150'");
  auto catalog = Open();
  EXPECT_THAT(catalog, HasReasonOf(Reason::kIoError));
  EXPECT_THAT(std::string(ToStd(catalog.status().message())), HasSubstr("o150"));
  ASSERT_EQ(sqlite3_open(path_.c_str(), &database_), SQLITE_OK);
  Execute("DELETE FROM operations WHERE id = 'o150'");
  EXPECT_OK(Open());
}

// Found when it is asked for, as start-up does not read old operations; what is known of it is not
// taken for "there is none".
TEST_F(SqliteSchemaTest, AnOldOperationThatCannotBeReadIsAnError) {
  ASSERT_OK(Open());
  ASSERT_EQ(sqlite3_open(path_.c_str(), &database_), SQLITE_OK);
  Execute("UPDATE operations SET body = '{}', request_id = 'r' WHERE id = 'o150'");
  ASSERT_OK_AND_ASSIGN(auto catalog, Open());
  EXPECT_THAT(catalog->FindOperation("o150"), HasReasonOf(Reason::kIoError));
  EXPECT_THAT(catalog->FindOperationByRequest("r"), HasReasonOf(Reason::kIoError));
  EXPECT_THAT(catalog->ListOperations(Query("", "", 1000)), HasReasonOf(Reason::kIoError));
  OperationRecord again = MakeOperation("again", "v");
  again.request_id = "r";
  EXPECT_THAT(catalog->CommitAndWait(Put(again)), HasReasonOf(Reason::kIoError));
  EXPECT_OK(catalog->CommitAndWait(Put(MakeOperation("other", "v"))));
}

}  // namespace
}  // namespace cairn::testing
