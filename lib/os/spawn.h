// One child process, from its start to its reaping: the mechanics below ProcessRunner.
#ifndef CAIRN_LIB_OS_SPAWN_H_
#define CAIRN_LIB_OS_SPAWN_H_

#include <sys/types.h>

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/os/process.h"
#include "lib/os/unique_fd.h"

namespace cairn {

struct Child {
  pid_t pid = -1;  // also its process group
  UniqueFd pidfd;  // readable once it ended
};

struct Pipe {
  UniqueFd read;  // does not block
  UniqueFd write;
};
absl::StatusOr<Pipe> MakePipe();

// "qemu-img" for "/usr/bin/qemu-img".
std::string_view ToolName(const std::string& path);

// Starts `spec.argv` under the limits of `spec`, with these as its standard output and error and
// /dev/null as its standard input. TOOL_MISSING when it is not installed. The child does not outlive
// this process, however that ends: the kernel kills it then.
absl::StatusOr<Child> Spawn(const ProcessSpec& spec, int stdout_fd, int stderr_fd);

// To the whole group. The child must not have been reaped: until then its number is not reused.
void SignalGroup(const Child& child, int signal);

// False when `timeout` passed before the child ended.
bool WaitForEnd(const Child& child, absl::Duration timeout);

// Waits for the end of the child if need be. Call it once.
void Reap(const Child& child, int* exit_code, int* signal);

// poll(2)'s form: rounded up, -1 for no limit.
int PollTimeoutMs(absl::Duration timeout);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_SPAWN_H_
