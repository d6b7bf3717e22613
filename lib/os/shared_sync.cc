#include "lib/os/shared_sync.h"

#include <utility>

namespace cairn {

absl::Status SharedSync::Run(const std::string& key, const std::function<absl::Status()>& sync) {
  std::shared_ptr<Rounds> rounds;
  std::shared_ptr<Round> own;
  {
    MutexLock lock(&mutex_);
    std::shared_ptr<Rounds>& entry = by_key_[key];
    if (entry == nullptr) entry = std::make_shared<Rounds>();
    rounds = entry;
    if (rounds->next == nullptr) rounds->next = std::make_shared<Round>();
    own = rounds->next;
    // The first who finds nothing running goes; the others of its round wait for it.
    while (!own->ended && (rounds->running || rounds->next != own)) rounds->changed.Wait(&mutex_);
    if (own->ended) return own->status;
    rounds->running = true;
    rounds->next = nullptr;
  }
  absl::Status status = sync();
  MutexLock lock(&mutex_);
  rounds->running = false;
  own->ended = true;
  own->status = status;
  if (rounds->next == nullptr) by_key_.erase(key);
  rounds->changed.NotifyAll();
  return status;
}

}  // namespace cairn
