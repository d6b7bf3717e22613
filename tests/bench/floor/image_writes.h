// What Cairn writes into a new image file, found out without a file.
#ifndef CAIRN_TESTS_BENCH_FLOOR_IMAGE_WRITES_H_
#define CAIRN_TESTS_BENCH_FLOOR_IMAGE_WRITES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/image/qcow2.h"

namespace cairn::bench {

struct FileWrite {
  int64_t offset = 0;
  std::string data;
};

// A whole new file: its size, and what is not a hole.
struct FileContent {
  int64_t size_bytes = 0;
  std::vector<FileWrite> writes;
};

// The writes of CreateQcow2, byte for byte.
absl::StatusOr<FileContent> ContentOfQcow2(const Qcow2CreateOptions& options);

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_FLOOR_IMAGE_WRITES_H_
