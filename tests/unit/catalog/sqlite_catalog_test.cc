// What is particular to SQLite: who may open the file, its schema, damage, a full disk.
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "lib/base/json.h"
#include "lib/base/strings.h"
#include "tests/support/small_disk.h"
#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::unique_ptr<Catalog>> OpenIn(const std::string& directory,
                                                int changes_kept = 1000) {
  return OpenSqliteCatalog({directory + "/catalog.db", changes_kept});
}

INSTANTIATE_TEST_SUITE_P(Sqlite, CatalogConformanceTest,
                         ::testing::Values(StoreUnderTest{"Sqlite", OpenIn}), StoreName());

class SqliteCatalogTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Catalog>> Open() { return OpenIn(directory_.path()); }

  // With as many volumes as fill a few dozen pages.
  void MakeCatalog() {
    ASSERT_OK_AND_ASSIGN(auto catalog, Open());
    Transaction transaction;
    for (int i = 0; i < 200; ++i) {
      transaction.put_volumes.push_back(MakeVolume("v" + std::to_string(1000 + i), i));
    }
    transaction.put_snapshots = {MakeSnapshot("s", "v1000")};
    transaction.put_operations = {MakeOperation("o", "v1000")};
    transaction.put_shares = {MakeShare("nfs1:/export")};
    ASSERT_OK(catalog->CommitAndWait(transaction));
  }

  // Behind the catalog's back, while it is closed.
  void Execute(const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_close(database);
  }

  TempDir directory_;
  const std::string path_ = directory_.File("catalog.db");
};

std::string MessageOf(const absl::Status& status) { return std::string(ToStd(status.message())); }

TEST_F(SqliteCatalogTest, ASecondOpenerIsRefused) {
  ASSERT_OK_AND_ASSIGN(auto catalog, Open());
  auto second = Open();
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(MessageOf(second.status()), HasSubstr(path_));
  EXPECT_THAT(MessageOf(second.status()), HasSubstr("another process"));
  // It did no harm, and the next may come when the first is gone.
  ASSERT_OK(catalog->CommitAndWait(Put(MakeVolume("v"))));
  catalog.reset();
  ASSERT_OK_AND_ASSIGN(catalog, Open());
  EXPECT_NE(catalog->FindVolume("v"), nullptr);
}

TEST_F(SqliteCatalogTest, ASecondProcessIsRefused) {
  int to_child[2];
  ASSERT_EQ(pipe(to_child), 0);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    char byte;
    if (read(to_child[0], &byte, 1) != 1) _exit(3);
    auto catalog = Open();
    bool refused = catalog.status().code() == absl::StatusCode::kFailedPrecondition;
    _exit(refused ? 0 : 1);
  }
  ASSERT_OK_AND_ASSIGN(auto catalog, Open());
  ASSERT_EQ(write(to_child[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_OK(catalog->CommitAndWait(Put(MakeVolume("v"))));
  for (int fd : to_child) close(fd);
}

TEST_F(SqliteCatalogTest, ANewerSchemaIsRefused) {
  MakeCatalog();
  Execute("PRAGMA user_version = 5");
  auto catalog = Open();
  EXPECT_THAT(catalog, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(MessageOf(catalog.status()), HasSubstr("schema 5 is newer"));
  Execute("PRAGMA user_version = 4");
  ASSERT_OK_AND_ASSIGN(catalog, Open());
  EXPECT_NE((*catalog)->FindVolume("v1000"), nullptr) << "and was left as it is";
}

TEST_F(SqliteCatalogTest, AnotherProgramsDatabaseIsRefused) {
  Execute("CREATE TABLE cookies(name)");
  auto catalog = Open();
  EXPECT_THAT(catalog, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(MessageOf(catalog.status()), HasSubstr("not a catalog"));
  Execute("SELECT * FROM cookies");
}

TEST_F(SqliteCatalogTest, AMissingDirectoryIsNamed) {
  auto catalog = OpenSqliteCatalog({directory_.File("none/catalog.db")});
  ASSERT_FALSE(catalog.ok());
  EXPECT_THAT(MessageOf(catalog.status()), HasSubstr("none/catalog.db"));
  EXPECT_THAT(MessageOf(catalog.status()), HasSubstr("No such file"));
}

TEST_F(SqliteCatalogTest, NoDatabaseAtAll) {
  for (const std::string& content : {std::string(8192, 'x'), std::string("SQLite format 3")}) {
    WriteFile(path_, content);
    auto catalog = Open();
    EXPECT_THAT(catalog, StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(MessageOf(catalog.status()), HasSubstr(path_));
    EXPECT_EQ(ReadFile(path_), content) << "what is not understood is left alone";
  }
}

TEST_F(SqliteCatalogTest, ADamagedFileIsRefused) {
  MakeCatalog();
  const std::string whole = ReadFile(path_);
  ASSERT_GT(whole.size(), 10u * 4096);
  int refused = 0;
  for (size_t page = 1; page < whole.size() / 4096; ++page) {
    std::string damaged = whole;
    damaged.replace(page * 4096, 4096, std::string(4096, '\xA5'));
    WriteFile(path_, damaged);
    auto catalog = Open();
    EXPECT_THAT(catalog, StatusIs(absl::StatusCode::kDataLoss)) << "page " << page;
    EXPECT_THAT(MessageOf(catalog.status()), HasSubstr(path_));
    ++refused;
  }
  EXPECT_GT(refused, 10);
  WriteFile(path_, whole.substr(0, whole.size() / 2));
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss));
  WriteFile(path_, whole);
  EXPECT_OK(Open());
}

// What was changed so that it is not the catalog's any more, nor a record that cannot be read.
TEST_F(SqliteCatalogTest, RecordsOfNoCommitAreRefused) {
  MakeCatalog();
  const std::string whole = ReadFile(path_);
  for (const char* change :
       {"UPDATE volumes SET revision = 0 WHERE id = 'v1042'",
        "UPDATE snapshots SET revision = 1000000", "DELETE FROM volumes WHERE id = 'v1042'",
        "DELETE FROM journal", "UPDATE shares SET id = 'nfs2:/export'",
        "INSERT INTO journal SELECT * FROM volumes WHERE id = 'v1042'",
        "UPDATE seal SET commits = commits + 1", "DELETE FROM seal"}) {
    WriteFile(path_, whole);
    Execute(change);
    auto catalog = Open();
    EXPECT_THAT(catalog, HasReasonOf(Reason::kIoError)) << change;
    EXPECT_THAT(MessageOf(catalog.status()), HasSubstr(path_));
  }
}

TEST_F(SqliteCatalogTest, AShareThatCannotBeReadIsNamed) {
  MakeCatalog();
  Execute("UPDATE shares SET body = replace(body, 'nfs1', 'nfs2')");
  auto catalog = Open();
  EXPECT_THAT(catalog, HasReasonOf(Reason::kIoError));
  EXPECT_THAT(MessageOf(catalog.status()), HasSubstr("shares nfs1:/export"));
}

TEST_F(SqliteCatalogTest, AFullDiskLosesNothing) {
  SmallDisk disk(directory_.File("small"), "1m");
  if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  WriteFile(disk.path() + "/ballast", std::string(700'000, 'x'));
  ASSERT_OK_AND_ASSIGN(auto catalog, OpenIn(directory_.File("small")));
  const auto large = [](const std::string& id) {
    VolumeRecord volume = MakeVolume(id);
    volume.state_reason = std::string(20'000, 'r');
    return volume;
  };
  std::vector<std::string> stored;
  absl::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i) {
    VolumeRecord volume = large("v" + std::to_string(i));
    status = catalog->CommitAndWait(Put(volume));
    if (status.ok()) stored.push_back(volume.id);
  }
  EXPECT_THAT(status, HasReasonOf(Reason::kNoSpace));
  EXPECT_THAT(MessageOf(status), HasSubstr("catalog.db"));
  ASSERT_GT(stored.size(), 2u);
  int64_t revision = catalog->revision();
  EXPECT_EQ(catalog->TotalsOf("nfs1:/export").volumes, static_cast<int64_t>(stored.size()));
  EXPECT_FALSE(catalog->CommitAndWait(Put(large("again"))).ok());
  EXPECT_EQ(catalog->FindVolume("again"), nullptr);
  EXPECT_EQ(catalog->revision(), revision) << "memory shows what is durable";

  disk.MakeRoom();
  ASSERT_OK(catalog->CommitAndWait(Put(MakeVolume("after"))));
  stored.push_back("after");
  catalog.reset();
  ASSERT_OK_AND_ASSIGN(catalog, OpenIn(directory_.File("small")));
  EXPECT_EQ(catalog->TotalsOf("nfs1:/export").volumes, static_cast<int64_t>(stored.size()));
  for (const std::string& id : stored) EXPECT_NE(catalog->FindVolume(id), nullptr) << id;
}

}  // namespace
}  // namespace cairn::testing
