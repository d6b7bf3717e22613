#include "tests/bench/jobs.h"

#include <atomic>
#include <thread>

namespace cairn::bench {

double Round::PerSecond() const {
  return seconds > 0 ? static_cast<double>(milliseconds.size()) / seconds : 0;
}

void OnThreads(size_t count, const std::function<void(size_t)>& work) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

Round RunJobs(size_t workers, size_t count,
              const std::function<absl::Status(size_t, size_t)>& job) {
  constexpr double kFailed = -1;
  std::vector<double> took(count, kFailed);
  std::vector<Errors> errors(workers);
  std::atomic<size_t> next = 0;
  Stopwatch all;
  OnThreads(workers, [&](size_t worker) {
    for (size_t i = next++; i < count; i = next++) {
      Stopwatch one;
      const absl::Status status = job(worker, i);
      if (status.ok()) took[i] = one.Milliseconds();
      errors[worker].Add(status);
    }
  });
  Round round;
  round.seconds = all.Seconds();
  for (const Errors& each : errors) round.errors.Merge(each);
  for (double milliseconds : took) {
    if (milliseconds != kFailed) round.milliseconds.push_back(milliseconds);
  }
  return round;
}

void AddRound(const Round& round, const std::string& prefix, Report* report) {
  report->errors.Merge(round.errors);
  report->json[prefix + "milliseconds"] = Rounded(round.milliseconds);
  report->json[prefix + "seconds"] = Rounded(round.seconds);
  report->json[prefix + "per_second"] = Rounded(round.PerSecond());
}

}  // namespace cairn::bench
