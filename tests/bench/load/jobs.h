// Many jobs of one kind, spread over clients that work at the same time, and what each took.
#ifndef CAIRN_TESTS_BENCH_LOAD_JOBS_H_
#define CAIRN_TESTS_BENCH_LOAD_JOBS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cairn/client/client.h"
#include "tests/bench/report.h"

namespace cairn::bench {

struct Round {
  std::vector<double> milliseconds;  // of the jobs that succeeded, in the order of their numbers
  double seconds = 0;                // from the first job's beginning to the last one's end
  Errors errors;

  // How many succeeded in a second.
  double PerSecond() const;
};

// A thread for each worker; returns when all have ended.
void OnThreads(int count, const std::function<void(int worker)>& work);

// Does the jobs 0 to count - 1, each client one at a time on a thread of its own.
Round RunJobs(const std::vector<client::Client>& clients, int64_t count,
              const std::function<absl::Status(const client::Client&, int64_t job)>& job);

// Drops those that are empty: what was not made.
std::vector<std::string> Made(std::vector<std::string> ids);

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_LOAD_JOBS_H_
