#include "lib/image/qemu_map.h"

#include <algorithm>

#include "lib/base/json.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/qcow2_layout.h"

namespace cairn {
namespace {

// A line is about 120 bytes.
constexpr size_t kLineBytesMax = 64 * 1024;
// Base ranges that are remembered; the rest counts as not allocated, which keeps the sum an upper
// bound.
constexpr size_t kBaseRangesMax = size_t{4} << 20;
// A host cluster or file system block is allocated whole.
constexpr int64_t kAllocationUnit = qcow2::kClusterBytes;
constexpr int64_t kBytesPerL2 = 512 * kMiB;
constexpr int64_t kBytesPerRefcountBlock = 2 * kGiB;

}  // namespace

void MapReader::Feed(std::string_view piece) {
  while (!piece.empty() && status_.ok()) {
    const size_t end = piece.find('\n');
    partial_ += piece.substr(0, end);
    if (partial_.size() > kLineBytesMax) {
      status_ = Error(Reason::kToolFailed, "qemu-img map: a line is too long");
      return;
    }
    if (end == std::string_view::npos) return;
    TakeLine(partial_);
    partial_.clear();
    piece.remove_prefix(end + 1);
  }
}

absl::Status MapReader::Finish() {
  if (status_.ok()) TakeLine(partial_);
  return status_;
}

void MapReader::TakeLine(std::string_view line) {
  const size_t begin = line.find('{');
  const size_t end = line.rfind('}');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) {
    if (line.find_first_not_of("[] \r,") == std::string_view::npos) return;
    status_ = Error(Reason::kToolFailed, "qemu-img map: a line is not a JSON object");
    return;
  }
  auto json = ParseJson("qemu-img map", line.substr(begin, end - begin + 1));
  if (!json.ok()) {
    status_ = json.status();
    return;
  }
  MapEntry entry;
  entry.start = JsonValue<int64_t>(*json, "start", -1);
  entry.length = JsonValue<int64_t>(*json, "length", -1);
  if (entry.start < 0 || entry.length < 0 || entry.start > qcow2::kFileBytesMax ||
      entry.length > qcow2::kFileBytesMax) {
    status_ = Error(Reason::kToolFailed, "qemu-img map: an entry without a range");
    return;
  }
  entry.in_this_file = JsonValue<int64_t>(*json, "depth", -1) == 0;
  // A preallocated cluster whose place in the file is a hole is "data" and "zero".
  entry.data = JsonValue<bool>(*json, "data", false) && !JsonValue<bool>(*json, "zero", false);
  on_entry_(entry);
}

void CommitMeter::AddBase(const MapEntry& entry) {
  if (!entry.in_this_file || !entry.data) return;
  const int64_t end = entry.start + entry.length;
  if (!base_.empty() && base_.back().end == entry.start) {
    base_.back().end = end;
  } else if (base_.size() < kBaseRangesMax) {
    base_.push_back({entry.start, end});
  }
}

void CommitMeter::AddLayer(const MapEntry& entry) {
  if (!entry.in_this_file || !entry.data) return;
  int64_t begin = entry.start;
  const int64_t end = entry.start + entry.length;
  while (next_base_ < base_.size() && base_[next_base_].end <= begin) ++next_base_;
  for (size_t i = next_base_; i < base_.size() && base_[i].begin < end; ++i) {
    if (base_[i].begin > begin) AddNew(begin, base_[i].begin);
    begin = std::max(begin, base_[i].end);
  }
  if (begin < end) AddNew(begin, end);
}

void CommitMeter::AddNew(int64_t begin, int64_t end) {
  begin = std::max(counted_to_, begin / kAllocationUnit * kAllocationUnit);
  end = qcow2::RoundUp(end, kAllocationUnit);
  if (begin >= end) return;
  data_bytes_ += end - begin;
  counted_to_ = end;
  const int64_t first_l2 = std::max(last_l2_ + 1, begin / kBytesPerL2);
  const int64_t last_l2 = (end - 1) / kBytesPerL2;
  l2_tables_ += std::max<int64_t>(0, last_l2 - first_l2 + 1);
  last_l2_ = std::max(last_l2_, last_l2);
}

int64_t CommitMeter::new_bytes() const {
  if (data_bytes_ == 0 || base_format_ == FileFormat::kRaw) return data_bytes_;
  // One more refcount block as a run may cross the edge of one, and one for their table.
  const int64_t tables = l2_tables_ + data_bytes_ / kBytesPerRefcountBlock + 2;
  return data_bytes_ + tables * qcow2::kClusterBytes;
}

}  // namespace cairn
