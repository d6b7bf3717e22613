// The output of `qemu-img map --output=json`, read as it arrives: the map of a large fragmented
// image has millions of entries. Private to lib/image.
//
// Values only; one user at a time.
#ifndef CAIRN_LIB_IMAGE_QEMU_MAP_H_
#define CAIRN_LIB_IMAGE_QEMU_MAP_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/format.h"

namespace cairn {

struct MapEntry {
  int64_t start = 0;
  int64_t length = 0;
  bool in_this_file = false;  // depth 0: not from the files below
  bool data = false;          // takes room: neither a hole nor known zeros
};

// qemu-img writes an array with one object a line.
class MapReader {
 public:
  explicit MapReader(std::function<void(const MapEntry&)> on_entry)
      : on_entry_(std::move(on_entry)) {}
  void Feed(std::string_view piece);
  // The rest, and what was wrong with any line: TOOL_FAILED.
  absl::Status Finish();

 private:
  void TakeLine(std::string_view line);

  std::function<void(const MapEntry&)> on_entry_;
  std::string partial_;
  absl::Status status_;
};

// Adds up what a commit of a layer newly allocates in its base: the layer's data where the base has
// none. Zeros are not counted: they are punched into a raw file and take no data cluster in a qcow2
// file. First all entries of the base, then all of the layer, each in ascending order.
class CommitMeter {
 public:
  explicit CommitMeter(FileFormat base_format) : base_format_(base_format) {}
  void AddBase(const MapEntry& entry);
  void AddLayer(const MapEntry& entry);
  // With what the new tables of a qcow2 base take at most.
  int64_t new_bytes() const;

 private:
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
  };
  void AddNew(int64_t begin, int64_t end);

  const FileFormat base_format_;
  std::vector<Range> base_;
  size_t next_base_ = 0;
  int64_t data_bytes_ = 0;
  int64_t counted_to_ = 0;
  int64_t l2_tables_ = 0;
  int64_t last_l2_ = -1;
};

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_QEMU_MAP_H_
