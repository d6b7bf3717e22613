// What every Catalog must do, whatever stands behind it. A store passes by instantiating the suite:
//
//   INSTANTIATE_TEST_SUITE_P(Sqlite, CatalogConformanceTest,
//   ::testing::Values(SqliteStoreUnderTest()),
//                            StoreName());
#ifndef CAIRN_TESTS_UNIT_CATALOG_CATALOG_CONFORMANCE_H_
#define CAIRN_TESTS_UNIT_CATALOG_CATALOG_CONFORMANCE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "lib/catalog/catalog.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/catalog/record_makers.h"

namespace cairn::testing {

struct StoreUnderTest {
  std::string name;
  // Opens, or opens again, the one catalog that `directory` belongs to.
  std::function<absl::StatusOr<std::unique_ptr<Catalog>>(const std::string& directory,
                                                         int changes_kept)>
      open;
};

inline void PrintTo(const StoreUnderTest& store, std::ostream* out) { *out << store.name; }

struct StoreName {
  std::string operator()(const ::testing::TestParamInfo<StoreUnderTest>& info) const {
    return info.param.name;
  }
};

// Null when there is none; an error fails the test.
inline OperationPtr FindOperation(const Catalog& catalog, const std::string& id) {
  auto found = catalog.FindOperation(id);
  EXPECT_OK(found);
  return found.ok() ? *found : nullptr;
}
inline OperationPtr FindOperationByRequest(const Catalog& catalog, const std::string& request_id) {
  auto found = catalog.FindOperationByRequest(request_id);
  EXPECT_OK(found);
  return found.ok() ? *found : nullptr;
}

class CatalogConformanceTest : public ::testing::TestWithParam<StoreUnderTest> {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen(int changes_kept = 1000) {
    catalog_.reset();
    ASSERT_OK_AND_ASSIGN(catalog_, GetParam().open(directory_.path(), changes_kept));
  }

  absl::Status Commit(Transaction transaction) {
    return catalog_->CommitAndWait(std::move(transaction));
  }

  // The volume under `id` as it is, for changing.
  VolumeRecord Volume(const std::string& id) { return *catalog_->FindVolume(id); }

  // All pages of a list; every page but the last must be full.
  std::vector<std::string> AllVolumes(ListQuery query) {
    std::vector<std::string> ids;
    for (;;) {
      auto page = catalog_->ListVolumes(query);
      EXPECT_OK(page);
      if (!page.ok()) return ids;
      for (const VolumePtr& volume : page->items) ids.push_back(volume->id);
      if (page->next_page_token.empty()) return ids;
      // page_size 0 and those above the limit are cut by the catalog.
      if (query.page_size > 0 && query.page_size <= 1000) {
        EXPECT_EQ(page->items.size(), static_cast<size_t>(query.page_size));
      }
      query.page_token = page->next_page_token;
    }
  }

  TempDir directory_;
  std::unique_ptr<Catalog> catalog_;
};

inline ListQuery Query(std::string filter, std::string order_by = "", int page_size = 0) {
  ListQuery query;
  query.filter = std::move(filter);
  query.order_by = std::move(order_by);
  query.page_size = page_size;
  return query;
}

template <typename Ptr>
std::vector<std::string> IdsOf(const std::vector<Ptr>& items) {
  std::vector<std::string> ids;
  for (const Ptr& item : items) ids.push_back(item->id);
  return ids;
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_CATALOG_CATALOG_CONFORMANCE_H_
