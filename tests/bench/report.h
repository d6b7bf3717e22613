// What a run has measured, and the one JSON object that a benchmark's program prints of it.
//
//   Report report;
//   report.json["per_second"] = Rounded(calls / seconds);
//   report.errors.Add(status);
//   return PrintReport(report);  // {"per_second":813.2,"errors":1,"messages":["..."]}; gives 1
//
// Plain values: one thread at a time. Threads measure for themselves and are merged afterwards.
#ifndef CAIRN_TESTS_BENCH_REPORT_H_
#define CAIRN_TESTS_BENCH_REPORT_H_

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cairn::bench {

// Keeps the order in which the keys were set.
using Json = nlohmann::ordered_json;

class Stopwatch {
 public:
  double Milliseconds() const { return Seconds() * 1000; }
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// How many failed, and the first few different things that they said.
class Errors {
 public:
  // OK is not counted.
  void Add(const absl::Status& status);
  void Merge(const Errors& other);
  int64_t count() const { return count_; }
  const std::vector<std::string>& messages() const { return messages_; }

 private:
  void Keep(const std::string& message);

  int64_t count_ = 0;
  std::vector<std::string> messages_;
};

struct Report {
  Json json = Json::object();
  Errors errors{};
};

// Three digits behind the point.
double Rounded(double value);
Json Rounded(const std::vector<double>& values);

// p50, p95, p99 and max, each with "_milliseconds" behind it; zeros without any value.
Json Distribution(std::vector<double> milliseconds);

// Prints the report with its errors on stdout, or on stderr why there is none. Gives the exit code:
// 0 only when nothing failed.
int PrintReport(const absl::StatusOr<Report>& report);

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_REPORT_H_
