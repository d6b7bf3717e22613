#include "cairnctl/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "cairnctl/exit_code.h"

namespace cairn::cairnctl {

Interrupt::Interrupt() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  end_fd_ = eventfd(0, EFD_CLOEXEC);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  // Without descriptors Ctrl-C simply keeps its usual meaning.
  if (end_fd_ < 0 || signal_fd_ < 0) return;
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this] { Listen(); });
}

Interrupt::~Interrupt() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    // Cannot fail: the counter is far from its limit.
    if (write(end_fd_, &one, sizeof(one)) == sizeof(one)) thread_.join();
  }
  if (signal_fd_ >= 0) close(signal_fd_);
  if (end_fd_ >= 0) close(end_fd_);
}

void Interrupt::Listen() const {
  pollfd descriptors[] = {{signal_fd_, POLLIN, 0}, {end_fd_, POLLIN, 0}};
  while (true) {
    if (poll(descriptors, 2, -1) < 0) continue;
    if (descriptors[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) OnSignal();
  }
}

void Interrupt::OnSignal() const {
  if (scopes_.load() > 0 && stop_.request_stop()) return;
  // Nothing of ours needs an orderly end: what the server was asked to do goes on by itself.
  _exit(kExitInterrupted);
}

}  // namespace cairn::cairnctl
