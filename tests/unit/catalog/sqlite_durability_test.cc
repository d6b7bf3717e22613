// Killing the process at random instants: what was acknowledged is there, nothing is there by
// halves.
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

constexpr int kSlots = 8;

std::string Slot(const char* kind, int slot) { return kind + std::to_string(slot); }

// In each slot a volume, a snapshot and an operation move together: all three carry one number, and
// the operation of the number before is removed in the same transaction.
class Child {
 public:
  Child(Catalog* catalog, int acknowledge_fd) : catalog_(catalog), fd_(acknowledge_fd) {
    for (int slot = 0; slot < kSlots; ++slot) Next(slot);
  }

 private:
  void Next(int slot) {
    Transaction transaction;
    VolumePtr volume = catalog_->FindVolume(Slot("v", slot));
    SnapshotPtr snapshot = catalog_->FindSnapshot(Slot("s", slot));
    transaction.put_volumes = {volume == nullptr ? MakeVolume(Slot("v", slot)) : *volume};
    transaction.put_snapshots = {snapshot == nullptr ? MakeSnapshot(Slot("s", slot), "v")
                                                     : *snapshot};
    VolumeRecord& changed = transaction.put_volumes[0];
    if (volume == nullptr) changed.size_bytes = 0;
    std::string before = Slot("o", slot) + "-" + std::to_string(changed.size_bytes);
    int64_t number = ++changed.size_bytes;
    transaction.put_snapshots[0].size_bytes = number;
    transaction.put_operations = {
        MakeOperation(Slot("o", slot) + "-" + std::to_string(number), changed.id)};
    transaction.remove_operations = {before};
    catalog_->Commit(std::move(transaction), [this, slot, number](absl::Status status) {
      if (!status.ok()) _exit(1);
      std::array<int64_t, 2> message{slot, number};
      if (write(fd_, message.data(), sizeof(message)) != sizeof(message)) _exit(2);
      Next(slot);
    });
  }

  Catalog* const catalog_;
  const int fd_;
};

// Opens the catalog in a child that commits without end, kills it after `lifetime`, and returns the
// last number acknowledged in each slot.
void RunAndKill(const std::string& path, absl::Duration lifetime,
                std::array<int64_t, kSlots>* acknowledged) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(fds[0]);
    auto catalog = OpenSqliteCatalog({path});
    if (!catalog.ok()) _exit(3);
    Child committer(catalog->get(), fds[1]);
    for (;;) pause();
  }
  close(fds[1]);
  std::array<int64_t, 2> message;
  absl::Time end = absl::InfiniteFuture();
  bool killed = false;
  while (read(fds[0], message.data(), sizeof(message)) == sizeof(message)) {
    (*acknowledged)[static_cast<size_t>(message[0])] = message[1];
    if (end == absl::InfiniteFuture()) end = absl::Now() + lifetime;
    // What is still in the pipe was acknowledged too: it is read to its end.
    if (!killed && absl::Now() > end) killed = kill(child, SIGKILL) == 0;
  }
  close(fds[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself: " << status;
}

TEST(SqliteDurabilityTest, AcknowledgedCommitsSurviveKill) {
  uint64_t seed = Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  RandomRecords random(seed);
  TempDir directory;
  const std::string path = directory.File("catalog.db");
  std::array<int64_t, kSlots> acknowledged{};
  int64_t revision = 0;
  for (int round = 0; round < 20; ++round) {
    ASSERT_NO_FATAL_FAILURE(
        RunAndKill(path, absl::Microseconds(random.Below(100'000)), &acknowledged));
    ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog({path}));
    for (int slot = 0; slot < kSlots; ++slot) {
      VolumePtr volume = catalog->FindVolume(Slot("v", slot));
      SnapshotPtr snapshot = catalog->FindSnapshot(Slot("s", slot));
      if (acknowledged[static_cast<size_t>(slot)] == 0 && volume == nullptr) continue;
      ASSERT_TRUE(volume != nullptr && snapshot != nullptr) << slot;
      int64_t number = volume->size_bytes;
      // One commit a slot is in flight: it may have become durable without having been told.
      EXPECT_GE(number, acknowledged[static_cast<size_t>(slot)]);
      EXPECT_LE(number, acknowledged[static_cast<size_t>(slot)] + 1);
      EXPECT_EQ(snapshot->size_bytes, number);
      acknowledged[static_cast<size_t>(slot)] = number;  // seen is as good as told
      std::string prefix = Slot("o", slot) + "-";
      EXPECT_NE(FindOperation(*catalog, prefix + std::to_string(number)), nullptr);
      EXPECT_EQ(FindOperation(*catalog, prefix + std::to_string(number - 1)), nullptr);
      EXPECT_EQ(FindOperation(*catalog, prefix + std::to_string(number + 1)), nullptr);
    }
    EXPECT_GT(catalog->revision(), revision);
    revision = catalog->revision();
  }
}

TEST(SqliteDurabilityTest, WhatIsOnTheDiskIsKnown) {
  TempDir directory;
  const std::string path = directory.File("catalog.db");
  int64_t last = 0;
  {
    ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog({path}));
    EXPECT_EQ(catalog->durable_revision(), catalog->loaded_revision());
    Transaction waits;
    waits.put_volumes = {MakeVolume("v")};
    ASSERT_OK(catalog->CommitAndWait(std::move(waits)));
    const int64_t durable = catalog->revision();
    EXPECT_EQ(catalog->durable_revision(), durable);
    Transaction later;
    later.put_volumes = {MakeVolume("w")};
    later.may_be_durable_later = true;
    ASSERT_OK(catalog->CommitAndWait(std::move(later)));
    last = catalog->revision();
    EXPECT_GT(last, durable);
    EXPECT_EQ(catalog->durable_revision(), durable);
    EXPECT_LT(catalog->loaded_revision(), durable);
  }
  ASSERT_OK_AND_ASSIGN(auto catalog, OpenSqliteCatalog({path}));
  EXPECT_EQ(catalog->loaded_revision(), last);
  EXPECT_EQ(catalog->durable_revision(), last);
}

}  // namespace
}  // namespace cairn::testing
