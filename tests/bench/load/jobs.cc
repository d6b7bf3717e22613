#include "tests/bench/load/jobs.h"

#include <atomic>
#include <thread>

namespace cairn::bench {

double Round::PerSecond() const {
  return seconds > 0 ? static_cast<double>(milliseconds.size()) / seconds : 0;
}

void OnThreads(int count, const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

Round RunJobs(const std::vector<client::Client>& clients, int64_t count,
              const std::function<absl::Status(const client::Client&, int64_t)>& job) {
  constexpr double kFailed = -1;
  std::vector<double> took(static_cast<size_t>(count), kFailed);
  std::vector<Errors> errors(clients.size());
  std::atomic<int64_t> next = 0;
  Stopwatch all;
  OnThreads(static_cast<int>(clients.size()), [&](int worker) {
    const auto at = static_cast<size_t>(worker);
    for (int64_t i = next++; i < count; i = next++) {
      Stopwatch one;
      const absl::Status status = job(clients[at], i);
      if (status.ok()) took[static_cast<size_t>(i)] = one.Milliseconds();
      errors[at].Add(status);
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

std::vector<std::string> Made(std::vector<std::string> ids) {
  std::erase(ids, "");
  return ids;
}

}  // namespace cairn::bench
