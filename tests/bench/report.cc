#include "tests/bench/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace cairn::bench {
namespace {

constexpr size_t kMessagesMax = 5;

// The least value that so many of a hundred do not exceed.
double Percentile(const std::vector<double>& sorted, int percent) {
  if (sorted.empty()) return 0;
  const size_t rank = (sorted.size() * static_cast<size_t>(percent) + 99) / 100;
  return sorted[std::max<size_t>(rank, 1) - 1];
}

}  // namespace

void Errors::Add(const absl::Status& status) {
  if (status.ok()) return;
  ++count_;
  Keep(absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message()));
}

void Errors::Merge(const Errors& other) {
  count_ += other.count_;
  for (const std::string& message : other.messages_) Keep(message);
}

void Errors::Keep(const std::string& message) {
  if (messages_.size() == kMessagesMax) return;
  if (std::find(messages_.begin(), messages_.end(), message) != messages_.end()) return;
  messages_.push_back(message);
}

double Rounded(double value) { return std::round(value * 1000) / 1000; }

Json Rounded(const std::vector<double>& values) {
  Json rounded = Json::array();
  for (double value : values) rounded.push_back(Rounded(value));
  return rounded;
}

Json Distribution(std::vector<double> milliseconds) {
  std::sort(milliseconds.begin(), milliseconds.end());
  return {{"p50_milliseconds", Rounded(Percentile(milliseconds, 50))},
          {"p95_milliseconds", Rounded(Percentile(milliseconds, 95))},
          {"p99_milliseconds", Rounded(Percentile(milliseconds, 99))},
          {"max_milliseconds", Rounded(Percentile(milliseconds, 100))}};
}

int PrintReport(const absl::StatusOr<Report>& report) {
  if (!report.ok()) {
    std::fprintf(stderr, "%s\n", report.status().ToString().c_str());
    return 1;
  }
  Json json = report->json;
  json["errors"] = report->errors.count();
  if (report->errors.count() > 0) json["messages"] = report->errors.messages();
  // A message may hold a name that is no UTF-8.
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  return report->errors.count() == 0 ? 0 : 1;
}

}  // namespace cairn::bench
