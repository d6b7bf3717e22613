// `list`: whether a page costs the same wherever in the collection it lies.
#include <algorithm>

#include "tests/bench/load/changes.h"
#include "tests/bench/load/command.h"

namespace cairn::bench {
namespace {

struct ListOptions {
  int page_size = 1000;
  int64_t pages = 10;
};

struct Walk {
  std::vector<std::string> tokens;  // that of each page; the first one's is empty
  int64_t volumes = 0;
  double seconds = 0;
};

absl::StatusOr<v1::ListVolumesResponse> FetchPage(const client::Client& client, int page_size,
                                                  const std::string& token) {
  v1::ListVolumesRequest request;
  request.set_page_size(page_size);
  request.set_page_token(token);
  return client.ListVolumes(request);
}

// Through all pages, because only a page says where the next one begins.
absl::StatusOr<Walk> WalkThrough(const client::Client& client, int page_size) {
  Walk walk;
  Stopwatch all;
  std::string token;
  do {
    auto page = FetchPage(client, page_size, token);
    if (!page.ok()) return page.status();
    walk.tokens.push_back(token);
    walk.volumes += page->volumes_size();
    token = page->next_page_token();
  } while (!token.empty());
  walk.seconds = all.Seconds();
  return walk;
}

// The milliseconds of so many pages from `first` on, as far as there are any.
std::vector<double> FetchPages(const client::Client& client, const ListOptions& options,
                               const Walk& walk, int64_t first, Errors* errors) {
  std::vector<double> milliseconds;
  const auto count = static_cast<int64_t>(walk.tokens.size());
  for (int64_t i = first; i < std::min(first + options.pages, count); ++i) {
    Stopwatch one;
    auto page = FetchPage(client, options.page_size, walk.tokens[static_cast<size_t>(i)]);
    if (page.ok()) milliseconds.push_back(one.Milliseconds());
    errors->Add(page.status());
  }
  return milliseconds;
}

absl::StatusOr<Report> RunList(const std::string& server, const ListOptions& options) {
  auto clients = ConnectClients(server, 1);
  if (!clients.ok()) return clients.status();
  auto walk = WalkThrough(clients->front(), options.page_size);
  if (!walk.ok()) return walk.status();
  const auto count = static_cast<int64_t>(walk->tokens.size());
  Report report;
  auto measure = [&](int64_t first) {
    return Rounded(
        FetchPages(clients->front(), options, *walk, std::max<int64_t>(first, 0), &report.errors));
  };
  report.json["volumes"] = walk->volumes;
  report.json["page_size"] = options.page_size;
  report.json["pages"] = count;
  report.json["walk_seconds"] = Rounded(walk->seconds);
  report.json["start_milliseconds"] = measure(0);
  report.json["middle_milliseconds"] = measure((count - options.pages) / 2);
  // The last page may be a short one.
  report.json["end_milliseconds"] = measure(count - 1 - options.pages);
  return report;
}

}  // namespace

void AddList(CLI::App* app, Session* session) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command = AddCommand(
      app, session, "list",
      "List all volumes, then pages from the start, the middle and before the end once more, timed",
      options, RunList);
  command->add_option("--page-size", options->page_size, "Volumes on a page")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--pages", options->pages, "Pages that are timed at each of the three places")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->capture_default_str();
}

}  // namespace cairn::bench
