// Transactions, revisions, look-ups, totals and changes. Lists: catalog_listing_test.cc.
#include "tests/unit/catalog/catalog_conformance.h"

#include <gmock/gmock.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "lib/base/mutex.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_P(CatalogConformanceTest, StartsEmpty) {
  EXPECT_EQ(catalog_->revision(), 0);
  EXPECT_EQ(catalog_->FindVolume("v"), nullptr);
  EXPECT_EQ(catalog_->FindSnapshot("s"), nullptr);
  EXPECT_EQ(FindOperation(*catalog_, "o"), nullptr);
  EXPECT_EQ(FindOperationByRequest(*catalog_, ""), nullptr);
  EXPECT_THAT(catalog_->SnapshotsOf("v"), IsEmpty());
  EXPECT_THAT(catalog_->UnfinishedOperations(), IsEmpty());
  EXPECT_EQ(catalog_->FindShare("share"), nullptr);
  EXPECT_THAT(catalog_->Shares(), IsEmpty());
  EXPECT_EQ(catalog_->TotalsOf("share").volumes, 0);
  ASSERT_OK_AND_ASSIGN(auto page, catalog_->ListVolumes({}));
  EXPECT_THAT(page.items, IsEmpty());
  EXPECT_EQ(page.next_page_token, "");
  ASSERT_OK_AND_ASSIGN(auto changes, catalog_->ChangesAfter(0, 10));
  EXPECT_THAT(changes, IsEmpty());
}

TEST_P(CatalogConformanceTest, PutChangeRemove) {
  ASSERT_OK(Commit(Put(MakeVolume("v"))));
  VolumePtr first = catalog_->FindVolume("v");
  ASSERT_NE(first, nullptr);
  EXPECT_GT(first->revision, 0);
  EXPECT_TRUE(SameRecord(*first, MakeVolume("v")));

  VolumeRecord changed = *first;
  changed.name = "other";
  ASSERT_OK(Commit(Put(changed)));
  VolumePtr second = catalog_->FindVolume("v");
  EXPECT_EQ(second->name, "other");
  EXPECT_GT(second->revision, first->revision);
  EXPECT_EQ(first->name, "name-v") << "what was given out does not change";

  ASSERT_OK(Commit(RemoveVolume("v")));
  EXPECT_EQ(catalog_->FindVolume("v"), nullptr);
  EXPECT_GT(catalog_->revision(), second->revision);
}

TEST_P(CatalogConformanceTest, RevisionsAreComparedAndSwapped) {
  ASSERT_OK(Commit(Put(MakeVolume("v"))));
  int64_t revision = catalog_->revision();
  VolumeRecord stale = Volume("v");
  // It is there already; it is not there; it was changed meanwhile.
  EXPECT_THAT(Commit(Put(MakeVolume("v"))), HasReasonOf(Reason::kRevisionMismatch));
  VolumeRecord absent = MakeVolume("absent");
  absent.revision = revision;
  EXPECT_THAT(Commit(Put(absent)), HasReasonOf(Reason::kRevisionMismatch));
  EXPECT_EQ(catalog_->revision(), revision) << "what is refused changes nothing";
  ASSERT_OK(Commit(Put(Volume("v"))));
  EXPECT_THAT(Commit(Put(stale)), HasReasonOf(Reason::kRevisionMismatch));
  EXPECT_EQ(catalog_->FindVolume("absent"), nullptr);
  // A removed id may come again.
  ASSERT_OK(Commit(RemoveVolume("v")));
  EXPECT_OK(Commit(Put(MakeVolume("v"))));
}

TEST_P(CatalogConformanceTest, SnapshotsAndOperationsAreComparedToo) {
  ASSERT_OK(Commit(Put(MakeSnapshot("s", "v"))));
  ASSERT_OK(Commit(Put(MakeOperation("o", "v"))));
  EXPECT_THAT(Commit(Put(MakeSnapshot("s", "v"))), HasReasonOf(Reason::kRevisionMismatch));
  EXPECT_THAT(Commit(Put(MakeOperation("o", "v"))), HasReasonOf(Reason::kRevisionMismatch));
  EXPECT_OK(Commit(Put(*catalog_->FindSnapshot("s"))));
  EXPECT_OK(Commit(Put(*FindOperation(*catalog_, "o"))));
}

TEST_P(CatalogConformanceTest, ItHasAnIdOfItsOwn) {
  const std::string id = catalog_->id();
  EXPECT_EQ(id.size(), 36u);
  for (int round = 0; round < 2; ++round) {
    ASSERT_OK(Commit(Put(MakeVolume("v" + std::to_string(round)))));
    Reopen();
    EXPECT_EQ(catalog_->id(), id);
  }
  TempDir elsewhere;
  ASSERT_OK_AND_ASSIGN(auto other, GetParam().open(elsewhere.path(), 10));
  EXPECT_NE(other->id(), id);
}

TEST_P(CatalogConformanceTest, SharesArePutChangedAndRemoved) {
  Transaction transaction = Put(MakeShare("nfs2:/export", "two"));
  transaction.put_shares.push_back(MakeShare("nfs1:/export", "one"));
  ASSERT_OK(Commit(transaction));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(catalog_->FindShare("none"), nullptr);
    const SharePtr one = catalog_->FindShare("nfs1:/export");
    ASSERT_NE(one, nullptr);
    EXPECT_TRUE(SameRecord(*one, MakeShare("nfs1:/export", "one")));
    EXPECT_EQ(one->revision, 2);
    const std::vector<SharePtr> all = catalog_->Shares();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0]->address, "nfs1:/export");
    EXPECT_EQ(all[1]->address, "nfs2:/export");
    Reopen();
  }
  EXPECT_THAT(Commit(Put(MakeShare("nfs1:/export"))), HasReasonOf(Reason::kRevisionMismatch));
  ShareRecord accepted = *catalog_->FindShare("nfs1:/export");
  accepted.identity = "another";
  ASSERT_OK(Commit(Put(accepted)));
  Transaction removal;
  removal.remove_shares = {"nfs2:/export", "never-was"};
  ASSERT_OK(Commit(removal));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(catalog_->FindShare("nfs2:/export"), nullptr);
    ASSERT_EQ(catalog_->Shares().size(), 1u);
    EXPECT_EQ(catalog_->Shares()[0]->identity, "another");
    EXPECT_EQ(catalog_->revision(), 4);
    Reopen();
  }
  EXPECT_THAT(Commit(Put(MakeShare(""))), HasReasonOf(Reason::kInvalidField));
  Transaction twice = Put(MakeShare("nfs3:/export"));
  twice.remove_shares = {"nfs3:/export"};
  EXPECT_THAT(Commit(twice), HasReasonOf(Reason::kInvalidField));
}

TEST_P(CatalogConformanceTest, ATransactionIsAllOrNothing) {
  ASSERT_OK(Commit(Put(MakeVolume("there"))));
  int64_t revision = catalog_->revision();
  Transaction transaction;
  transaction.put_volumes = {MakeVolume("new"), MakeVolume("there")};  // the second is refused
  transaction.put_snapshots = {MakeSnapshot("s", "new")};
  transaction.put_operations = {MakeOperation("o", "new")};
  transaction.remove_volumes = {"there-too"};
  EXPECT_THAT(Commit(transaction), HasReasonOf(Reason::kRevisionMismatch));
  EXPECT_EQ(catalog_->FindVolume("new"), nullptr);
  EXPECT_EQ(catalog_->FindSnapshot("s"), nullptr);
  EXPECT_EQ(FindOperation(*catalog_, "o"), nullptr);
  EXPECT_EQ(catalog_->revision(), revision);

  transaction.put_volumes[1].revision = revision;
  ASSERT_OK(Commit(transaction));
  EXPECT_NE(catalog_->FindVolume("new"), nullptr);
  EXPECT_NE(catalog_->FindSnapshot("s"), nullptr);
  EXPECT_NE(FindOperation(*catalog_, "o"), nullptr);

  Transaction removal;
  removal.remove_volumes = {"new"};
  removal.remove_snapshots = {"s"};
  removal.remove_operations = {"o"};
  ASSERT_OK(Commit(removal));
  EXPECT_EQ(catalog_->FindVolume("new"), nullptr);
  EXPECT_EQ(catalog_->FindSnapshot("s"), nullptr);
  EXPECT_EQ(FindOperation(*catalog_, "o"), nullptr);
}

TEST_P(CatalogConformanceTest, EveryPutGetsItsOwnRevision) {
  Transaction transaction;
  for (int i = 0; i < 5; ++i) {
    std::string n = std::to_string(i);
    transaction.put_volumes.push_back(MakeVolume("v" + n));
    transaction.put_snapshots.push_back(MakeSnapshot("s" + n, "v" + n));
    transaction.put_operations.push_back(MakeOperation("o" + n, "v" + n));
  }
  ASSERT_OK(Commit(transaction));
  std::set<int64_t> revisions;
  for (int i = 0; i < 5; ++i) {
    std::string n = std::to_string(i);
    revisions.insert(catalog_->FindVolume("v" + n)->revision);
    revisions.insert(catalog_->FindSnapshot("s" + n)->revision);
    revisions.insert(FindOperation(*catalog_, "o" + n)->revision);
  }
  EXPECT_EQ(revisions.size(), 15u);
  EXPECT_EQ(*revisions.rbegin(), catalog_->revision());
}

TEST_P(CatalogConformanceTest, OddTransactions) {
  EXPECT_OK(Commit({}));
  EXPECT_OK(Commit(RemoveVolume("never-was")));
  EXPECT_EQ(catalog_->revision(), 0);
  EXPECT_THAT(Commit(Put(MakeVolume(""))), HasReasonOf(Reason::kInvalidField));
  Transaction twice = Put(MakeVolume("v"));
  twice.remove_volumes = {"v"};
  EXPECT_THAT(Commit(twice), HasReasonOf(Reason::kInvalidField));
  twice = Put(MakeSnapshot("s", "v"));
  twice.put_snapshots.push_back(MakeSnapshot("s", "v"));
  EXPECT_THAT(Commit(twice), HasReasonOf(Reason::kInvalidField));
  catalog_->Commit(Put(MakeVolume("nobody-asks")), nullptr);
  EXPECT_OK(Commit({}));
  EXPECT_NE(catalog_->FindVolume("nobody-asks"), nullptr);
}

// In one group of commits the refused one is refused alone, and each sees those before it.
TEST_P(CatalogConformanceTest, CommitsInFlight) {
  Mutex mutex;
  std::vector<absl::Status> outcomes;
  bool visible = true;
  for (int i = 0; i < 100; ++i) {
    std::string id = "v" + std::to_string(i % 50);  // the second half is there already
    catalog_->Commit(Put(MakeVolume(id)), [&, id](absl::Status status) {
      visible = visible && catalog_->FindVolume(id) != nullptr;
      MutexLock lock(&mutex);
      outcomes.push_back(std::move(status));
    });
  }
  ASSERT_OK(Commit(Put(MakeVolume("last"))));
  MutexLock lock(&mutex);
  ASSERT_EQ(outcomes.size(), 100u);
  for (int i = 0; i < 50; ++i) EXPECT_OK(outcomes[i]);
  for (int i = 50; i < 100; ++i) {
    EXPECT_THAT(outcomes[i], HasReasonOf(Reason::kRevisionMismatch));
  }
  EXPECT_TRUE(visible) << "a change is visible before its `done` is called";
}

TEST_P(CatalogConformanceTest, WhatWasHandedOverIsCommittedBeforeClosing) {
  std::atomic<int> ended{0};
  for (int i = 0; i < 50; ++i) {
    catalog_->Commit(Put(MakeVolume("v" + std::to_string(i))), [&](absl::Status status) {
      EXPECT_OK(status);
      ++ended;
    });
  }
  Reopen();
  EXPECT_EQ(ended, 50);
  EXPECT_EQ(catalog_->TotalsOf("nfs1:/export").volumes, 50);
}

TEST_P(CatalogConformanceTest, ReopeningChangesNothing) {
  uint64_t seed = Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  RandomRecords random(seed);
  std::vector<VolumePtr> volumes;
  std::vector<SnapshotPtr> snapshots;
  std::vector<OperationPtr> operations;
  for (int i = 0; i < 50; ++i) {
    std::string n = std::to_string(i);
    Transaction transaction = Put(random.Volume("v" + n));
    transaction.put_snapshots = {random.Snapshot("s" + n)};
    transaction.put_operations = {random.Operation("o" + n)};
    ASSERT_OK(Commit(transaction));
    volumes.push_back(catalog_->FindVolume("v" + n));
    snapshots.push_back(catalog_->FindSnapshot("s" + n));
    operations.push_back(FindOperation(*catalog_, "o" + n));
  }
  ASSERT_OK(Commit(RemoveVolume("v0")));  // the newest revision is no record's
  int64_t revision = catalog_->revision();
  auto unfinished = IdsOf(catalog_->UnfinishedOperations());
  for (int round = 0; round < 3; ++round) {
    Reopen();
    EXPECT_EQ(catalog_->revision(), revision);
    EXPECT_EQ(catalog_->FindVolume("v0"), nullptr);
    for (int i = 0; i < 50; ++i) {
      VolumePtr volume = catalog_->FindVolume(volumes[i]->id);
      ASSERT_TRUE(i == 0 ||
                  (SameRecord(*volume, *volumes[i]) && volume->revision == volumes[i]->revision));
      SnapshotPtr snapshot = catalog_->FindSnapshot(snapshots[i]->id);
      ASSERT_TRUE(SameRecord(*snapshot, *snapshots[i]));
      ASSERT_EQ(snapshot->revision, snapshots[i]->revision);
      OperationPtr operation = FindOperation(*catalog_, operations[i]->id);
      ASSERT_TRUE(SameRecord(*operation, *operations[i]));
      ASSERT_EQ(operation->revision, operations[i]->revision);
      OperationPtr by_request = FindOperationByRequest(*catalog_, operation->request_id);
      ASSERT_NE(by_request, nullptr);
      ASSERT_EQ(by_request->revision, operation->revision);
    }
    EXPECT_EQ(IdsOf(catalog_->UnfinishedOperations()), unfinished);
  }
  ASSERT_OK(Commit(Put(MakeVolume("next"))));
  EXPECT_EQ(catalog_->FindVolume("next")->revision, revision + 1);
}

TEST_P(CatalogConformanceTest, SnapshotsOfAVolumeOldestFirst) {
  ASSERT_OK(Commit(Put(MakeSnapshot("c", "v", 1))));
  ASSERT_OK(Commit(Put(MakeSnapshot("a", "v", 3))));
  ASSERT_OK(Commit(Put(MakeSnapshot("b", "v", 2))));
  ASSERT_OK(Commit(Put(MakeSnapshot("x", "w", 2))));
  EXPECT_THAT(IdsOf(catalog_->SnapshotsOf("v")), ElementsAre("c", "b", "a"));
  EXPECT_THAT(IdsOf(catalog_->SnapshotsOf("w")), ElementsAre("x"));
  Transaction removal;
  removal.remove_snapshots = {"b"};
  ASSERT_OK(Commit(removal));
  SnapshotRecord moved = *catalog_->FindSnapshot("x");
  moved.volume_id = "v";
  ASSERT_OK(Commit(Put(moved)));
  EXPECT_THAT(IdsOf(catalog_->SnapshotsOf("v")), ElementsAre("c", "x", "a"));
  EXPECT_THAT(catalog_->SnapshotsOf("w"), IsEmpty());
}

TEST_P(CatalogConformanceTest, UnfinishedOperationsOldestFirst) {
  ASSERT_OK(Commit(Put(MakeOperation("late", "v", 2))));
  ASSERT_OK(Commit(Put(MakeOperation("early", "v", 1))));
  OperationRecord ended = MakeOperation("ended", "v", 0);
  ended.state = OperationState::kFailed;
  ASSERT_OK(Commit(Put(ended)));
  EXPECT_THAT(IdsOf(catalog_->UnfinishedOperations()), ElementsAre("early", "late"));
  OperationRecord early = *FindOperation(*catalog_, "early");
  early.state = OperationState::kSucceeded;
  ASSERT_OK(Commit(Put(early)));
  EXPECT_THAT(IdsOf(catalog_->UnfinishedOperations()), ElementsAre("late"));
}

TEST_P(CatalogConformanceTest, OneOperationForARequestId) {
  OperationRecord first = MakeOperation("o1", "v");
  first.request_id = "r";
  OperationRecord second = MakeOperation("o2", "v");
  second.request_id = "r";
  ASSERT_OK(Commit(Put(first)));
  EXPECT_EQ(FindOperationByRequest(*catalog_, "r")->id, "o1");
  EXPECT_THAT(Commit(Put(second)), HasReasonOf(Reason::kRevisionMismatch));
  EXPECT_OK(Commit(Put(*FindOperation(*catalog_, "o1"))));
  Transaction removal;
  removal.remove_operations = {"o1"};
  ASSERT_OK(Commit(removal));
  EXPECT_EQ(FindOperationByRequest(*catalog_, "r"), nullptr);
  ASSERT_OK(Commit(Put(second)));
  EXPECT_EQ(FindOperationByRequest(*catalog_, "r")->id, "o2");
}

TEST_P(CatalogConformanceTest, TotalsFollowEveryChange) {
  uint64_t seed = Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  RandomRecords random(seed);
  std::map<std::string, VolumeRecord> model;
  auto expect_totals = [&] {
    for (const std::string share : {"s0", "s1", "s2"}) {
      Catalog::ShareTotals expected;
      std::vector<std::string> ids;
      for (const auto& [id, volume] : model) {
        if (volume.share != share) continue;
        ids.push_back(id);
        expected.volumes += 1;
        expected.provisioned_bytes += volume.size_bytes;
        expected.file_bytes += volume.file_bytes;
        expected.by_state[volume.state] += 1;
      }
      Catalog::ShareTotals totals = catalog_->TotalsOf(share);
      ASSERT_EQ(totals.volumes, expected.volumes);
      ASSERT_EQ(totals.provisioned_bytes, expected.provisioned_bytes);
      ASSERT_EQ(totals.file_bytes, expected.file_bytes);
      ASSERT_EQ(totals.by_state, expected.by_state);
      ASSERT_THAT(catalog_->VolumesOn(share), ::testing::UnorderedElementsAreArray(ids));
    }
  };
  for (int i = 0; i < 300; ++i) {
    std::string id = "v" + std::to_string(random.Below(30));
    if (random.Below(4) == 0) {
      ASSERT_OK(Commit(RemoveVolume(id)));
      model.erase(id);
    } else {
      VolumeRecord volume = MakeVolume(id);
      volume.revision = model.count(id) > 0 ? Volume(id).revision : 0;
      volume.share = "s" + std::to_string(random.Below(3));
      volume.size_bytes = random.Below(1 << 30);
      volume.file_bytes = random.Below(1 << 30);
      volume.state = static_cast<VolumeState>(random.Below(8));
      ASSERT_OK(Commit(Put(volume)));
      model[id] = volume;
    }
    ASSERT_NO_FATAL_FAILURE(expect_totals());
  }
  Reopen();
  ASSERT_NO_FATAL_FAILURE(expect_totals());
}

TEST_P(CatalogConformanceTest, TotalsThatDoNotFitAreTheLargestNumber) {
  Transaction transaction;
  for (int i = 0; i < 5000; ++i) {
    VolumeRecord volume = MakeVolume("v" + std::to_string(i));
    volume.size_bytes = int64_t{1} << 51;
    transaction.put_volumes.push_back(volume);
  }
  ASSERT_OK(Commit(transaction));
  EXPECT_EQ(catalog_->TotalsOf("nfs1:/export").provisioned_bytes, INT64_MAX);
  Transaction removal;
  for (int i = 1; i < 5000; ++i) removal.remove_volumes.push_back("v" + std::to_string(i));
  ASSERT_OK(Commit(removal));
  EXPECT_EQ(catalog_->TotalsOf("nfs1:/export").provisioned_bytes, int64_t{1} << 51);
}

TEST_P(CatalogConformanceTest, ChangesAreKeptInOrder) {
  ASSERT_OK(Commit(Put(MakeVolume("a"))));
  ASSERT_OK(Commit(Put(MakeOperation("o", "a"))));  // no change of a volume
  ASSERT_OK(Commit(Put(MakeVolume("b"))));
  VolumeRecord renamed = Volume("a");
  renamed.name = "renamed";
  ASSERT_OK(Commit(Put(renamed)));
  ASSERT_OK(Commit(RemoveVolume("b")));

  ASSERT_OK_AND_ASSIGN(auto changes, catalog_->ChangesAfter(0, 100));
  ASSERT_EQ(changes.size(), 4u);
  EXPECT_EQ(changes[0].volume_id, "a");
  EXPECT_EQ(changes[0].volume->name, "name-a");
  EXPECT_EQ(changes[1].volume_id, "b");
  EXPECT_EQ(changes[2].volume->name, "renamed");
  EXPECT_EQ(changes[2].revision, changes[2].volume->revision);
  EXPECT_EQ(changes[3].volume_id, "b");
  EXPECT_EQ(changes[3].volume, nullptr);
  EXPECT_EQ(changes[3].revision, catalog_->revision());
  for (size_t i = 1; i < changes.size(); ++i) {
    EXPECT_LT(changes[i - 1].revision, changes[i].revision);
  }
  // From each one on, and by ones.
  for (size_t i = 0; i < changes.size(); ++i) {
    ASSERT_OK_AND_ASSIGN(auto rest, catalog_->ChangesAfter(changes[i].revision, 100));
    EXPECT_EQ(rest.size(), changes.size() - 1 - i);
    int64_t before = i == 0 ? 0 : changes[i - 1].revision;
    ASSERT_OK_AND_ASSIGN(auto one, catalog_->ChangesAfter(before, 1));
    ASSERT_EQ(one.size(), 1u);
    EXPECT_EQ(one[0].revision, changes[i].revision);
  }
  ASSERT_OK_AND_ASSIGN(auto none, catalog_->ChangesAfter(0, 0));
  EXPECT_THAT(none, IsEmpty());
  EXPECT_THAT(catalog_->ChangesAfter(catalog_->revision() + 1, 1),
              HasReasonOf(Reason::kWatchRevisionTooOld))
      << "never given out: of another catalog, or of a later state of this one";
}

TEST_P(CatalogConformanceTest, OldChangesAreForgotten) {
  Reopen(/*changes_kept=*/10);
  for (int i = 0; i < 25; ++i) ASSERT_OK(Commit(Put(MakeVolume("v" + std::to_string(i)))));
  EXPECT_THAT(catalog_->ChangesAfter(0, 100), HasReasonOf(Reason::kWatchRevisionTooOld));
  EXPECT_THAT(catalog_->ChangesAfter(14, 100), HasReasonOf(Reason::kWatchRevisionTooOld));
  ASSERT_OK_AND_ASSIGN(auto changes, catalog_->ChangesAfter(15, 100));
  ASSERT_EQ(changes.size(), 10u);
  EXPECT_EQ(changes.front().volume_id, "v15");
}

TEST_P(CatalogConformanceTest, AWatcherThatMissedNothingGoesOnAfterReopening) {
  ASSERT_OK(Commit(Put(MakeVolume("a"))));
  ASSERT_OK(Commit(Put(MakeVolume("b"))));
  int64_t seen = catalog_->revision();
  ASSERT_OK(Commit(Put(MakeOperation("o", "b"))));
  Reopen();
  EXPECT_THAT(catalog_->ChangesAfter(seen - 1, 100), HasReasonOf(Reason::kWatchRevisionTooOld));
  ASSERT_OK_AND_ASSIGN(auto none, catalog_->ChangesAfter(seen, 100));
  EXPECT_THAT(none, IsEmpty());
  ASSERT_OK(Commit(RemoveVolume("a")));
  ASSERT_OK_AND_ASSIGN(auto changes, catalog_->ChangesAfter(seen, 100));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].volume_id, "a");
  seen = catalog_->revision();
  Reopen();
  EXPECT_OK(catalog_->ChangesAfter(seen, 100));
}

TEST_P(CatalogConformanceTest, ListenersAreCalledUntilRemoved) {
  Mutex mutex;
  CondVar called;
  int calls = 0;
  uint64_t id = catalog_->AddListener([&] {
    MutexLock lock(&mutex);
    ++calls;
    called.NotifyAll();
  });
  ASSERT_OK(Commit(Put(MakeVolume("a"))));
  {
    MutexLock lock(&mutex);
    while (calls == 0) called.Wait(&mutex);
  }
  catalog_->RemoveListener(id);
  int before = calls;  // no lock: after its removal a listener does not run
  ASSERT_OK(Commit(Put(MakeVolume("b"))));
  ASSERT_OK(Commit(Put(MakeVolume("c"))));
  EXPECT_EQ(calls, before);
  catalog_->RemoveListener(id);  // again: nothing
}

TEST_P(CatalogConformanceTest, AListenerMayRemoveItself) {
  std::atomic<int> calls{0};
  std::atomic<uint64_t> id{0};
  id = catalog_->AddListener([&] {
    ++calls;
    catalog_->RemoveListener(id);
  });
  for (int i = 0; i < 3; ++i) ASSERT_OK(Commit(Put(MakeVolume("v" + std::to_string(i)))));
  catalog_.reset();
  EXPECT_EQ(calls, 1);
}

TEST_P(CatalogConformanceTest, RemovalWaitsForARunningListener) {
  std::atomic<bool> entered{false}, left{false};
  uint64_t id = catalog_->AddListener([&] {
    entered = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    left = true;
  });
  catalog_->Commit(Put(MakeVolume("v")), nullptr);
  while (!entered) std::this_thread::yield();
  catalog_->RemoveListener(id);
  EXPECT_TRUE(left);
}

}  // namespace
}  // namespace cairn::testing
