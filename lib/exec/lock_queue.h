// Per-key queues of shared and exclusive holders: the order of operations on a volume. No thread
// waits: a holder is told by a callback when all its keys are granted.
//
// First come, first served per key: a shared holder waits behind an exclusive one that came before
// it. All keys of a holder are queued at one instant, so two holders cannot wait for each other.
// Thread-safe. Callbacks run on the thread that caused the grant, outside the internal lock.
#ifndef CAIRN_LIB_EXEC_LOCK_QUEUE_H_
#define CAIRN_LIB_EXEC_LOCK_QUEUE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace cairn {

struct LockKey {
  std::string key;
  bool exclusive = true;
};

class LockQueue {
 public:
  // `depth_max`: how many holders and waiters one key may have.
  explicit LockQueue(int depth_max);
  ~LockQueue();

  using Ticket = uint64_t;
  // Queues on all keys; `granted` is called once when all are held, possibly before this returns.
  // QUEUE_FULL (naming the key) changes nothing.
  absl::StatusOr<Ticket> Acquire(std::vector<LockKey> keys, std::function<void(Ticket)> granted);
  // The same at once: nothing when somebody holds or waits for one of the keys in a way that does not
  // go together with this.
  std::optional<Ticket> TryAcquire(const std::vector<LockKey>& keys);
  // Gives up all keys, whether held or waited for (then `granted` will not be called any more).
  void Release(Ticket ticket);
  // Whether anybody waits behind `ticket`, which holds its keys, for one of them.
  bool is_awaited(Ticket ticket) const;
  // Waits ahead of `ticket` or holds: for messages such as "behind 2 operations".
  int ahead_of(Ticket ticket) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_EXEC_LOCK_QUEUE_H_
