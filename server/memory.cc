#include "server/memory.h"

#include <malloc.h>

#include <cstddef>

namespace cairn {

void ReturnFreeMemory() {
  // What the next calls will want again.
  constexpr size_t kKept = size_t{32} << 20;
  const struct mallinfo2 info = mallinfo2();
  if (info.fordblks > kKept + info.uordblks / 2) malloc_trim(0);
}

}  // namespace cairn
