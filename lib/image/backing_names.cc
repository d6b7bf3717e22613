#include "lib/image/backing_names.h"

#include <endian.h>

#include <cstdint>
#include <cstring>

#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_layout.h"

namespace cairn {
namespace {

constexpr int64_t kFirstBytes = 4096;

// qemu's docs/specs/qed_spec.txt, section "Header": little-endian, name within the header.
constexpr std::string_view kQedMagic("QED\0", 4);
constexpr size_t kQedNameOffsetAt = 56;
constexpr size_t kQedNameSizeAt = 60;

// "Virtual Disk Format 5.0" by VMware: a text that may stand alone, or lies in the first clusters of a
// sparse extent.
constexpr std::string_view kVmdkSparseMagic = "KDMV";
constexpr std::string_view kVmdkOldMagic = "COWD";
constexpr std::string_view kVmdkText = "# Disk DescriptorFile";
constexpr int64_t kVmdkDescriptorBytes = 64 << 10;

uint32_t Load32Little(std::string_view bytes, size_t at) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return le32toh(value);
}

// Nothing for a name that QEMU refuses for its length or its place.
absl::StatusOr<std::vector<std::string>> NameAt(File& file, uint64_t offset, uint64_t size) {
  std::vector<std::string> names;
  if (offset == 0 || size == 0 || size > qcow2::kBackingNameBytesMax) return names;
  if (offset > static_cast<uint64_t>(qcow2::kFileBytesMax)) return names;
  ASSIGN_OR_RETURN(std::string name,
                   file.ReadAt(static_cast<int64_t>(offset), static_cast<int64_t>(size)));
  if (name.size() == size) names.push_back(std::move(name));
  return names;
}

// The header of all versions begins alike. The name is read even if the rest is more than we know: a
// newer QEMU may open it.
absl::StatusOr<std::vector<std::string>> NamesInQcow(File& file, std::string_view bytes) {
  using qcow2::Load32;
  using qcow2::Load64;
  ASSIGN_OR_RETURN(
      std::vector<std::string> names,
      NameAt(file, Load64(bytes, qcow2::kBackingOffsetAt), Load32(bytes, qcow2::kBackingSizeAt)));
  const auto header = ReadQcow2Header(file);
  if (header.ok() && !header->data_file.empty()) names.push_back(header->data_file);
  return names;
}

std::vector<std::string> QuotedIn(std::string_view text) {
  std::vector<std::string> quoted;
  for (size_t at = text.find('"'); at != std::string_view::npos; at = text.find('"', at)) {
    const size_t end = text.find_first_of("\"\n", at + 1);
    if (end == std::string_view::npos) break;
    if (text[end] == '"') quoted.emplace_back(text.substr(at + 1, end - at - 1));
    at = end + 1;
  }
  return quoted;
}

void CollectFileNames(const nlohmann::json& json, std::vector<std::string>& found) {
  for (const auto& [key, value] : json.items()) {
    if (value.is_structured()) {
      CollectFileNames(value, found);
    } else if (value.is_string() && std::string_view(key).ends_with("filename")) {
      // As in "file.filename"; it may be a description in turn.
      for (std::string& path : LocalPathsOf(value.get<std::string>())) {
        found.push_back(std::move(path));
      }
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadBackingNames(File& file) {
  ASSIGN_OR_RETURN(std::string bytes, file.ReadAt(0, kFirstBytes));
  if (bytes.size() < qcow2::kCryptMethodAt) return std::vector<std::string>();
  if (qcow2::Load32(bytes, qcow2::kMagicAt) == qcow2::kMagic) return NamesInQcow(file, bytes);
  if (bytes.starts_with(kQedMagic) && bytes.size() >= kQedNameSizeAt + sizeof(uint32_t)) {
    return NameAt(file, Load32Little(bytes, kQedNameOffsetAt), Load32Little(bytes, kQedNameSizeAt));
  }
  if (bytes.starts_with(kVmdkSparseMagic) || bytes.starts_with(kVmdkOldMagic) ||
      bytes.starts_with(kVmdkText)) {
    ASSIGN_OR_RETURN(bytes, file.ReadAt(0, kVmdkDescriptorBytes));
    return QuotedIn(bytes);
  }
  return std::vector<std::string>();
}

std::vector<std::string> LocalPathsOf(std::string_view backing_name) {
  constexpr std::string_view kFile = "file:";
  constexpr std::string_view kJson = "json:";
  if (backing_name.starts_with(kJson)) {
    const auto json = ParseJson("backing file", backing_name.substr(kJson.size()));
    if (!json.ok() || !json->is_object()) return {std::string(backing_name)};
    std::vector<std::string> paths;
    CollectFileNames(*json, paths);
    return paths;
  }
  if (backing_name.starts_with(kFile)) backing_name.remove_prefix(kFile.size());
  return {std::string(backing_name)};
}

}  // namespace cairn
