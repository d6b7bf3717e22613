// Ctrl-C. While something is waited for, the first one ends the waiting in an orderly way;
// otherwise, and the second time, it ends the process at once with exit code 130.
//
// Made in main before any other thread, so that the signal is blocked in all of them; a thread of
// its own takes it from a descriptor, so nothing at all happens in a signal handler.
#ifndef CAIRN_CLIENT_CAIRNCTL_INTERRUPT_H_
#define CAIRN_CLIENT_CAIRNCTL_INTERRUPT_H_

#include <atomic>
#include <stop_token>
#include <thread>

namespace cairn::cairnctl {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // While one is in scope, the first Ctrl-C requests a stop instead of ending the process.
  class Scope {
   public:
    explicit Scope(Interrupt* interrupt) : interrupt_(interrupt) {
      interrupt_->scopes_.fetch_add(1);
    }
    ~Scope() { interrupt_->scopes_.fetch_sub(1); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Interrupt* const interrupt_;
  };

  std::stop_token token() const { return stop_.get_token(); }
  bool requested() const { return stop_.stop_requested(); }

 private:
  void Listen() const;
  void OnSignal() const;

  int signal_fd_ = -1;
  int end_fd_ = -1;
  std::atomic<int> scopes_ = 0;
  mutable std::stop_source stop_;
  std::thread thread_;
};

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_INTERRUPT_H_
