#include "lib/image/qcow2_mapping.h"

#include <fmt/format.h>

#include "lib/base/status.h"
#include "lib/base/strings.h"

namespace cairn::qcow2 {
namespace {

// Of each table: 64 TiB of guest data with clusters of 64 KiB. Bounds what a header can make us
// read.
constexpr int64_t kTableBytesMax = int64_t{1} << 20;

}  // namespace

absl::Status NotPlain(std::string_view what) {
  return absl::UnimplementedError(fmt::format("not a plain image: {}", what));
}

absl::Status CorruptIsNotPlain(const absl::Status& status) {
  const bool corrupt =
      HasReason(status, Reason::kImageCorrupt) || HasReason(status, Reason::kImageUnsafe);
  return corrupt ? NotPlain(ToStd(status.message())) : status;
}

absl::StatusOr<PlainImage> PlainImage::Load(File* file) {
  PlainImage image(file);
  auto block = ReadHeaderBlock(*file);
  RETURN_IF_ERROR(CorruptIsNotPlain(block.status()));
  image.block_ = *std::move(block);
  RETURN_IF_ERROR(image.CheckHeader());
  const Qcow2Header& header = image.block_.header;
  const int64_t l1_bytes = int64_t{header.l1_size} * 8;
  ASSIGN_OR_RETURN(image.l1_, file->ReadAt(static_cast<int64_t>(header.l1_table_offset), l1_bytes));
  image.l1_.resize(static_cast<size_t>(l1_bytes));
  RETURN_IF_ERROR(image.CheckL1());
  return image;
}

absl::Status PlainImage::CheckHeader() const {
  const Qcow2Header& header = block_.header;
  if (header.incompatible_features != 0) return NotPlain("incompatible features");
  if (header.autoclear_features != 0) return NotPlain("autoclear features");
  if (header.snapshot_count != 0) return NotPlain("internal snapshots");
  if (header.crypt_method != 0) return NotPlain("encryption");
  if (block_.HasExtension(kExtensionBitmaps)) return NotPlain("bitmaps");
  if (block_.HasExtension(kExtensionDataFile)) return NotPlain("a data file");
  if (int64_t{header.l1_size} * 8 > kTableBytesMax) return NotPlain("a large L1 table");
  if (header.refcount_table_clusters * cluster_bytes() > kTableBytesMax) {
    return NotPlain("a large refcount table");
  }
  return absl::OkStatus();
}

absl::Status PlainImage::CheckL1() const {
  for (size_t at = 0; at < l1_.size(); at += 8) {
    const uint64_t entry = Load64(l1_, at);
    if (entry == 0) continue;
    if ((entry & ~(kHostOffsetMask | kCopied)) != 0) return NotPlain("reserved bits in L1");
    RETURN_IF_ERROR(CheckHost(entry & kHostOffsetMask));
  }
  return absl::OkStatus();
}

// The last cluster of a file may be cut; what is missing reads as zeros.
absl::Status PlainImage::CheckHost(uint64_t host) const {
  const auto cluster = static_cast<uint64_t>(cluster_bytes());
  if (host == 0 || host % cluster != 0) return NotPlain("an offset that is not aligned");
  if (host >= static_cast<uint64_t>(block_.file_bytes)) {
    return NotPlain("an offset outside the file");
  }
  return absl::OkStatus();
}

Mapping PlainImage::Table(int64_t index) const {
  const auto at = static_cast<size_t>(index) * 8;
  if (at >= l1_.size()) return {};
  const uint64_t entry = Load64(l1_, at);
  return {.host = static_cast<int64_t>(entry & kHostOffsetMask),
          .zeros = false,
          .alone = (entry & kCopied) != 0};
}

absl::StatusOr<std::string> PlainImage::ReadTable(int64_t index) const {
  ASSIGN_OR_RETURN(std::string table, file_->ReadAt(Table(index).host, cluster_bytes()));
  table.resize(static_cast<size_t>(cluster_bytes()));
  return table;
}

absl::StatusOr<Mapping> PlainImage::Decode(std::string_view table, int64_t at) const {
  const uint64_t entry = Load64(table, static_cast<size_t>(at) * 8);
  if (entry == 0) return Mapping{};
  if ((entry & kCompressed) != 0) return NotPlain("compressed clusters");
  const uint64_t known =
      kHostOffsetMask | kCopied | (block_.header.version >= 3 ? kReadsAsZeros : 0);
  if ((entry & ~known) != 0) return NotPlain("reserved bits in L2");
  const uint64_t host = entry & kHostOffsetMask;
  const bool zeros = (entry & kReadsAsZeros) != 0;
  const bool alone = (entry & kCopied) != 0;
  if (host == 0 && zeros && !alone) return Mapping{.host = 0, .zeros = true, .alone = false};
  RETURN_IF_ERROR(CheckHost(host));
  return Mapping{.host = static_cast<int64_t>(host), .zeros = zeros, .alone = alone};
}

std::vector<int64_t> PlainImage::MetadataClusters() const {
  std::vector<int64_t> clusters{0};
  const auto add = [&](uint64_t offset, int64_t bytes) {
    const int64_t first = static_cast<int64_t>(offset) / cluster_bytes();
    for (int64_t i = 0; i < DivideUp(bytes, cluster_bytes()); ++i) clusters.push_back(first + i);
  };
  const Qcow2Header& header = block_.header;
  add(header.l1_table_offset, int64_t{header.l1_size} * 8);
  add(header.refcount_table_offset, header.refcount_table_clusters * cluster_bytes());
  for (size_t at = 0; at < l1_.size(); at += 8) {
    const uint64_t host = Load64(l1_, at) & kHostOffsetMask;
    if (host != 0) add(host, cluster_bytes());
  }
  return clusters;
}

}  // namespace cairn::qcow2
