#include "lib/engine/operation_watchers.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"

namespace cairn {

struct OperationWatchers::Subscription {
  uint64_t id = 0;
  std::string operation_id;
  bool until_end_only = false;  // a wait, not a watch
  std::atomic<Timer::Id> timer{0};
  OperationCallback callback;

  // Held while the callback runs, so that Stop can wait for it.
  Mutex calling;
  bool over ABSL_GUARDED_BY(calling) = false;
  std::atomic<std::thread::id> caller{};
};

OperationWatchers::OperationWatchers(
    Timer* timer, std::function<absl::StatusOr<OperationPtr>(const std::string&)> find)
    : timer_(timer), find_(std::move(find)) {}

OperationWatchers::~OperationWatchers() {
  std::vector<SubscriptionPtr> left;
  {
    MutexLock lock(&mutex_);
    for (auto& [id, subscription] : by_id_) left.push_back(subscription);
  }
  for (const SubscriptionPtr& subscription : left) Stop(subscription->id);
}

uint64_t OperationWatchers::Add(SubscriptionPtr subscription) {
  MutexLock lock(&mutex_);
  subscription->id = next_id_++;
  by_operation_.emplace(subscription->operation_id, subscription->id);
  by_id_.emplace(subscription->id, subscription);
  return subscription->id;
}

OperationWatchers::SubscriptionPtr OperationWatchers::Find(uint64_t id) {
  MutexLock lock(&mutex_);
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

void OperationWatchers::Remove(const Subscription& subscription) {
  if (subscription.timer != 0) timer_->Cancel(subscription.timer);
  MutexLock lock(&mutex_);
  if (by_id_.erase(subscription.id) == 0) return;
  auto [begin, end] = by_operation_.equal_range(subscription.operation_id);
  by_operation_.erase(
      std::find_if(begin, end, [&](const auto& e) { return e.second == subscription.id; }));
}

void OperationWatchers::Call(const SubscriptionPtr& subscription,
                             absl::StatusOr<OperationPtr> operation, bool last) {
  {
    MutexLock lock(&subscription->calling);
    if (subscription->over) return;
    subscription->over = last;
    subscription->caller = std::this_thread::get_id();
    subscription->callback(std::move(operation));
    subscription->caller = std::thread::id();
  }
  if (last) Remove(*subscription);
}

uint64_t OperationWatchers::Wait(const std::string& id, MonotonicTime until,
                                 OperationCallback done) {
  auto subscription = std::make_shared<Subscription>();
  subscription->operation_id = id;
  subscription->until_end_only = true;
  subscription->callback = std::move(done);
  const uint64_t handle = Add(subscription);
  // Looked at after it was added: an end in between is told by one of the two, whoever takes it.
  auto now = find_(id);
  const absl::Duration left = until - MonotonicTime::Now();
  if (!now.ok() || Ended((*now)->state) || left <= absl::ZeroDuration()) {
    Call(subscription, std::move(now), true);
    return 0;
  }
  if (until == MonotonicTime::InfiniteFuture()) return handle;
  subscription->timer = timer_->RunAfter(left, [this, handle, id] {
    if (SubscriptionPtr found = Find(handle); found != nullptr) Call(found, find_(id), true);
  });
  return handle;
}

uint64_t OperationWatchers::Watch(const std::string& id, OperationCallback changed) {
  auto subscription = std::make_shared<Subscription>();
  subscription->operation_id = id;
  subscription->callback = std::move(changed);
  const uint64_t handle = Add(subscription);
  auto now = find_(id);
  if (!now.ok() || Ended((*now)->state)) {
    Call(subscription, std::move(now), true);
    return 0;
  }
  Call(subscription, std::move(now), false);
  return handle;
}

void OperationWatchers::Stop(uint64_t id) {
  SubscriptionPtr subscription = Find(id);
  if (subscription == nullptr) return;
  if (subscription->caller.load() != std::this_thread::get_id()) {
    MutexLock lock(&subscription->calling);
    subscription->over = true;
  }
  Remove(*subscription);
}

void OperationWatchers::Notify(const OperationPtr& operation) {
  const bool ended = Ended(operation->state);
  std::vector<SubscriptionPtr> to_call;
  {
    MutexLock lock(&mutex_);
    auto [begin, end] = by_operation_.equal_range(operation->id);
    for (auto it = begin; it != end; ++it) {
      const SubscriptionPtr& subscription = by_id_.at(it->second);
      if (ended || !subscription->until_end_only) to_call.push_back(subscription);
    }
  }
  for (const SubscriptionPtr& subscription : to_call) Call(subscription, operation, ended);
}

}  // namespace cairn
