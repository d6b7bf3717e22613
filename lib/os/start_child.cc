#include "lib/os/start_child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lib/os/unique_fd.h"

namespace cairn {
namespace {

// Above those that the child ends up with, so that none is overwritten before it is used.
constexpr int kFirstFreeFd = 8;
constexpr int kReportFd = 3;
constexpr int kDirectoryFd = 4;

struct Parent {
  pid_t pid;
  pid_t thread;
};

// False: the signal will not come, as the thread has ended before it was asked for. A thread can end
// while others of its process cannot, as they hang in the kernel.
bool Lives(const Parent& parent) {
  return getppid() == parent.pid && syscall(SYS_tgkill, parent.pid, parent.thread, 0) == 0;
}

// The kernel's call: that of a sanitizer would record it as ours.
void DefaultAllHandlers() {
  const std::array<char, 64> zeros{};  // no less than the kernel's struct sigaction: SIG_DFL
  for (int signal = 1; signal <= 64; ++signal) {
    syscall(SYS_rt_sigaction, signal, zeros.data(), nullptr, 8);
  }
}

void UnblockSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void CloseFrom(int first) {
  if (close_range(static_cast<unsigned>(first), ~0U, 0) == 0) return;
  struct rlimit files {};  // Linux before 5.9
  getrlimit(RLIMIT_NOFILE, &files);
  for (int fd = first; fd < static_cast<int>(files.rlim_cur); ++fd) close(fd);
}

bool Limit(__rlimit_resource_t resource, int64_t value) {
  if (value <= 0) return true;
  const struct rlimit limit { static_cast<rlim_t>(value), static_cast<rlim_t>(value) };
  return setrlimit(resource, &limit) == 0;
}

// The server raises its own soft limit. Programs expect the usual one: some of them walk through all
// descriptors that they may have, or make a table of that size.
void LowerDescriptorLimit() {
  constexpr rlim_t kUsual = 1024;
  struct rlimit files {};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur <= kUsual) return;
  files.rlim_cur = kUsual;
  setrlimit(RLIMIT_NOFILE, &files);
}

bool MoveDescriptors(const ChildProgram& program, int report) {
  const int out = fcntl(program.stdout_fd, F_DUPFD, kFirstFreeFd);
  const int err = fcntl(program.stderr_fd, F_DUPFD, kFirstFreeFd);
  const int told = fcntl(report, F_DUPFD, kFirstFreeFd);
  const bool moves = program.directory_fd >= 0;
  const int directory = moves ? fcntl(program.directory_fd, F_DUPFD, kFirstFreeFd) : -1;
  if (out < 0 || err < 0 || told < 0 || (moves && directory < 0)) return false;
  if (dup3(told, kReportFd, O_CLOEXEC) < 0) return false;
  const int null = open("/dev/null", O_RDONLY);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0) return false;
  if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) return false;
  if (moves && dup3(directory, kDirectoryFd, O_CLOEXEC) < 0) return false;
  // Before anything that may hang: what the others wait to see closed must not be kept open here.
  CloseFrom(moves ? kDirectoryFd + 1 : kReportFd + 1);
  return true;
}

// The child until it is the program: nothing but calls that are safe beside the threads of the
// parent, in its memory. Not inlined, so that what it keeps on the stack is below what the parent
// keeps there. The signal is asked for first, and looked after at once.
[[noreturn, gnu::noinline]] void Become(const ChildProgram& program, const Parent& parent,
                                        int report) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!Lives(parent)) _exit(127);
  bool done = setpgid(0, 0) == 0 && MoveDescriptors(program, report);
  if (done) {
    report = kReportFd;
    DefaultAllHandlers();
    done = program.directory_fd < 0 || fchdir(kDirectoryFd) == 0;
  }
  if (done && Limit(RLIMIT_CPU, program.cpu_seconds) &&
      Limit(RLIMIT_AS, program.address_space_bytes)) {
    LowerDescriptorLimit();
    UnblockSignals();
    execve(program.path, program.argv, program.environment);
  }
  const int error = errno;
  while (write(report, &error, sizeof(error)) < 0 && errno == EINTR) {
  }
  _exit(127);
}

}  // namespace

int StartChild(const ChildProgram& program, pid_t* pid) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return errno;
  const UniqueFd told(fds[0]);
  UniqueFd report(fds[1]);
  const Parent parent{getpid(), static_cast<pid_t>(syscall(SYS_gettid))};
  *pid = vfork();
  if (*pid == 0) Become(program, parent, report.get());
  if (*pid < 0) return errno;
  report.Reset();
  int error = 0;
  if (RetryOnEintr([&] { return read(told.get(), &error, sizeof(error)); }) <= 0) return 0;
  RetryOnEintr([&] { return waitpid(*pid, nullptr, 0); });
  return error;
}

}  // namespace cairn
