// Committers and readers all at once; the thread sanitizer watches. Part of the conformance suite.
#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "lib/base/mutex.h"
#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

// Lost updates would show as a sum that is too small.
TEST_P(CatalogConformanceTest, ConcurrentIncrementsAllCount) {
  constexpr int kThreads = 4, kIncrements = 50;
  VolumeRecord start = MakeVolume("counter");
  start.size_bytes = 0;
  ASSERT_OK(Commit(Put(start)));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kIncrements;) {
        VolumeRecord volume = Volume("counter");
        volume.size_bytes += 1;
        absl::Status status = Commit(Put(volume));
        if (status.ok()) ++i;
        EXPECT_TRUE(status.ok() || HasReason(status, Reason::kRevisionMismatch));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Volume("counter").size_bytes, kThreads * kIncrements);
}

// Money moves between two volumes of one transaction: no reader of the watch or of the totals ever
// sees it half moved. Meanwhile everything else is called too.
TEST_P(CatalogConformanceTest, ReadersAmongCommitters) {
  constexpr int kWriters = 3, kRounds = 60;
  constexpr int64_t kTotal = 1000;
  for (int w = 0; w < kWriters; ++w) {
    Transaction transaction;
    for (const char* side : {"a", "b"}) {
      VolumeRecord volume = MakeVolume(side + std::to_string(w));
      volume.share = "share" + std::to_string(w);
      volume.size_bytes = kTotal / 2;
      transaction.put_volumes.push_back(volume);
    }
    ASSERT_OK(Commit(transaction));
  }
  std::atomic<bool> stop{false};
  std::atomic<int64_t> listened{0};
  uint64_t listener = catalog_->AddListener([&] { ++listened; });

  std::vector<std::thread> writers, readers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      std::string n = std::to_string(w);
      for (int round = 0; round < kRounds; ++round) {
        Transaction transaction;
        transaction.put_volumes = {Volume("a" + n), Volume("b" + n)};
        transaction.put_volumes[0].size_bytes -= 1;
        transaction.put_volumes[1].size_bytes += 1;
        std::string operation = "o" + n + "-" + std::to_string(round);
        transaction.put_operations = {MakeOperation(operation, "a" + n, round)};
        transaction.put_operations[0].request_id = operation;
        transaction.put_snapshots = {MakeSnapshot("s" + operation, "a" + n, round)};
        EXPECT_OK(Commit(std::move(transaction)));
        if (round % 3 == 0) {
          Transaction removal;
          removal.remove_operations = {operation};
          removal.remove_snapshots = {"s" + operation};
          EXPECT_OK(Commit(std::move(removal)));
        }
      }
    });
  }
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&, r] {
      int64_t seen = 0;
      for (int64_t i = 0; !stop; ++i) {
        std::string n = std::to_string(i % kWriters);
        EXPECT_EQ(catalog_->TotalsOf("share" + n).provisioned_bytes, kTotal);
        EXPECT_EQ(catalog_->VolumesOn("share" + n).size(), 2u);
        ListQuery query = Query(r == 0 ? "" : "labels.none != x", "create_time desc", 7);
        EXPECT_OK(catalog_->ListOperations(Query("state != FAILED", "create_time desc", 7)));
        EXPECT_OK(catalog_->ListSnapshots(query, "a" + n));
        EXPECT_OK(catalog_->ListVolumes(Query("share = share" + n, "name")));
        catalog_->SnapshotsOf("a" + n);
        catalog_->UnfinishedOperations();
        FindOperationByRequest(*catalog_, "o" + n + "-1");
        auto changes = catalog_->ChangesAfter(seen, 100);
        EXPECT_OK(changes);
        for (const VolumeChange& change : *changes) {
          EXPECT_GT(change.revision, seen);
          seen = change.revision;
        }
        EXPECT_LE(seen, catalog_->revision());
        uint64_t other = catalog_->AddListener([&] { ++listened; });
        catalog_->RemoveListener(other);
      }
    });
  }
  for (std::thread& thread : writers) thread.join();
  stop = true;
  for (std::thread& thread : readers) thread.join();
  catalog_->RemoveListener(listener);
  EXPECT_GT(listened, 0);
  for (int w = 0; w < kWriters; ++w) {
    EXPECT_EQ(Volume("a" + std::to_string(w)).size_bytes, kTotal / 2 - kRounds);
    EXPECT_EQ(catalog_->SnapshotsOf("a" + std::to_string(w)).size(), 40u);
  }
  EXPECT_EQ(catalog_->UnfinishedOperations().size(), 120u);
}

}  // namespace
}  // namespace cairn::testing
