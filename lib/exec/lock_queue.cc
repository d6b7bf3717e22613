#include "lib/exec/lock_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

using Ticket = LockQueue::Ticket;

struct Place {
  Ticket ticket;
  bool exclusive;
  bool reached = false;  // nothing before it keeps it from this key
};

struct Holder {
  std::vector<std::string> keys;
  size_t keys_missing = 0;
  std::function<void(Ticket)> granted;
};

// A key named twice would wait for itself.
std::map<std::string, bool> Merge(const std::vector<LockKey>& keys) {
  std::map<std::string, bool> exclusive;
  for (const LockKey& key : keys) {
    exclusive.try_emplace(key.key, false).first->second |= key.exclusive;
  }
  return exclusive;
}

// Most are asked for near the head.
template <typename Queue>
auto Find(Queue& queue, Ticket ticket) {
  return std::find_if(queue.begin(), queue.end(),
                      [&](const Place& place) { return place.ticket == ticket; });
}

}  // namespace

struct LockQueue::State {
  explicit State(int depth_max) : depth_max(static_cast<size_t>(std::max(depth_max, 1))) {}

  const size_t depth_max;
  mutable Mutex mutex;
  Ticket last_ticket ABSL_GUARDED_BY(mutex) = 0;
  std::map<std::string, std::deque<Place>> places ABSL_GUARDED_BY(mutex);
  std::map<Ticket, Holder> holders ABSL_GUARDED_BY(mutex);

  void Reach(std::deque<Place>& queue, std::vector<Ticket>* complete)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void Tell(const std::vector<Ticket>& complete) ABSL_LOCKS_EXCLUDED(mutex);
  void TellOne(Ticket ticket) ABSL_LOCKS_EXCLUDED(mutex);
};

// Marks who can have this key now, and notes those that then have all their keys.
void LockQueue::State::Reach(std::deque<Place>& queue, std::vector<Ticket>* complete) {
  bool first = true;
  for (Place& place : queue) {
    if (place.exclusive && !first) return;
    if (!place.reached) {
      place.reached = true;
      Holder& holder = holders.at(place.ticket);
      if (--holder.keys_missing == 0) complete->push_back(place.ticket);
    }
    if (place.exclusive) return;
    first = false;
  }
}

void LockQueue::State::TellOne(Ticket ticket) {
  std::function<void(Ticket)> granted;
  {
    MutexLock lock(&mutex);
    auto holder = holders.find(ticket);
    // Released since by another callback or thread.
    if (holder == holders.end()) return;
    granted = std::exchange(holder->second.granted, nullptr);
  }
  if (granted) granted(ticket);
}

// A callback may release, which grants, which calls back: the calls are made one after another, not
// one within another, however long such a row is.
void LockQueue::State::Tell(const std::vector<Ticket>& complete) {
  struct Row {
    State* state;
    std::deque<Ticket> tickets;
  };
  static thread_local Row* running = nullptr;
  if (running != nullptr && running->state == this) {
    running->tickets.insert(running->tickets.end(), complete.begin(), complete.end());
    return;
  }
  Row row{this, {complete.begin(), complete.end()}};
  Row* const outer = std::exchange(running, &row);
  while (!row.tickets.empty()) {
    Ticket ticket = row.tickets.front();
    row.tickets.pop_front();
    TellOne(ticket);
  }
  running = outer;
}

LockQueue::LockQueue(int depth_max) : state_(std::make_unique<State>(depth_max)) {}

LockQueue::~LockQueue() = default;

absl::StatusOr<LockQueue::Ticket> LockQueue::Acquire(std::vector<LockKey> keys,
                                                     std::function<void(Ticket)> granted) {
  std::map<std::string, bool> merged = Merge(keys);
  State& state = *state_;
  Ticket ticket;
  std::vector<Ticket> complete;
  {
    MutexLock lock(&state.mutex);
    for (const auto& [key, exclusive] : merged) {
      auto queue = state.places.find(key);
      if (queue == state.places.end() || queue->second.size() < state.depth_max) continue;
      return Error(Reason::kQueueFull,
                   fmt::format("{}: {} operations are waiting already", key, queue->second.size()),
                   {{"key", key}});
    }
    ticket = ++state.last_ticket;
    Holder& holder = state.holders[ticket];
    holder.granted = std::move(granted);
    holder.keys_missing = merged.size();
    if (merged.empty()) complete.push_back(ticket);
    for (const auto& [key, exclusive] : merged) {
      holder.keys.push_back(key);
      std::deque<Place>& queue = state.places[key];
      queue.push_back({ticket, exclusive});
      state.Reach(queue, &complete);
    }
  }
  state.Tell(complete);
  return ticket;
}

std::optional<LockQueue::Ticket> LockQueue::TryAcquire(const std::vector<LockKey>& keys) {
  std::map<std::string, bool> merged = Merge(keys);
  State& state = *state_;
  MutexLock lock(&state.mutex);
  for (const auto& [key, exclusive] : merged) {
    auto queue = state.places.find(key);
    if (queue == state.places.end()) continue;
    const bool shared = std::none_of(queue->second.begin(), queue->second.end(),
                                     [](const Place& place) { return place.exclusive; });
    if (exclusive || !shared || queue->second.size() >= state.depth_max) return std::nullopt;
  }
  const Ticket ticket = ++state.last_ticket;
  Holder& holder = state.holders[ticket];
  for (const auto& [key, exclusive] : merged) {
    holder.keys.push_back(key);
    state.places[key].push_back({ticket, exclusive, /*reached=*/true});
  }
  return ticket;
}

void LockQueue::Release(Ticket ticket) {
  State& state = *state_;
  std::vector<Ticket> complete;
  std::function<void(Ticket)> dropped;  // destroyed outside the lock
  {
    MutexLock lock(&state.mutex);
    auto holder = state.holders.find(ticket);
    if (holder == state.holders.end()) return;
    for (const std::string& key : holder->second.keys) {
      auto queue = state.places.find(key);
      queue->second.erase(Find(queue->second, ticket));
      if (queue->second.empty()) {
        state.places.erase(queue);
      } else {
        state.Reach(queue->second, &complete);
      }
    }
    dropped = std::move(holder->second.granted);
    state.holders.erase(holder);
  }
  state.Tell(complete);
}

int LockQueue::ahead_of(Ticket ticket) const {
  const State& state = *state_;
  MutexLock lock(&state.mutex);
  auto holder = state.holders.find(ticket);
  if (holder == state.holders.end()) return 0;
  std::set<Ticket> ahead;
  for (const std::string& key : holder->second.keys) {
    const std::deque<Place>& queue = state.places.at(key);
    auto own = Find(queue, ticket);
    if (own->reached) continue;
    for (auto place = queue.begin(); place != own; ++place) ahead.insert(place->ticket);
  }
  return static_cast<int>(ahead.size());
}

bool LockQueue::is_awaited(Ticket ticket) const {
  const State& state = *state_;
  MutexLock lock(&state.mutex);
  auto holder = state.holders.find(ticket);
  if (holder == state.holders.end()) return false;
  return std::any_of(holder->second.keys.begin(), holder->second.keys.end(),
                     [&](const std::string& key) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                       return !state.places.at(key).back().reached;
                     });
}

}  // namespace cairn
