// More ended operations than stay in memory: they are found all the same. Part of the conformance
// suite.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "lib/base/strings.h"
#include "lib/catalog/memory_index.h"
#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int kMany = static_cast<int>(MemoryIndex::kEndedKept) + 700;

std::string OperationId(int i) { return "o" + std::to_string(10'000 + i); }

// Every hundredth has not ended; every two are of one instant.
OperationRecord Numbered(int i) {
  OperationRecord operation = MakeOperation(OperationId(i), "v" + std::to_string(i % 50), i / 2);
  operation.state = i % 100 == 7 ? OperationState::kRunning : OperationState::kSucceeded;
  operation.kind = i % 2 == 0 ? OperationKind::kCreateVolume : OperationKind::kDeleteVolume;
  operation.request_id = "r" + std::to_string(i);
  operation.request = "asked " + std::to_string(i);
  return operation;
}

class OldOperations {
 public:
  explicit OldOperations(Catalog* catalog) {
    Transaction transaction;
    for (int i = 0; i < kMany; ++i) {
      ids_.push_back(OperationId(i));
      transaction.put_operations.push_back(Numbered(i));
      if (transaction.put_operations.size() < 200 && i != kMany - 1) continue;
      EXPECT_OK(catalog->CommitAndWait(std::exchange(transaction, {})));
    }
  }

  const std::vector<std::string>& ids() const { return ids_; }
  std::vector<std::string> IdsIf(const std::function<bool(int)>& wanted) const {
    std::vector<std::string> ids;
    for (int i = 0; i < kMany; ++i) {
      if (wanted(i)) ids.push_back(OperationId(i));
    }
    return ids;
  }

 private:
  std::vector<std::string> ids_;
};

// All pages; each but the last must be full.
std::vector<std::string> AllOperations(const Catalog& catalog, ListQuery query) {
  std::vector<std::string> ids;
  for (;;) {
    auto page = catalog.ListOperations(query);
    EXPECT_OK(page);
    if (!page.ok()) return ids;
    for (const OperationPtr& each : page->items) ids.push_back(each->id);
    if (page->next_page_token.empty()) return ids;
    EXPECT_THAT(page->items, SizeIs(static_cast<size_t>(query.page_size)));
    query.page_token = page->next_page_token;
  }
}

TEST_P(CatalogConformanceTest, OldOperationsAreFoundAndListed) {
  const OldOperations old(catalog_.get());
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kMany; i += 13) {
      const OperationRecord expected = Numbered(i);
      OperationPtr found = FindOperation(*catalog_, expected.id);
      ASSERT_NE(found, nullptr) << i;
      EXPECT_TRUE(SameRecord(*found, expected)) << i;
      found = FindOperationByRequest(*catalog_, expected.request_id);
      ASSERT_NE(found, nullptr) << i;
      EXPECT_TRUE(SameRecord(*found, expected)) << i;
    }
    EXPECT_EQ(FindOperation(*catalog_, "none"), nullptr);
    EXPECT_EQ(FindOperationByRequest(*catalog_, "none"), nullptr);

    auto backwards = old.ids();
    std::reverse(backwards.begin(), backwards.end());
    EXPECT_EQ(AllOperations(*catalog_, Query("", "", 1000)), old.ids());
    EXPECT_EQ(AllOperations(*catalog_, Query("", "create_time desc", 63)), backwards);
    EXPECT_EQ(AllOperations(*catalog_, Query("volume_id = v3", "", 5)),
              old.IdsIf([](int i) { return i % 50 == 3; }));
    EXPECT_EQ(AllOperations(*catalog_, Query("volume_id != v3", "", 999)),
              old.IdsIf([](int i) { return i % 50 != 3; }));
    EXPECT_EQ(AllOperations(*catalog_, Query("state = RUNNING", "", 4)),
              old.IdsIf([](int i) { return i % 100 == 7; }));
    EXPECT_EQ(
        AllOperations(*catalog_, Query("state = SUCCEEDED AND kind = DELETE_VOLUME", "", 100)),
        old.IdsIf([](int i) { return i % 100 != 7 && i % 2 == 1; }));
    EXPECT_THAT(AllOperations(*catalog_, Query("request_id = r5", "", 1)),
                ElementsAre(OperationId(5)));
    EXPECT_THAT(AllOperations(*catalog_, Query("request_id = r5 AND kind = CREATE_VOLUME", "", 1)),
                IsEmpty());
    EXPECT_THAT(catalog_->UnfinishedOperations(), SizeIs(kMany / 100));
    Reopen();
  }
}

TEST_P(CatalogConformanceTest, OldOperationsAreComparedAndRemoved) {
  const OldOperations old(catalog_.get());
  // Neither an id nor a request_id is free because its operation is old.
  EXPECT_THAT(Commit(Put(Numbered(3))), HasReasonOf(Reason::kRevisionMismatch));
  OperationRecord other = Numbered(3);
  other.id = "other";
  EXPECT_THAT(Commit(Put(other)), HasReasonOf(Reason::kRevisionMismatch));

  OperationRecord changed = *FindOperation(*catalog_, OperationId(3));
  changed.step = "changed";
  ASSERT_OK(Commit(Put(changed)));
  EXPECT_EQ(FindOperation(*catalog_, OperationId(3))->step, "changed");
  EXPECT_THAT(Commit(Put(changed)), HasReasonOf(Reason::kRevisionMismatch));

  Transaction removal;
  removal.remove_operations = {OperationId(3), OperationId(4), "none"};
  const int64_t revision = catalog_->revision();
  ASSERT_OK(Commit(removal));
  EXPECT_EQ(catalog_->revision(), revision + 2);
  EXPECT_EQ(FindOperation(*catalog_, OperationId(3)), nullptr);
  EXPECT_EQ(FindOperationByRequest(*catalog_, "r4"), nullptr);
  EXPECT_OK(Commit(Put(other))) << "the request_id is free again";
  EXPECT_EQ(FindOperationByRequest(*catalog_, "r3")->id, "other");
  Reopen();
  EXPECT_THAT(AllOperations(*catalog_, Query("", "", 500)), SizeIs(kMany - 1));
  EXPECT_EQ(FindOperationByRequest(*catalog_, "r3")->id, "other");
}

// While operations come, end and leave memory, and others are removed, each that stays is seen
// exactly once, and what was committed is found at once.
TEST_P(CatalogConformanceTest, PagingOverOldOperationsAmongCommits) {
  const OldOperations old(catalog_.get());
  std::atomic<bool> stop{false};
  std::atomic<int> committed{0};
  std::thread changer([&] {
    for (int i = 0; !stop; ++i) {
      Transaction transaction;
      for (int k = 0; k < 100; ++k) {
        // Half of them among the old ones, half after them.
        std::string id = "p" + std::to_string(i * 100 + k);
        OperationRecord come = MakeOperation(id, "v", k % 2 == 0 ? k * 10 : kMany + i);
        come.request_id = id;
        transaction.put_operations.push_back(std::move(come));
        if (i < 2) continue;
        OperationPtr past = FindOperation(*catalog_, "p" + std::to_string((i - 1) * 100 + k));
        ASSERT_NE(past, nullptr);
        transaction.put_operations.push_back(*past);
        transaction.put_operations.back().state = OperationState::kFailed;
        transaction.remove_operations.push_back("p" + std::to_string((i - 2) * 100 + k));
      }
      ASSERT_OK(catalog_->CommitAndWait(std::move(transaction)));
      ASSERT_NE(FindOperationByRequest(*catalog_, "p" + std::to_string(i * 100)), nullptr);
      committed = i;
    }
  });
  auto backwards = old.ids();
  std::reverse(backwards.begin(), backwards.end());
  for (int round = 0; round < 4 || committed < 40; ++round) {
    auto seen = AllOperations(*catalog_, Query(round % 4 < 2 ? "" : "kind != EXTEND_VOLUME",
                                               round % 2 == 0 ? "" : "create_time desc", 70));
    std::erase_if(seen, [](const std::string& id) { return id[0] == 'p'; });
    EXPECT_EQ(seen, round % 2 == 0 ? old.ids() : backwards);
    for (int i = 0; i < kMany; i += 50) {
      ASSERT_NE(FindOperation(*catalog_, OperationId(i)), nullptr) << i;
    }
  }
  stop = true;
  changer.join();
}

}  // namespace
}  // namespace cairn::testing
