// The start of a child process that does not outlive this one: the system calls below Spawn.
//
// posix_spawn(3) cannot ask for a parent-death signal, nor set limits, before the child's own work
// begins. So this is done by hand, in the same way (vfork, whose child borrows our memory until it
// becomes the other program; copying the page tables of a large server would take much longer).
#ifndef CAIRN_LIB_OS_START_CHILD_H_
#define CAIRN_LIB_OS_START_CHILD_H_

#include <sys/types.h>

#include <cstdint>

namespace cairn {

// All memory and descriptors are the caller's.
struct ChildProgram {
  const char* path = nullptr;
  char* const* argv = nullptr;
  char* const* environment = nullptr;
  int stdout_fd = -1;
  int stderr_fd = -1;
  int directory_fd = -1;            // where it works; -1: where we do
  int64_t address_space_bytes = 0;  // limits; 0: none
  int64_t cpu_seconds = 0;
};

// Starts the program in a process group of its own, with /dev/null as its standard input, no other
// descriptors, no signals blocked or ignored, and at most the usual soft limit of descriptors. 0, or the number of the error that kept it from
// becoming the program; then there is no child.
//
// The child gets SIGKILL when the calling thread ends, and ends by itself should that have ended
// before it could ask for this. The calling thread must block all signals. Blocks as long as
// entering the directory does.
int StartChild(const ChildProgram& program, pid_t* pid);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_START_CHILD_H_
