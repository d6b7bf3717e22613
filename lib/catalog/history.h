// How many operations that have ended the catalog keeps, and how much room they take.
#ifndef CAIRN_LIB_CATALOG_HISTORY_H_
#define CAIRN_LIB_CATALOG_HISTORY_H_

#include <cstdint>

namespace cairn {

struct HistorySize {
  int64_t operations = 0;
  int64_t bytes = 0;  // about what they take in the file (EndedRow::bytes)

  HistorySize& operator+=(const HistorySize& other) {
    operations += other.operations;
    bytes += other.bytes;
    return *this;
  }
};

// What has more is over it; whoever ended longest ago is forgotten first.
struct HistoryBounds {
  int64_t operations_max = 500'000;
  int64_t bytes_max = int64_t{512} << 20;

  bool Hold(const HistorySize& size) const {
    return size.operations <= operations_max && size.bytes <= bytes_max;
  }
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_HISTORY_H_
