#include "lib/share/lanes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/base/monotonic_time.h"

namespace cairn {
namespace {

constexpr int kBulkThreads = 2;
constexpr int kQueueMax = 1000;
constexpr int kQuietNice = 10;

ExecutorOptions LaneOptions(const std::string& address, std::string_view lane, int threads) {
  return {.name = fmt::format("{}/{}", address, lane), .threads = threads, .queue_max = kQueueMax};
}

ExecutorOptions QuietOptions(const std::string& address) {
  ExecutorOptions options = LaneOptions(address, "quiet", 1);
  options.nice = kQuietNice;
  return options;
}

}  // namespace

Lanes::Lanes(const std::string& address)
    : fast_(LaneOptions(address, "fast", kFastThreads)),
      bulk_(LaneOptions(address, "bulk", kBulkThreads)),
      quiet_(QuietOptions(address)),
      closing_(LaneOptions(address, "closing", 1)),
      probe_(LaneOptions(address, "probe", 1)),
      telling_(LaneOptions(address, "telling", 1)) {}

absl::Status Lanes::Submit(Lane lane, Task task) {
  switch (lane) {
    case Lane::kFast:
      return fast_.Submit(std::move(task));
    case Lane::kBulk:
      return bulk_.Submit(std::move(task));
    case Lane::kQuiet:
      return quiet_.Submit(std::move(task));
    case Lane::kClosing:
      break;
  }
  return closing_.Submit(std::move(task));
}

absl::Status Lanes::SubmitProbe(Task task) { return probe_.Submit(std::move(task)); }

void Lanes::Abandon(const absl::Status& why) {
  Tell([this, why] {
    for (Executor* lane : {&fast_, &bulk_, &quiet_, &probe_}) lane->Abandon(why);
  });
}

void Lanes::AbandonWork(const absl::Status& why) {
  Tell([this, why] {
    for (Executor* lane : {&fast_, &bulk_, &quiet_}) lane->Abandon(why);
  });
}

void Lanes::Tell(std::function<void()> tell) {
  // Refused only while shutting down, which tells everybody.
  telling_.Submit({.run = [tell = std::move(tell)](const absl::Status&) { tell(); }}).IgnoreError();
}

bool Lanes::Shutdown(absl::Duration grace) {
  const MonotonicTime end = MonotonicTime::Now() + grace;
  bool all_ended = true;
  for (Executor* lane : {&fast_, &bulk_, &quiet_, &closing_, &probe_, &telling_}) {
    all_ended &= lane->Shutdown(std::max(absl::ZeroDuration(), end - MonotonicTime::Now()));
  }
  return all_ended;
}

}  // namespace cairn
