// Operations that have ended are given up, oldest first, when there are more than the bounds allow.
#include <gmock/gmock.h>

#include <filesystem>
#include <thread>

#include "lib/base/id.h"
#include "lib/catalog/history.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/stored_record.h"
#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

using ::testing::IsNull;
using ::testing::NotNull;

class HistoryTest : public ::testing::Test {
 protected:
  void Open(HistoryBounds bounds) {
    catalog_.reset();
    SqliteCatalogOptions options;
    options.path = directory_.File("catalog.db");
    options.history = bounds;
    options.log_bytes = 0;
    ASSERT_OK_AND_ASSIGN(catalog_, OpenSqliteCatalog(options));
  }

  static std::string Id(int i) { return "o" + std::to_string(10'000 + i); }
  // The higher the number, the earlier it was begun: age is that of the end.
  static OperationRecord Ended(int i) {
    OperationRecord operation = MakeOperation(Id(i), "v", 10'000 - i);
    operation.state = OperationState::kSucceeded;
    operation.request_id = "r" + std::to_string(i);
    return operation;
  }
  void End(int from, int to) {
    Transaction transaction;
    for (int i = from; i < to; ++i) transaction.put_operations.push_back(Ended(i));
    ASSERT_OK(catalog_->CommitAndWait(transaction));
  }
  void AwaitGone(const std::string& id) {
    while (FindOperation(*catalog_, id) != nullptr) std::this_thread::yield();
  }
  int Left(int to) {
    int left = 0;
    for (int i = 0; i < to; ++i) left += FindOperation(*catalog_, Id(i)) != nullptr ? 1 : 0;
    return left;
  }

  TempDir directory_;
  std::unique_ptr<Catalog> catalog_;
};

TEST_F(HistoryTest, TheOldestAreGivenUpAtTheBound) {
  Open({.operations_max = 300});
  Transaction transaction;
  transaction.put_operations = {MakeOperation("running", "v", 0)};
  ASSERT_OK(catalog_->CommitAndWait(transaction));
  End(0, 300);
  EXPECT_EQ(Left(300), 300);
  End(300, 301);
  AwaitGone(Id(0));
  EXPECT_EQ(Left(301), 201);
  EXPECT_THAT(FindOperation(*catalog_, Id(99)), IsNull());
  EXPECT_THAT(FindOperation(*catalog_, Id(100)), NotNull());
  EXPECT_THAT(FindOperationByRequest(*catalog_, "r99"), IsNull());
  EXPECT_THAT(FindOperationByRequest(*catalog_, "r100"), NotNull());
  EXPECT_THAT(FindOperation(*catalog_, "running"), NotNull()) << "it has not ended";
}

TEST_F(HistoryTest, TheirSizeIsBounded) {
  Open({.bytes_max = 1 << 20});
  OperationRecord last = Ended(9000);
  last.revision = 1000;
  const int fit = static_cast<int>((1 << 20) / EndedRow::Of(last).bytes());
  ASSERT_GT(fit, 200);
  End(0, fit);
  EXPECT_THAT(FindOperation(*catalog_, Id(0)), NotNull());
  End(fit, fit + 200);
  AwaitGone(Id(99));
  EXPECT_THAT(FindOperation(*catalog_, Id(300)), NotNull());
}

// More than one commit gives up, in turns with others; and what was counted is what a start counts.
TEST_F(HistoryTest, AStartWithSmallerBoundsGivesUpTheRest) {
  Open({});
  End(0, 1000);
  Open({.operations_max = 300});
  AwaitGone(Id(699));
  EXPECT_EQ(Left(1000), 300);
  Open({.operations_max = 300});
  End(1000, 1001);
  AwaitGone(Id(799));
  EXPECT_EQ(Left(1001), 201);
}

TEST_F(HistoryTest, WhatTheRetentionTakesAwayIsNotCountedAnyMore) {
  Open({.operations_max = 300});
  End(0, 300);
  Transaction transaction;
  for (int i = 0; i < 150; ++i) transaction.remove_operations.push_back(Id(i));
  ASSERT_OK(catalog_->CommitAndWait(transaction));
  End(300, 450);
  EXPECT_EQ(Left(450), 300);
}

// The sizes are estimated; a bound of so many MiB must be about as much on the disk.
TEST_F(HistoryTest, TheSizeIsAboutThatOfTheFile) {
  Open({});
  constexpr int kMany = 5000;
  int64_t bytes = 0;
  Transaction transaction;
  for (int i = 0; i < kMany; ++i) {
    OperationRecord operation = Ended(i);
    operation.id = NewId();
    operation.volume_id = operation.target = NewId();
    operation.request_id = NewId();
    operation.request = std::string(64, 'd');
    bytes += EndedRow::Of(operation).bytes();
    transaction.put_operations.push_back(std::move(operation));
    if (transaction.put_operations.size() < 5) continue;
    ASSERT_OK(catalog_->CommitAndWait(std::exchange(transaction, {})));
  }
  catalog_.reset();
  const auto file = static_cast<int64_t>(std::filesystem::file_size(directory_.File("catalog.db")));
  EXPECT_GT(bytes, file * 8 / 10);
  EXPECT_LT(bytes, file * 13 / 10);
}

}  // namespace
}  // namespace cairn::testing
