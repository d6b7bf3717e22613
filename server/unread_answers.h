// The answers that were given to gRPC and have not left it: their callers do not read. gRPC keeps
// such an answer, and its call, for as long as the caller likes.
//
// Bounds how many there are and what they hold, for one connection and in all. Each call must have
// a context from NewAllocator(), which tells when gRPC is done with it. Thread-safe.
//
//   builder.SetContextAllocator(unread.NewAllocator());
//   ... RETURN_IF_ERROR(unread.MayAnswer(peer));   // before a large answer is made
//   ... unread.Answered(context, peer, bytes);     // just before it is finished
#ifndef CAIRN_SERVER_UNREAD_ANSWERS_H_
#define CAIRN_SERVER_UNREAD_ANSWERS_H_

#include <grpcpp/server_context.h>

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"

namespace cairn {

struct UnreadLimits {
  int64_t bytes_of_connection = 32 << 20;
  int64_t bytes_max = 128 << 20;
  size_t answers_max = 8192;
};

class UnreadAnswers {
 public:
  explicit UnreadAnswers(const UnreadLimits& limits = {}) : limits_(limits) {}

  // The allocator may not outlive this.
  std::unique_ptr<grpc::ContextAllocator> NewAllocator();

  // TOO_MANY_CALLS when the caller's connection leaves so much unread that it gets no more large
  // answers. Those on UNIX sockets cannot be told apart, and sit on this host: for them only the
  // bound of all holds.
  absl::Status MayAnswer(const std::string& peer) const;
  // The call is about to be finished, with so many bytes (0: few). When there is too much in all,
  // the oldest unread answers are dropped together with their calls.
  void Answered(grpc::CallbackServerContext* context, const std::string& peer, int64_t bytes);
  // Drops what has been unread for so long.
  void DropOlderThan(absl::Duration limit);

  struct Totals {
    size_t answers = 0;
    int64_t bytes = 0;
  };
  Totals totals() const;

 private:
  class Allocator;
  class Context;
  struct Answer {
    Context* context;
    std::string peer;  // empty when it is not counted for its connection
    int64_t bytes;
    MonotonicTime since;
  };
  using Answers = std::list<Answer>;  // oldest first

  void Release(Context* context);
  // Takes the oldest out; its call, referenced, is to be cancelled without the mutex.
  grpc_call* TakeOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(Answers::iterator answer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const UnreadLimits limits_;
  mutable Mutex mutex_;
  Answers answers_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, int64_t> bytes_by_peer_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cairn

#endif  // CAIRN_SERVER_UNREAD_ANSWERS_H_
