#include "tests/unit/engine/faults/guest_content.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>

#include "lib/os/unique_fd.h"

namespace cairn::testing {
namespace {

constexpr uint64_t kOffsetBits = 0x00fffffffffffe00;
constexpr uint64_t kCopied = uint64_t{1} << 63;
constexpr uint64_t kCompressed = uint64_t{1} << 62;
constexpr uint64_t kReadsAsZeros = 1;
constexpr int64_t kTableEntries = kGuestCluster / 8;
constexpr int kLayersMax = 64;

class Image {
 public:
  // Empty when there is no such file, or it is none.
  static std::unique_ptr<Image> Open(const std::string& path, FileFormat format, int flags) {
    auto image = std::make_unique<Image>();
    image->fd_ = UniqueFd(open(path.c_str(), flags | O_CLOEXEC));
    if (!image->fd_.valid()) return nullptr;
    if (format == FileFormat::kRaw) {
      image->size_ = image->FileBytes();
      return image;
    }
    image->is_qcow2_ = true;
    return image->ReadHeader() ? std::move(image) : nullptr;
  }

  int64_t size() const { return size_; }
  const std::string& backing_file() const { return backing_file_; }
  FileFormat backing_format() const { return backing_format_; }

  // The bytes of a cluster; nothing where what lies below shows.
  std::optional<std::string> Read(int64_t cluster) const {
    if (!is_qcow2_) return Bytes(cluster * kGuestCluster, kGuestCluster);
    const uint64_t entry = Entry(cluster);
    if ((entry & kCompressed) != 0) return "compressed";
    if ((entry & kReadsAsZeros) != 0) return std::string(kGuestCluster, '\0');
    if ((entry & kOffsetBits) == 0) return std::nullopt;
    return Bytes(static_cast<int64_t>(entry & kOffsetBits), kGuestCluster);
  }

  bool Write(int64_t cluster, const std::string& bytes) {
    if (!is_qcow2_) return Put(cluster * kGuestCluster, bytes);
    const int64_t l1_at = l1_offset_ + cluster / kTableEntries * 8;
    uint64_t table = Load(l1_at) & kOffsetBits;
    if (table == 0) {
      table = Take();
      if (table == 0 || !Store(l1_at, table | kCopied)) return false;
    }
    const int64_t at = static_cast<int64_t>(table) + cluster % kTableEntries * 8;
    uint64_t data = Load(at) & kOffsetBits;
    if (data == 0) data = Take();
    return data != 0 && Put(static_cast<int64_t>(data), bytes) && Store(at, data | kCopied);
  }

 private:
  bool ReadHeader() {
    constexpr uint32_t kMagic = 0x514649fb;
    constexpr uint32_t kBackingFormat = 0xe2792aca;
    const std::string header = Bytes(0, kGuestCluster);
    if (Number(header, 0, 4) != kMagic || Number(header, 20, 4) != 16) return false;
    size_ = static_cast<int64_t>(Number(header, 24, 8));
    l1_entries_ = static_cast<int64_t>(Number(header, 36, 4));
    l1_offset_ = static_cast<int64_t>(Number(header, 40, 8));
    refcount_table_ = static_cast<int64_t>(Number(header, 48, 8));
    backing_file_ = header.substr(Number(header, 8, 8), Number(header, 16, 4));
    for (size_t at = Number(header, 100, 4); Number(header, at, 4) != 0;) {
      const size_t length = Number(header, at + 4, 4);
      if (Number(header, at, 4) == kBackingFormat && header.substr(at + 8, length) == "qcow2") {
        backing_format_ = FileFormat::kQcow2;
      }
      at += 8 + (length + 7) / 8 * 8;
    }
    return true;
  }

  uint64_t Entry(int64_t cluster) const {
    if (cluster / kTableEntries >= l1_entries_) return 0;
    if (table_of_ != cluster / kTableEntries) {
      table_of_ = cluster / kTableEntries;
      const uint64_t table = Load(l1_offset_ + table_of_ * 8) & kOffsetBits;
      table_ = table == 0 ? "" : Bytes(static_cast<int64_t>(table), kGuestCluster);
    }
    return table_.empty() ? 0 : Number(table_, static_cast<size_t>(cluster % kTableEntries) * 8, 8);
  }

  // A new cluster at the end of the file, counted once.
  uint64_t Take() {
    const int64_t cluster = (FileBytes() + kGuestCluster - 1) / kGuestCluster;
    const auto block = static_cast<int64_t>(Load(refcount_table_) & kOffsetBits);
    const bool taken = Put(block + cluster * 2, std::string("\0\1", 2)) &&
                       ftruncate(fd_.get(), (cluster + 1) * kGuestCluster) == 0;
    return taken ? static_cast<uint64_t>(cluster * kGuestCluster) : 0;
  }

  int64_t FileBytes() const {
    struct stat s = {};
    return fstat(fd_.get(), &s) == 0 ? s.st_size : 0;
  }
  // What lies beyond the end is zeros.
  std::string Bytes(int64_t offset, int64_t length) const {
    std::string bytes(static_cast<size_t>(length), '\0');
    if (pread(fd_.get(), bytes.data(), bytes.size(), offset) < 0) return "unreadable";
    return bytes;
  }
  static uint64_t Number(const std::string& bytes, size_t at, size_t length) {
    uint64_t value = 0;
    for (size_t i = at; i < at + length && i < bytes.size(); ++i) {
      value = value << 8 | static_cast<uint8_t>(bytes[i]);
    }
    return value;
  }
  uint64_t Load(int64_t offset) const { return Number(Bytes(offset, 8), 0, 8); }
  bool Store(int64_t offset, uint64_t value) {
    std::string bytes;
    for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
    return Put(offset, bytes);
  }
  bool Put(int64_t offset, const std::string& bytes) {
    return pwrite(fd_.get(), bytes.data(), bytes.size(), offset) ==
           static_cast<ssize_t>(bytes.size());
  }

  UniqueFd fd_;
  mutable int64_t table_of_ = -1;  // the table of mappings that was read last
  mutable std::string table_;
  bool is_qcow2_ = false;
  int64_t size_ = 0;
  int64_t l1_entries_ = 0;
  int64_t l1_offset_ = 0;
  int64_t refcount_table_ = 0;
  std::string backing_file_;
  FileFormat backing_format_ = FileFormat::kRaw;
};

std::string InWords(const std::string& bytes) {
  const bool uniform =
      bytes.size() == kGuestCluster &&
      std::all_of(bytes.begin(), bytes.end(), [&](char c) { return c == bytes[0]; });
  if (!uniform) return fmt::format("#{:x}", std::hash<std::string>()(bytes));
  return bytes[0] == 0 ? "." : fmt::format("{:02x}", static_cast<uint8_t>(bytes[0]));
}

}  // namespace

std::string GuestContent(const std::string& directory, const std::string& file, FileFormat format) {
  std::vector<std::unique_ptr<Image>> layers;  // the highest first
  for (std::string name = file; !name.empty();) {
    auto image = Image::Open(directory + "/" + name, format, O_RDONLY);
    if (image == nullptr || layers.size() >= kLayersMax) return "cannot be read: " + name;
    name = image->backing_file();
    format = image->backing_format();
    layers.push_back(std::move(image));
  }
  const int64_t size = layers.front()->size();
  std::string words;
  std::string zeros;
  for (int64_t cluster = 0; cluster * kGuestCluster < size; ++cluster) {
    std::optional<std::string> bytes;
    for (const auto& layer : layers) {
      if (cluster * kGuestCluster >= layer->size()) continue;
      bytes = layer->Read(cluster);
      if (bytes.has_value()) break;
    }
    const std::string word = bytes.has_value() ? InWords(*bytes) : ".";
    zeros += word == "." ? " ." : "";
    if (word == ".") continue;
    words += std::exchange(zeros, "") + " " + word;
  }
  return fmt::format("{} bytes:{}", size, words);
}

bool GuestWrite(const std::string& path, FileFormat format, int64_t cluster, uint8_t byte) {
  auto image = Image::Open(path, format, O_RDWR);
  return image != nullptr &&
         image->Write(cluster, std::string(kGuestCluster, static_cast<char>(byte)));
}

}  // namespace cairn::testing
