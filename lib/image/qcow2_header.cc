#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/format.h"
#include "lib/base/status.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_layout.h"

namespace cairn {
namespace qcow2 {
namespace {

// Enough for every header seen in practice: one read and one page.
constexpr int64_t kFirstReadBytes = 4096;
// qemu's limit (sizeof(BlockDriverState.backing_format) - 1).
constexpr size_t kBackingFormatBytesMax = 15;
constexpr uint32_t kSnapshotsMax = 65536;
constexpr uint32_t kClusterBitsMin = 9;
constexpr uint32_t kClusterBitsMax = 21;
// Smaller clusters cannot hold 32 subclusters of a sector each (section "Extended L2 Entries").
constexpr uint32_t kExtendedL2ClusterBitsMin = 14;

// Reads the first `length` bytes unless `bytes` holds them already. Shorter only at the file's end.
absl::Status ReadUpTo(File& file, int64_t length, std::string& bytes) {
  if (static_cast<int64_t>(bytes.size()) >= length) return absl::OkStatus();
  ASSIGN_OR_RETURN(bytes, file.ReadAt(0, length));
  return absl::OkStatus();
}

absl::Status DecodeVersion3Fields(const std::string& bytes, Qcow2Header& header) {
  if (header.version == 2) {
    header.refcount_order = 4;
    header.header_length = kHeaderLengthV2;
    return absl::OkStatus();
  }
  if (bytes.size() < kHeaderLengthV3) return Corrupt("the header is truncated");
  header.incompatible_features = Load64(bytes, kIncompatibleAt);
  header.compatible_features = Load64(bytes, kCompatibleAt);
  header.autoclear_features = Load64(bytes, kAutoclearAt);
  header.refcount_order = Load32(bytes, kRefcountOrderAt);
  header.header_length = Load32(bytes, kHeaderLengthAt);
  const uint64_t unknown = header.incompatible_features & ~kIncompatibleKnown;
  if (unknown != 0) {
    return Error(Reason::kImageUnsafe,
                 fmt::format("qcow2 header: unknown incompatible features {:#x}", unknown));
  }
  if (header.refcount_order > 6) {
    return Corrupt(fmt::format("refcount order {}", header.refcount_order));
  }
  if (header.header_length < kHeaderLengthV3 ||
      header.header_length > (uint32_t{1} << header.cluster_bits)) {
    return Corrupt(fmt::format("header length {}", header.header_length));
  }
  if ((header.incompatible_features & kIncompatibleExtendedL2) != 0 &&
      header.cluster_bits < kExtendedL2ClusterBitsMin) {
    return Corrupt("extended L2 entries with clusters that small");
  }
  return absl::OkStatus();
}

// The fields of section "Header", in an order such that no later check uses an unchecked value.
absl::Status DecodeFixedFields(const std::string& bytes, HeaderBlock& block) {
  if (bytes.size() < kHeaderLengthV2) return Corrupt("the header is truncated");
  if (Load32(bytes, kMagicAt) != kMagic) return Corrupt("no qcow2 magic");
  Qcow2Header& header = block.header;
  header.version = Load32(bytes, kVersionAt);
  if (header.version != 2 && header.version != 3) {
    return Corrupt(fmt::format("version {}", header.version));
  }
  header.cluster_bits = Load32(bytes, kClusterBitsAt);
  if (header.cluster_bits < kClusterBitsMin || header.cluster_bits > kClusterBitsMax) {
    return Corrupt(fmt::format("cluster bits {}", header.cluster_bits));
  }
  const uint64_t size = Load64(bytes, kSizeAt);
  if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return Corrupt(fmt::format("virtual size {}", size));
  }
  header.virtual_size = static_cast<int64_t>(size);
  header.crypt_method = Load32(bytes, kCryptMethodAt);
  if (header.crypt_method > 2) return Corrupt(fmt::format("crypt method {}", header.crypt_method));
  header.l1_size = Load32(bytes, kL1SizeAt);
  header.l1_table_offset = Load64(bytes, kL1OffsetAt);
  header.refcount_table_offset = Load64(bytes, kRefcountTableOffsetAt);
  header.refcount_table_clusters = Load32(bytes, kRefcountTableClustersAt);
  header.snapshot_count = Load32(bytes, kSnapshotCountAt);
  block.snapshots_offset = Load64(bytes, kSnapshotsOffsetAt);
  return DecodeVersion3Fields(bytes, header);
}

// A table must lie on a cluster of its own inside the file. Its last cluster may be cut: qemu ends
// a new file right behind the last entry.
absl::Status CheckTable(const HeaderBlock& block, std::string_view what, uint64_t offset,
                        int64_t length) {
  const auto cluster_bytes = static_cast<uint64_t>(block.cluster_bytes());
  const auto end_max =
      static_cast<uint64_t>(RoundUp(block.file_bytes, static_cast<int64_t>(cluster_bytes)));
  if (offset % cluster_bytes != 0) return Corrupt(fmt::format("{} is not aligned", what));
  if (offset == 0) return Corrupt(fmt::format("{} overlaps the header", what));
  if (offset > end_max || static_cast<uint64_t>(length) > end_max - offset) {
    return Corrupt(fmt::format("{} lies outside the file", what));
  }
  return absl::OkStatus();
}

absl::Status CheckTables(const HeaderBlock& block) {
  const Qcow2Header& header = block.header;
  if (header.l1_size > kL1BytesMax / 8) return Corrupt(fmt::format("L1 size {}", header.l1_size));
  if (DivideUp(header.virtual_size, block.bytes_per_l1_entry()) > header.l1_size) {
    return Corrupt(fmt::format("L1 table of {} entries is too small for {} bytes", header.l1_size,
                               header.virtual_size));
  }
  if (header.l1_size > 0) {
    RETURN_IF_ERROR(
        CheckTable(block, "L1 table", header.l1_table_offset, int64_t{header.l1_size} * 8));
  }
  const int64_t refcount_table_bytes = header.refcount_table_clusters * block.cluster_bytes();
  if (refcount_table_bytes == 0 || refcount_table_bytes > kRefcountTableBytesMax) {
    return Corrupt(fmt::format("refcount table of {} clusters", header.refcount_table_clusters));
  }
  RETURN_IF_ERROR(
      CheckTable(block, "refcount table", header.refcount_table_offset, refcount_table_bytes));
  const uint64_t l1_end = header.l1_table_offset + uint64_t{header.l1_size} * 8;
  const uint64_t refcount_table_end =
      header.refcount_table_offset + static_cast<uint64_t>(refcount_table_bytes);
  if (header.l1_size > 0 && header.l1_table_offset < refcount_table_end &&
      header.refcount_table_offset < l1_end) {
    return Corrupt("L1 table and refcount table overlap");
  }
  if (header.snapshot_count > kSnapshotsMax) {
    return Corrupt(fmt::format("{} internal snapshots", header.snapshot_count));
  }
  if (header.snapshot_count > 0) {
    RETURN_IF_ERROR(CheckTable(block, "snapshot table", block.snapshots_offset, 0));
  }
  return absl::OkStatus();
}

// Keeps what an extension says about the image; a second one of the same kind is nothing a writer
// makes, and readers disagree on which counts.
absl::Status TakeExtension(HeaderBlock& block, Extension extension) {
  Qcow2Header& header = block.header;
  if (block.HasExtension(extension.type)) {
    return Corrupt(fmt::format("two header extensions {:#x}", extension.type));
  }
  if (extension.type == kExtensionBackingFormat) {
    if (extension.data.size() > kBackingFormatBytesMax) {
      return Corrupt("the backing format is too long");
    }
    header.backing_format = extension.data;
  } else if (extension.type == kExtensionDataFile) {
    if (extension.data.size() > kBackingNameBytesMax) {
      return Corrupt("the data file's name is too long");
    }
    header.data_file = extension.data;
  } else if (extension.type == kExtensionBitmaps && extension.data.size() >= 4) {
    header.bitmap_count = Load32(extension.data, 0);
  }
  block.extensions.push_back(std::move(extension));
  return absl::OkStatus();
}

// Section "Header extensions": type, length, data padded to 8 bytes; they end at type 0, or where
// the backing name or the cluster ends.
absl::Status DecodeExtensions(File& file, int64_t end, std::string& bytes, HeaderBlock& block) {
  // Far more than all that are defined; bounds the search for doubles.
  constexpr size_t kExtensionsMax = 64;
  int64_t at = block.header.header_length;
  while (end - at >= 8) {
    RETURN_IF_ERROR(ReadUpTo(file, at + 8 <= kFirstReadBytes ? at + 8 : end, bytes));
    if (static_cast<int64_t>(bytes.size()) < at + 8) break;  // the file ends: as good as type 0
    Extension extension;
    extension.type = Load32(bytes, static_cast<size_t>(at));
    const int64_t length = Load32(bytes, static_cast<size_t>(at) + 4);
    at += 8;
    if (extension.type == kExtensionEnd) break;
    if (length > end - at) return Corrupt("a header extension is too long");
    RETURN_IF_ERROR(ReadUpTo(file, at + length <= kFirstReadBytes ? at + length : end, bytes));
    if (static_cast<int64_t>(bytes.size()) < at + length) {
      return Corrupt("a header extension is truncated");
    }
    extension.data = bytes.substr(static_cast<size_t>(at), static_cast<size_t>(length));
    if (block.extensions.size() >= kExtensionsMax) return Corrupt("too many header extensions");
    RETURN_IF_ERROR(TakeExtension(block, std::move(extension)));
    at = std::min(end, at + RoundUp(length, 8));
  }
  block.used_bytes = at;
  return absl::OkStatus();
}

// The backing name is in the first cluster, behind everything else.
absl::Status DecodeBackingName(File& file, uint64_t offset, std::string& bytes,
                               HeaderBlock& block) {
  if (offset == 0) return absl::OkStatus();
  const uint32_t length = Load32(bytes, kBackingSizeAt);
  const auto cluster_bytes = static_cast<uint64_t>(block.cluster_bytes());
  if (length > kBackingNameBytesMax) {
    return Corrupt(fmt::format("a backing name of {} bytes", length));
  }
  if (length > cluster_bytes - offset) return Corrupt("the backing name leaves the first cluster");
  const auto end = static_cast<int64_t>(offset) + length;
  RETURN_IF_ERROR(ReadUpTo(file, end, bytes));
  if (static_cast<int64_t>(bytes.size()) < end) return Corrupt("the backing name is truncated");
  block.header.backing_file = bytes.substr(static_cast<size_t>(offset), length);
  block.used_bytes = std::max(block.used_bytes, end);
  return absl::OkStatus();
}

}  // namespace

absl::Status Corrupt(std::string problem) {
  return Error(Reason::kImageCorrupt, fmt::format("qcow2 header: {}", problem));
}

bool HeaderBlock::HasExtension(uint32_t type) const {
  return std::any_of(extensions.begin(), extensions.end(),
                     [type](const Extension& extension) { return extension.type == type; });
}

absl::StatusOr<HeaderBlock> ReadHeaderBlock(File& file) {
  HeaderBlock block;
  ASSIGN_OR_RETURN(FileStat stat, file.Stat());
  block.file_bytes = stat.size_bytes;
  // Also keeps every sum below in range.
  if (block.file_bytes > kFileBytesMax) return Corrupt("the file is too large");
  ASSIGN_OR_RETURN(std::string bytes, file.ReadAt(0, kFirstReadBytes));
  RETURN_IF_ERROR(DecodeFixedFields(bytes, block));
  RETURN_IF_ERROR(CheckTables(block));
  const Qcow2Header& header = block.header;
  RETURN_IF_ERROR(ReadUpTo(file, header.header_length, bytes));
  if (bytes.size() < header.header_length) return Corrupt("the header is truncated");
  block.fixed = bytes.substr(0, header.header_length);

  const uint64_t backing_offset = Load64(bytes, kBackingOffsetAt);
  if (backing_offset > static_cast<uint64_t>(block.cluster_bytes())) {
    return Corrupt("the backing name lies outside the first cluster");
  }
  if (backing_offset != 0 && backing_offset < header.header_length) {
    return Corrupt("the backing name overlaps the header");
  }
  const int64_t extensions_end =
      backing_offset != 0 ? static_cast<int64_t>(backing_offset) : block.cluster_bytes();
  RETURN_IF_ERROR(DecodeExtensions(file, extensions_end, bytes, block));
  RETURN_IF_ERROR(DecodeBackingName(file, backing_offset, bytes, block));
  return block;
}

absl::StatusOr<std::string> EncodeHeaderBlock(const HeaderBlock& block) {
  const Qcow2Header& header = block.header;
  std::string bytes = block.fixed;
  auto append = [&bytes](uint32_t type, std::string_view data) {
    const size_t at = bytes.size();
    bytes.resize(at + 8 + static_cast<size_t>(RoundUp(static_cast<int64_t>(data.size()), 8)));
    Store32(bytes, at, type);
    Store32(bytes, at + 4, static_cast<uint32_t>(data.size()));
    bytes.replace(at + 8, data.size(), data);
  };
  if (!header.backing_format.empty()) append(kExtensionBackingFormat, header.backing_format);
  for (const Extension& extension : block.extensions) {
    if (extension.type != kExtensionBackingFormat) append(extension.type, extension.data);
  }
  append(kExtensionEnd, {});
  const bool backed = !header.backing_file.empty();
  Store64(bytes, kBackingOffsetAt, backed ? bytes.size() : 0);
  Store32(bytes, kBackingSizeAt, static_cast<uint32_t>(header.backing_file.size()));
  bytes += header.backing_file;
  if (static_cast<int64_t>(bytes.size()) > block.cluster_bytes()) {
    return Corrupt("no room for the backing name in the first cluster");
  }
  return bytes;
}

absl::Status CheckNewBacking(const std::string& name, const std::string& format) {
  if (name.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckBackingName(name));
  if (!FileFormatFromName(format).has_value()) {
    return InvalidField("backing_format", "must be raw or qcow2", format);
  }
  return absl::OkStatus();
}

std::string EncodeNewHeader(const Qcow2Header& header) {
  std::string bytes(header.header_length, '\0');
  Store32(bytes, kMagicAt, kMagic);
  Store32(bytes, kVersionAt, header.version);
  Store32(bytes, kClusterBitsAt, header.cluster_bits);
  Store64(bytes, kSizeAt, static_cast<uint64_t>(header.virtual_size));
  Store32(bytes, kL1SizeAt, header.l1_size);
  Store64(bytes, kL1OffsetAt, header.l1_table_offset);
  Store64(bytes, kRefcountTableOffsetAt, header.refcount_table_offset);
  Store32(bytes, kRefcountTableClustersAt, header.refcount_table_clusters);
  Store32(bytes, kRefcountOrderAt, header.refcount_order);
  Store32(bytes, kHeaderLengthAt, header.header_length);
  return bytes;
}

}  // namespace qcow2

absl::StatusOr<Qcow2Header> ReadQcow2Header(File& file) {
  ASSIGN_OR_RETURN(qcow2::HeaderBlock block, qcow2::ReadHeaderBlock(file));
  return std::move(block.header);
}

absl::Status SetQcow2Backing(File& file, const std::string& backing_file,
                             const std::string& backing_format) {
  RETURN_IF_ERROR(qcow2::CheckNewBacking(backing_file, backing_format));
  ASSIGN_OR_RETURN(qcow2::HeaderBlock block, qcow2::ReadHeaderBlock(file));
  block.header.backing_file = backing_file;
  block.header.backing_format = backing_file.empty() ? std::string() : backing_format;
  // Section "Header", autoclear_features: a writer clears the bits that it does not know.
  if (block.header.version >= 3) {
    qcow2::Store64(block.fixed, qcow2::kAutoclearAt,
                   block.header.autoclear_features & qcow2::kAutoclearKnown);
  }
  ASSIGN_OR_RETURN(std::string bytes, qcow2::EncodeHeaderBlock(block));
  // What the old header used beyond the new one becomes zeros. Only these bytes are written,
  // usually less than a page, which narrows the window in which a crash could tear the write.
  bytes.resize(std::max(bytes.size(), static_cast<size_t>(block.used_bytes)));
  return file.WriteAt(0, bytes);
}

absl::Status CheckBackingName(const std::string& name) {
  constexpr size_t kNameBytesMax = 255;
  auto unsafe = [](std::string_view problem) {
    return Error(Reason::kImageUnsafe, fmt::format("the backing file's name {}", problem));
  };
  if (name.empty()) return unsafe("is empty");
  if (name.size() > kNameBytesMax) return unsafe("is too long");
  if (name == "." || name == "..") return unsafe("is a directory");
  for (char c : name) {
    if (c == '/') return unsafe("has a directory part");
    if (c == ':') return unsafe("could be taken for a protocol");
    if (c < 0x20 || c > 0x7e) return unsafe("has bytes that are not printable ASCII");
  }
  return absl::OkStatus();
}

}  // namespace cairn
