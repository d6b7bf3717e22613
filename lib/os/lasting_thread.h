// Threads that end only with the process.
//
// Linux sends a child its parent-death signal when the thread that made it ends, not the process. So
// children are made on threads that do not end before.
#ifndef CAIRN_LIB_OS_LASTING_THREAD_H_
#define CAIRN_LIB_OS_LASTING_THREAD_H_

#include <functional>

#include "absl/status/status.h"

namespace cairn {

// Runs `work` on such a thread, which has the caller's priority and blocks all signals, and returns
// when it is done. Thread-safe: whoever calls meanwhile gets another thread, so that work that
// hangs holds up nobody else. INTERNAL when no thread can be started.
absl::Status RunOnLastingThread(const std::function<void()>& work);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_LASTING_THREAD_H_
