// Memory that is free, but that malloc keeps: after a burst of large answers it may be most of what
// the process holds.
#ifndef CAIRN_SERVER_MEMORY_H_
#define CAIRN_SERVER_MEMORY_H_

namespace cairn {

// Gives it back to the system when there is much of it. Takes some milliseconds then; to be called
// now and then, not after each call.
void ReturnFreeMemory();

}  // namespace cairn

#endif  // CAIRN_SERVER_MEMORY_H_
