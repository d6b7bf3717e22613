// A thread for calls into a library that has no limits of its own: a call that does not come back is
// left behind with its thread, which ends when it does.
//
// A call must own, or share, all that it uses: it may outlive its caller. Those left behind are
// counted by a name, so that something that hangs forever does not collect threads without end.
// One caller at a time.
//
//   ASSIGN_OR_RETURN(auto thread, CallThread::Start("qemu:///system"));
//   auto answer = std::make_shared<int>();
//   if (!thread->Run([answer] { *answer = Ask(); }, absl::Seconds(30))) return TooLate();
#ifndef CAIRN_LIB_HYPERVISOR_CALL_THREAD_H_
#define CAIRN_LIB_HYPERVISOR_CALL_THREAD_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cairn {

// For a thread that calls such a library: what it writes to a peer that has died must not end this
// process.
void BlockSigpipe();

class CallThread {
 public:
  // HYPERVISOR_UNAVAILABLE when too many calls of that name were left behind and still hang, or no
  // thread can be had.
  static absl::StatusOr<std::unique_ptr<CallThread>> Start(const std::string& name);

  // Waits for nothing: the thread ends by itself after its present call. What is bound to the calls
  // that were not begun is destroyed.
  ~CallThread();
  CallThread(const CallThread&) = delete;
  CallThread& operator=(const CallThread&) = delete;

  // False when `limit` passed before the call came back, and from then on always, without calling.
  bool Run(std::function<void()> call, absl::Duration limit);

  // Begins a last call and does not wait for it: what closes things may hang as well.
  void RunLast(std::function<void()> call);

 private:
  struct State;
  explicit CallThread(std::shared_ptr<State> state) : state_(std::move(state)) {}
  static void Serve(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;  // shared with the thread
};

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_CALL_THREAD_H_
