// Many jobs of one kind, spread over workers that work at the same time, and what each took.
//
//   const Round round = RunJobs(16, 1000, [&](size_t worker, size_t job) { ... return status; });
//   AddRound(round, "delete_", &report);
#ifndef CAIRN_TESTS_BENCH_JOBS_H_
#define CAIRN_TESTS_BENCH_JOBS_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

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
void OnThreads(size_t count, const std::function<void(size_t worker)>& work);

// Does the jobs 0 to count - 1, each worker one at a time on a thread of its own.
Round RunJobs(size_t workers, size_t count,
              const std::function<absl::Status(size_t worker, size_t job)>& job);

// Its errors, and the keys milliseconds, seconds and per_second with `prefix` before them.
void AddRound(const Round& round, const std::string& prefix, Report* report);

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_JOBS_H_
