#include "cairn/client/pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/faulty_server.h"

namespace cairn::client {
namespace {

// Pages by token; an unknown token is an error.
PageRange<int> Range(std::map<std::string, Page<int>> pages) {
  return PageRange<int>([pages](const std::string& token) -> absl::StatusOr<Page<int>> {
    const auto page = pages.find(token);
    if (page == pages.end()) return absl::InternalError("no page " + token);
    return page->second;
  });
}

std::vector<int> Walk(PageRange<int> range, absl::Status* error = nullptr) {
  std::vector<int> items;
  for (const auto& item : range) {
    if (item.ok()) items.push_back(*item);
    if (!item.ok() && error != nullptr) *error = item.status();
  }
  return items;
}

TEST(Pages, OfNothingAreEmpty) { EXPECT_THAT(Walk(Range({{"", {}}})), ::testing::IsEmpty()); }

TEST(Pages, FollowOneAnother) {
  EXPECT_THAT(Walk(Range({{"", {{1, 2}, "a"}}, {"a", {{3}, "b"}}, {"b", {{4, 5}, ""}}})),
              ::testing::ElementsAre(1, 2, 3, 4, 5));
}

TEST(Pages, MayBeEmptyAndNotTheLast) {
  EXPECT_THAT(Walk(Range({{"", {{}, "a"}}, {"a", {{}, "b"}}, {"b", {{7}, "c"}}, {"c", {}}})),
              ::testing::ElementsAre(7));
}

TEST(Pages, EndWithTheErrorAsTheLastElement) {
  absl::Status error;
  EXPECT_THAT(Walk(Range({{"", {{1}, "lost"}}}), &error), ::testing::ElementsAre(1));
  EXPECT_TRUE(absl::IsInternal(error));
  EXPECT_THAT(Walk(Range({}), &error), ::testing::IsEmpty());
}

TEST(Pages, AreFetchedFromTheServerWithTheSameFilter) {
  testing::FaultyServer server;
  server.on_list = [](int n, const auto& request, auto* response) {
    EXPECT_EQ(request.filter(), "name = \"x\"");
    // The second page fails once: a page is an ordinary call.
    if (n == 1) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "once");
    const int page = request.page_token().empty() ? 0 : std::stoi(request.page_token());
    response->add_volumes()->set_id(std::to_string(page));
    if (page < 2) response->set_next_page_token(std::to_string(page + 1));
    return grpc::Status::OK;
  };
  v1::ListVolumesRequest request;
  request.set_filter("name = \"x\"");
  std::vector<std::string> ids;
  for (const auto& volume : server.MakeClient().Volumes(request)) {
    ASSERT_TRUE(volume.ok()) << volume.status();
    ids.push_back(volume->id());
  }
  EXPECT_THAT(ids, ::testing::ElementsAre("0", "1", "2"));
}

}  // namespace
}  // namespace cairn::client
