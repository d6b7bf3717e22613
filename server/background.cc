#include "server/background.h"

#include <algorithm>
#include <utility>

namespace cairn {

Background::Background() : thread_([this] { Run(); }) {}

void Background::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void Background::Post(std::function<void()> task) {
  {
    MutexLock lock(&mutex_);
    posted_.push_back(std::move(task));
  }
  wake_.NotifyAll();
}

uint64_t Background::Every(absl::Duration period, std::function<void()> task) {
  MutexLock lock(&mutex_);
  periodic_[++last_id_] = {period, MonotonicTime::Now() + period, std::move(task)};
  wake_.NotifyAll();
  return last_id_;
}

void Background::Remove(uint64_t id) {
  MutexLock lock(&mutex_);
  periodic_.erase(id);
}

MonotonicTime Background::PostDue(MonotonicTime now) {
  MonotonicTime next = now + absl::Minutes(1);
  for (auto& [id, periodic] : periodic_) {
    if (periodic.next <= now) {
      posted_.push_back(periodic.task);
      periodic.next = now + periodic.period;
    }
    next = std::min(next, periodic.next);
  }
  return next;
}

void Background::Run() {
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(&mutex_);
      MonotonicTime now = MonotonicTime::Now();
      MonotonicTime next = PostDue(now);
      if (posted_.empty()) {
        if (stopping_) return;
        wake_.WaitFor(&mutex_, next - now);
        continue;
      }
      task = std::move(posted_.front());
      posted_.pop_front();
    }
    task();
  }
}

}  // namespace cairn
