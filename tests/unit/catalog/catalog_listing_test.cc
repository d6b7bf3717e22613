// Lists: filters, orders, pages, and what changes between two pages. Part of the conformance suite.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "tests/unit/catalog/catalog_conformance.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_P(CatalogConformanceTest, EveryOrderInPagesOfEverySize) {
  Transaction transaction;
  for (int i = 0; i < 23; ++i) {
    // Few values, so that the id has to decide.
    VolumeRecord volume = MakeVolume("v" + std::to_string((i * 7) % 23), i % 3);
    volume.name = std::string(1, static_cast<char>('a' + i % 4));
    volume.size_bytes = i % 5;
    transaction.put_volumes.push_back(volume);
  }
  ASSERT_OK(Commit(transaction));
  auto sorted = [&](auto key) {
    auto volumes = transaction.put_volumes;
    std::sort(volumes.begin(), volumes.end(), [&](const auto& a, const auto& b) {
      return std::pair(key(a), a.id) < std::pair(key(b), b.id);
    });
    std::vector<std::string> ids;
    for (const auto& volume : volumes) ids.push_back(volume.id);
    return ids;
  };
  std::map<std::string, std::vector<std::string>> expected = {
      {"", sorted([](const auto& v) { return v.create_time; })},
      {"create_time", sorted([](const auto& v) { return v.create_time; })},
      {"name", sorted([](const auto& v) { return v.name; })},
      {" size_bytes ", sorted([](const auto& v) { return v.size_bytes; })},
  };
  for (auto& [order, ids] : expected) {
    for (int page_size : {1, 2, 22, 23, 24, 5000}) {
      EXPECT_EQ(AllVolumes(Query("", order, page_size)), ids) << order << " " << page_size;
    }
    if (order.empty()) continue;
    std::reverse(ids.begin(), ids.end());
    for (int page_size : {1, 5, 23, 100}) {
      EXPECT_EQ(AllVolumes(Query("", order + "  desc", page_size)), ids) << order;
    }
  }
}

TEST_P(CatalogConformanceTest, FiltersOfVolumes) {
  VolumeRecord a = MakeVolume("a", 1), b = MakeVolume("b", 2), c = MakeVolume("c", 3);
  a.labels = {{"tier", "gold"}, {"app.io/name", "shop"}};
  a.name = "web-1";
  b.state = VolumeState::kInUse;
  b.name = "web-2";
  b.pool = "fast";
  c.labels = {{"tier", "silver"}};
  c.share = "file:///srv";
  for (const auto& volume : {a, b, c}) ASSERT_OK(Commit(Put(volume)));
  EXPECT_THAT(AllVolumes(Query("state = IN_USE")), ElementsAre("b"));
  EXPECT_THAT(AllVolumes(Query("state != IN_USE")), ElementsAre("a", "c"));
  EXPECT_THAT(AllVolumes(Query("name : \"web-\"")), ElementsAre("a", "b"));
  EXPECT_THAT(AllVolumes(Query("pool = fast")), ElementsAre("b"));
  EXPECT_THAT(AllVolumes(Query("share = file:///srv")), ElementsAre("c"));
  EXPECT_THAT(AllVolumes(Query("labels.tier : *")), ElementsAre("a", "c"));
  EXPECT_THAT(AllVolumes(Query("labels.tier != gold")), ElementsAre("b", "c"));
  EXPECT_THAT(AllVolumes(Query("labels.app.io/name = shop AND state = AVAILABLE")),
              ElementsAre("a"));
  EXPECT_THAT(AllVolumes(Query("pool = none")), IsEmpty());
}

TEST_P(CatalogConformanceTest, AFilterThatLeavesMostOut) {
  Transaction transaction;
  for (int i = 0; i < 3000; ++i) {
    VolumeRecord volume = MakeVolume("v" + std::to_string(10'000 + i), i / 100);
    volume.pool = i % 500 == 7 ? "rare" : "pool";
    transaction.put_volumes.push_back(volume);
  }
  ASSERT_OK(Commit(transaction));
  std::vector<std::string> expected = {"v10007", "v10507", "v11007", "v11507", "v12007", "v12507"};
  for (int page_size : {1, 2, 3, 6, 7}) {
    EXPECT_EQ(AllVolumes(Query("pool = rare", "", page_size)), expected) << page_size;
  }
  EXPECT_EQ(AllVolumes(Query("pool != none", "", 1000)).size(), 3000u);
}

TEST_P(CatalogConformanceTest, PageSizes) {
  Transaction transaction;
  for (int i = 0; i < 1100; ++i) {
    transaction.put_volumes.push_back(MakeVolume("v" + std::to_string(i), i));
  }
  ASSERT_OK(Commit(transaction));
  ASSERT_OK_AND_ASSIGN(auto standard, catalog_->ListVolumes({}));
  EXPECT_THAT(standard.items, SizeIs(50));
  ASSERT_OK_AND_ASSIGN(auto most, catalog_->ListVolumes(Query("", "", 1'000'000)));
  EXPECT_THAT(most.items, SizeIs(1000));
  EXPECT_THAT(catalog_->ListVolumes(Query("", "", -1)), HasReasonOf(Reason::kInvalidField));
}

TEST_P(CatalogConformanceTest, WhatCannotBeAskedForIsRefused) {
  EXPECT_THAT(catalog_->ListVolumes(Query("kind = X")), HasReasonOf(Reason::kInvalidFilter));
  EXPECT_THAT(catalog_->ListVolumes(Query("state = available")),
              HasReasonOf(Reason::kInvalidFilter));
  EXPECT_THAT(catalog_->ListSnapshots(Query("state = IN_USE"), ""),
              HasReasonOf(Reason::kInvalidFilter));
  EXPECT_THAT(catalog_->ListOperations(Query("labels.a = b")), HasReasonOf(Reason::kInvalidFilter));
  EXPECT_THAT(catalog_->ListOperations(Query("kind = MAKE_TEA")),
              HasReasonOf(Reason::kInvalidFilter));
  for (const char* order : {"colour", "name asc", "name DESC", "name desc desc", "name,size_bytes",
                            "desc", "name\tdesc"}) {
    EXPECT_THAT(catalog_->ListVolumes(Query("", order)), HasReasonOf(Reason::kInvalidField))
        << order;
  }
  EXPECT_THAT(catalog_->ListOperations(Query("", "name")), HasReasonOf(Reason::kInvalidField));
  EXPECT_OK(catalog_->ListOperations(Query("", "create_time desc")));
}

TEST_P(CatalogConformanceTest, TokensAreBoundToTheirList) {
  for (int i = 0; i < 3; ++i) {
    std::string n = std::to_string(i);
    Transaction transaction = Put(MakeVolume("v" + n));
    transaction.put_snapshots = {MakeSnapshot("s" + n, "v")};
    transaction.put_operations = {MakeOperation("o" + n, "v")};
    ASSERT_OK(Commit(transaction));
  }
  ListQuery query = Query("state = AVAILABLE", "name", 1);
  ASSERT_OK_AND_ASSIGN(auto page, catalog_->ListVolumes(query));
  query.page_token = page.next_page_token;
  query.page_size = 2;  // may change between pages
  EXPECT_OK(catalog_->ListVolumes(query));

  auto refused = [&](auto change) {
    ListQuery other = query;
    change(other);
    EXPECT_THAT(catalog_->ListVolumes(other), HasReasonOf(Reason::kInvalidPageToken));
  };
  refused([](ListQuery& q) { q.filter = "state != AVAILABLE"; });
  refused([](ListQuery& q) { q.filter = ""; });
  refused([](ListQuery& q) { q.order_by = "size_bytes"; });
  refused([](ListQuery& q) { q.order_by = "name desc"; });
  refused([](ListQuery& q) { q.page_token += "A"; });
  refused([](ListQuery& q) { q.page_token = "rubbish"; });
  EXPECT_THAT(catalog_->ListSnapshots(query, ""), HasReasonOf(Reason::kInvalidPageToken));

  query = Query("", "", 1);
  ASSERT_OK_AND_ASSIGN(auto snapshots, catalog_->ListSnapshots(query, "v"));
  query.page_token = snapshots.next_page_token;
  EXPECT_OK(catalog_->ListSnapshots(query, "v"));
  EXPECT_THAT(catalog_->ListSnapshots(query, ""), HasReasonOf(Reason::kInvalidPageToken));
  EXPECT_THAT(catalog_->ListOperations(query), HasReasonOf(Reason::kInvalidPageToken));
}

TEST_P(CatalogConformanceTest, Snapshots) {
  for (int i = 0; i < 30; ++i) {
    SnapshotRecord snapshot =
        MakeSnapshot("s" + std::to_string(10 + i), "v" + std::to_string(i % 3), i);
    snapshot.name = "n" + std::to_string(90 - i);
    snapshot.size_bytes = i;
    snapshot.group_id = i < 2 ? "g" : "";
    if (i % 2 == 0) snapshot.labels["even"] = "yes";
    ASSERT_OK(Commit(Put(snapshot)));
  }
  auto ids = [&](ListQuery query, const std::string& volume_id) {
    std::vector<std::string> all;
    for (query.page_size = 4;;) {
      auto page = catalog_->ListSnapshots(query, volume_id);
      EXPECT_OK(page);
      for (const SnapshotPtr& each : page->items) all.push_back(each->id);
      if (page->next_page_token.empty()) return all;
      query.page_token = page->next_page_token;
    }
  };
  EXPECT_THAT(ids({}, ""), SizeIs(30));
  EXPECT_THAT(ids({}, "v1"),
              ElementsAre("s11", "s14", "s17", "s20", "s23", "s26", "s29", "s32", "s35", "s38"));
  EXPECT_THAT(ids(Query("labels.even : *"), "v1"), ElementsAre("s14", "s20", "s26", "s32", "s38"));
  EXPECT_EQ(ids(Query("volume_id = v1"), ""), ids({}, "v1"));
  EXPECT_THAT(ids(Query("volume_id = v1"), "v2"), IsEmpty());
  EXPECT_THAT(ids(Query("group_id = g"), ""), ElementsAre("s10", "s11"));
  EXPECT_THAT(ids(Query("", "name"), "v1").front(), "s38");
  EXPECT_THAT(ids(Query("", "size_bytes desc"), "").front(), "s39");
  EXPECT_THAT(ids({}, "none"), IsEmpty());
}

TEST_P(CatalogConformanceTest, Operations) {
  for (int i = 0; i < 10; ++i) {
    OperationRecord operation =
        MakeOperation("o" + std::to_string(i), "v" + std::to_string(i % 2), i);
    operation.kind = i < 5 ? OperationKind::kExtendVolume : OperationKind::kDeleteVolume;
    operation.state = i % 3 == 0 ? OperationState::kSucceeded : OperationState::kRunning;
    operation.target = "t" + std::to_string(i);
    operation.request_id = "r" + std::to_string(i);
    ASSERT_OK(Commit(Put(operation)));
  }
  auto ids = [&](const ListQuery& query) {
    auto page = catalog_->ListOperations(query);
    EXPECT_OK(page);
    return page.ok() ? IdsOf(page->items) : std::vector<std::string>();
  };
  EXPECT_THAT(ids(Query("kind = EXTEND_VOLUME AND volume_id = v1")), ElementsAre("o1", "o3"));
  EXPECT_THAT(ids(Query("state = SUCCEEDED", "create_time desc")),
              ElementsAre("o9", "o6", "o3", "o0"));
  EXPECT_THAT(ids(Query("target : t7")), ElementsAre("o7"));
  EXPECT_THAT(ids(Query("request_id = r2")), ElementsAre("o2"));
  EXPECT_THAT(ids(Query("")), SizeIs(10));
}

// Times finer than a nanosecond and infinite ones, negative sizes, names of any bytes: a token
// brings each of them back to its exact place.
TEST_P(CatalogConformanceTest, TokensOfAnyValue) {
  uint64_t seed = Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  RandomRecords random(seed);
  Transaction transaction;
  for (int i = 0; i < 200; ++i) {
    transaction.put_volumes.push_back(random.Volume("v" + std::to_string(i)));
    transaction.put_volumes.back().name.resize(
        std::min<size_t>(transaction.put_volumes.back().name.size(), 255));
  }
  ASSERT_OK(Commit(transaction));
  for (const char* order : {"create_time", "name", "size_bytes"}) {
    for (const char* direction : {"", " desc"}) {
      auto ids = AllVolumes(Query("", std::string(order) + direction, 3));
      EXPECT_THAT(ids, SizeIs(200)) << order << direction;
      EXPECT_THAT(std::set<std::string>(ids.begin(), ids.end()), SizeIs(200));
    }
  }
}

// While others come and go, each of the thousand that stay is seen exactly once.
TEST_P(CatalogConformanceTest, PagingWhileOthersAreCreatedAndDeleted) {
  Transaction transaction;
  std::vector<std::string> staying;
  for (int i = 0; i < 1000; ++i) {
    staying.push_back("stay" + std::to_string(1000 + i));
    VolumeRecord volume = MakeVolume(staying.back(), i);
    volume.size_bytes = i;
    transaction.put_volumes.push_back(volume);
  }
  ASSERT_OK(Commit(transaction));

  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0};
  std::thread changer([&] {
    RandomRecords random(1);
    while (!stop) {
      Transaction come, go;
      for (int i = 0; i < 40; ++i) {
        std::string id = "pass" + std::to_string(i);
        int64_t place = random.Below(1000);
        VolumeRecord volume = MakeVolume(id, place);
        volume.name = "name-stay" + std::to_string(1000 + place);
        volume.size_bytes = place;
        come.put_volumes.push_back(volume);
        go.remove_volumes.push_back(id);
      }
      EXPECT_OK(catalog_->CommitAndWait(come));
      EXPECT_OK(catalog_->CommitAndWait(go));
      ++rounds;
    }
  });
  for (const char* order : {"create_time", "name", "size_bytes"}) {
    for (const char* direction : {"", " desc"}) {
      for (const char* filter : {"", "pool = pool"}) {
        ListQuery query = Query(filter, std::string(order) + direction, 7);
        std::vector<std::string> seen;
        for (;;) {
          auto page = catalog_->ListVolumes(query);
          ASSERT_OK(page);
          for (const VolumePtr& volume : page->items) {
            if (volume->id.substr(0, 4) == "stay") seen.push_back(volume->id);
          }
          if (page->next_page_token.empty()) break;
          query.page_token = page->next_page_token;
        }
        auto expected = staying;
        if (*direction != '\0') std::reverse(expected.begin(), expected.end());
        EXPECT_EQ(seen, expected) << query.order_by << " " << filter;
      }
    }
  }
  while (rounds < 2) std::this_thread::yield();
  stop = true;
  changer.join();
}

// A page goes on after the place of the last item even when that very item is gone.
TEST_P(CatalogConformanceTest, TheLastItemOfAPageIsDeleted) {
  Transaction transaction;
  for (int i = 0; i < 9; ++i) {
    transaction.put_volumes.push_back(MakeVolume("v" + std::to_string(i), i));
  }
  ASSERT_OK(Commit(transaction));
  ListQuery query = Query("", "", 3);
  ASSERT_OK_AND_ASSIGN(auto page, catalog_->ListVolumes(query));
  Transaction removal;
  removal.remove_volumes = {"v1", "v2", "v3"};
  ASSERT_OK(Commit(removal));
  query.page_token = page.next_page_token;
  ASSERT_OK_AND_ASSIGN(page, catalog_->ListVolumes(query));
  EXPECT_THAT(IdsOf(page.items), ElementsAre("v4", "v5", "v6"));
  // The token is still good after the catalog was opened again.
  query.page_token = page.next_page_token;
  Reopen();
  ASSERT_OK_AND_ASSIGN(page, catalog_->ListVolumes(query));
  EXPECT_THAT(IdsOf(page.items), ElementsAre("v7", "v8"));
}

}  // namespace
}  // namespace cairn::testing
