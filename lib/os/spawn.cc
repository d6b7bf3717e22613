#include "lib/os/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "lib/base/status.h"
#include "lib/os/deadline.h"
#include "lib/os/lasting_thread.h"
#include "lib/os/start_child.h"

namespace cairn {
namespace {

constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct ToolPackage {
  std::string_view tool;
  std::string_view package;
};
constexpr std::array kPackages = {
    ToolPackage{"qemu-img", "qemu-utils"},  ToolPackage{"qemu-nbd", "qemu-utils"},
    ToolPackage{"mount", "mount"},          ToolPackage{"umount", "mount"},
    ToolPackage{"mount.nfs", "nfs-common"}, ToolPackage{"mount.nfs4", "nfs-common"},
};

absl::Status ToolMissing(const std::string& tool) {
  ErrorMetadata metadata{{"tool", tool}};
  std::string message = fmt::format("{} is not installed", tool);
  for (const auto& [known, package] : kPackages) {
    if (known != ToolName(tool)) continue;
    metadata["package"] = package;
    message += fmt::format(": install package {}", package);
  }
  return Error(Reason::kToolMissing, std::move(message), std::move(metadata));
}

absl::Status SpawnFailed(int error_number, std::string_view attempted, const std::string& tool) {
  // Not ErrnoError: its reasons are about files on shares.
  const char* text = strerrordesc_np(error_number);
  return Error(Reason::kToolFailed, fmt::format("{} for {}: {}", attempted, tool, text ? text : ""),
               {{"tool", tool}, {"errno", std::to_string(error_number)}});
}

std::string SearchPath() {
  const char* path = getenv("PATH");
  return path != nullptr && *path != '\0' ? path : kDefaultPath;
}

bool IsProgram(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && access(path.c_str(), X_OK) == 0;
}

absl::StatusOr<std::string> FindTool(const std::string& tool) {
  if (tool.empty()) return Error(Reason::kInternal, "a child process without a command");
  if (tool.find('/') != std::string::npos) {
    if (IsProgram(tool)) return tool;
    return ToolMissing(tool);
  }
  std::string directories = SearchPath();
  for (size_t begin = 0; begin <= directories.size();) {
    size_t end = std::min(directories.find(':', begin), directories.size());
    std::string path = directories.substr(begin, end - begin) + "/" + tool;
    // An empty entry of PATH means the working directory; nothing of ours is looked for there.
    if (end > begin && IsProgram(path)) return path;
    begin = end + 1;
  }
  return ToolMissing(tool);
}

absl::StatusOr<std::vector<std::string>> CommandLine(const ProcessSpec& spec) {
  if (spec.argv.empty()) return Error(Reason::kInternal, "a child process without a command");
  std::vector<std::string> command;
  ASSIGN_OR_RETURN(std::string tool, FindTool(spec.argv[0]));
  command.push_back(tool);
  command.insert(command.end(), spec.argv.begin() + 1, spec.argv.end());
  return command;
}

// What `command` becomes; the child's environment is its own.
int Start(const ProcessSpec& spec, std::vector<std::string>& command, const UniqueFd& directory,
          int stdout_fd, int stderr_fd, pid_t* pid) {
  std::string path = "PATH=" + SearchPath();
  std::string locale = "LC_ALL=C";  // messages and numbers are parsed
  const std::array<char*, 3> environment = {path.data(), locale.data(), nullptr};
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  return StartChild({.path = argv[0],
                     .argv = argv.data(),
                     .environment = environment.data(),
                     .stdout_fd = stdout_fd,
                     .stderr_fd = stderr_fd,
                     .directory_fd = directory.get(),
                     .address_space_bytes = spec.address_space_bytes,
                     .cpu_seconds = spec.cpu_seconds},
                    pid);
}

}  // namespace

std::string_view ToolName(const std::string& path) {
  return std::string_view(path).substr(path.find_last_of('/') + 1);
}

absl::StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe2");
  Pipe pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
  // Only this end: the child's writes must wait for us.
  if (fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError(errno, "fcntl");
  return pipe;
}

absl::StatusOr<Child> Spawn(const ProcessSpec& spec, int stdout_fd, int stderr_fd) {
  ASSIGN_OR_RETURN(std::vector<std::string> command, CommandLine(spec));
  const std::string tool(ToolName(spec.argv[0]));
  UniqueFd directory;
  if (!spec.working_directory.empty()) {
    // Here, as it may hang as long as its share does.
    directory = UniqueFd(open(spec.working_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return SpawnFailed(errno, "chdir", tool);
  }
  Child child;
  int error = 0;
  RETURN_IF_ERROR(RunOnLastingThread(
      [&] { error = Start(spec, command, directory, stdout_fd, stderr_fd, &child.pid); }));
  if (error != 0) return SpawnFailed(error, "exec", tool);
  // Not pidfd_open(): glibc 2.36 declares it without C linkage.
  child.pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, child.pid, 0)));
  if (!child.pidfd.valid()) {
    error = errno;
    SignalGroup(child, SIGKILL);
    int exit_code;
    int signal;
    Reap(child, &exit_code, &signal);
    return SpawnFailed(error, "pidfd_open", tool);
  }
  return child;
}

void SignalGroup(const Child& child, int signal) { kill(-child.pid, signal); }

bool WaitForEnd(const Child& child, absl::Duration timeout) {
  const Deadline deadline(timeout);
  while (true) {
    pollfd ended{child.pidfd.get(), POLLIN, 0};
    int n = poll(&ended, 1, PollTimeoutMs(deadline.left()));
    if (n > 0) return true;
    if (n == 0 && deadline.passed()) return false;
  }
}

void Reap(const Child& child, int* exit_code, int* signal) {
  int status = 0;
  *exit_code = -1;
  *signal = 0;
  if (RetryOnEintr([&] { return waitpid(child.pid, &status, 0); }) < 0) return;
  if (WIFEXITED(status)) *exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) *signal = WTERMSIG(status);
}

int PollTimeoutMs(absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return -1;
  timeout = std::clamp(timeout, absl::ZeroDuration(), absl::Hours(1));
  return static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(timeout, absl::Milliseconds(1))));
}

}  // namespace cairn
