// What a power failure leaves of a catalog: what was synced, and nothing after it.
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "lib/base/mutex.h"
#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

// The files of a catalog as they are on the disk: copied whenever the log is synced.
class Disk {
 public:
  static Disk& Get() {
    static Disk disk;
    return disk;
  }

  void Begin(const std::string& catalog, const std::string& copies) {
    MutexLock lock(&mutex_);
    catalog_ = catalog;
    copies_ = copies;
    syncs_ = 0;
    Copy();
  }
  // Where what is on the disk is found; it does not change any more.
  std::string End() {
    MutexLock lock(&mutex_);
    catalog_.clear();
    return copies_;
  }
  void Synced(int fd) {
    MutexLock lock(&mutex_);
    if (catalog_.empty()) return;
    std::error_code error;
    const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
    if (path != catalog_ + "-wal") return;
    ++syncs_;
    Copy();
  }
  int syncs() const {
    MutexLock lock(&mutex_);
    return syncs_;
  }

 private:
  void Copy() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const char* suffix : {"", "-wal"}) {
      std::filesystem::copy_file(catalog_ + suffix, copies_ + suffix,
                                 std::filesystem::copy_options::overwrite_existing);
    }
  }

  mutable Mutex mutex_;
  std::string catalog_ ABSL_GUARDED_BY(mutex_);
  std::string copies_ ABSL_GUARDED_BY(mutex_);
  int syncs_ ABSL_GUARDED_BY(mutex_) = 0;
};

Transaction OneVolume(const std::string& id, bool may_be_durable_later) {
  Transaction transaction;
  transaction.put_volumes = {MakeVolume(id)};
  transaction.may_be_durable_later = may_be_durable_later;
  return transaction;
}

}  // namespace

// Instead of the C library's, for SQLite too.
extern "C" int fdatasync(int fd) {
  const auto result = static_cast<int>(syscall(SYS_fdatasync, fd));
  Disk::Get().Synced(fd);
  return result;
}

extern "C" int fsync(int fd) {
  const auto result = static_cast<int>(syscall(SYS_fsync, fd));
  Disk::Get().Synced(fd);
  return result;
}

namespace {

// Many short lives, each ended by a cut: what waited for the disk is there, with all before it, and no
// revision is given out twice.
TEST(PowerCutTest, WhatWaitedForTheDiskIsThere) {
  const uint64_t seed = Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  RandomRecords random(seed);
  TempDir directory;
  std::string path = directory.File("0.db");
  int64_t told = 0;  // the highest revision that anybody saw
  int number = 0;
  int lost = 0;
  std::map<std::string, bool> durable;  // by id: whether it must be there
  for (int life = 1; life <= 30; ++life) {
    ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog({path}));
    EXPECT_GE(catalog->revision(), told);
    for (auto it = durable.begin(); it != durable.end();) {
      const bool there = catalog->FindVolume(it->first) != nullptr;
      EXPECT_TRUE(there || !it->second) << it->first;
      lost += there ? 0 : 1;
      it->second = there;  // seen is as good as told
      it = there ? std::next(it) : durable.erase(it);
    }
    Disk::Get().Begin(path, directory.File(std::to_string(life) + ".db"));
    const int64_t before = catalog->revision();
    for (uint64_t i = random.Below(6); i > 0; --i) {
      const std::string id = "v" + std::to_string(++number);
      const bool later = random.Below(3) != 0;
      ASSERT_OK(catalog->CommitAndWait(OneVolume(id, later)));
      if (!later) {
        for (auto& [earlier, must] : durable) must = true;
      }
      durable[id] = !later;
    }
    if (catalog->revision() > before) told = catalog->revision();
    path = Disk::Get().End();
  }
  EXPECT_GT(lost, 0);
}

TEST(PowerCutTest, WhatMayBeDurableLaterIsSoonAndWakesNobodyBefore) {
  TempDir directory;
  const std::string path = directory.File("catalog.db");
  ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog({path}));
  ASSERT_OK(catalog->CommitAndWait(OneVolume("first", false)));
  Disk::Get().Begin(path, directory.File("copy.db"));
  for (int i = 0; i < 20; ++i) {
    ASSERT_OK(catalog->CommitAndWait(OneVolume("later" + std::to_string(i), true)));
  }
  EXPECT_LT(Disk::Get().syncs(), 20);
  for (int i = 0; i < 3000 && Disk::Get().syncs() == 0; ++i) absl::SleepFor(absl::Milliseconds(10));
  ASSERT_OK_AND_ASSIGN(auto after, OpenSqliteCatalog({Disk::Get().End()}));
  EXPECT_NE(after->FindVolume("later0"), nullptr);
}

// However many there are: as many as can be lost are left out by the next start.
TEST(PowerCutTest, NotTooManyAreLost) {
  TempDir directory;
  const std::string path = directory.File("catalog.db");
  ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog({path}));
  Disk::Get().Begin(path, directory.File("copy.db"));
  for (int i = 0; i < 3000; ++i) {
    ASSERT_OK(catalog->CommitAndWait(OneVolume("v" + std::to_string(i), true)));
  }
  const int64_t told = catalog->revision();
  ASSERT_OK_AND_ASSIGN(auto after, OpenSqliteCatalog({Disk::Get().End()}));
  EXPECT_NE(after->FindVolume("v999"), nullptr);
  EXPECT_GE(after->revision(), told);
}

TEST(PowerCutTest, ACleanEndLeavesNoRevisionOut) {
  TempDir directory;
  const std::string path = directory.File("catalog.db");
  int64_t revision = 0;
  for (int round = 0; round < 3; ++round) {
    ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog({path}));
    EXPECT_EQ(catalog->revision(), revision);
    ASSERT_OK(catalog->CommitAndWait(OneVolume("v" + std::to_string(round), true)));
    EXPECT_EQ(catalog->revision(), ++revision);
  }
}

}  // namespace
}  // namespace cairn::testing
