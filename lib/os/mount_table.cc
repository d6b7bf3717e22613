#include "lib/os/mount_table.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/os/file_system.h"

namespace cairn {
namespace {

constexpr char kMountInfoPath[] = "/proc/self/mountinfo";
constexpr int64_t kMountInfoMaxBytes = 64 << 20;

// An empty field, such as the source of some pseudo file systems, stays a field.
std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool IsOctalDigit(char c) { return c >= '0' && c <= '7'; }

// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
std::string Unescape(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    bool escape = text[i] == '\\' && i + 3 < text.size() && IsOctalDigit(text[i + 1]) &&
                  IsOctalDigit(text[i + 2]) && IsOctalDigit(text[i + 3]);
    if (!escape) {
      result += text[i];
      continue;
    }
    int code = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
    result += static_cast<char>(code);
    i += 3;
  }
  return result;
}

// 36 35 0:45 / /mnt/share rw,noatime shared:1 - nfs4 host:/export rw,vers=4.2
std::optional<MountEntry> ParseLine(std::string_view line) {
  constexpr size_t kMountPoint = 4;
  constexpr size_t kMountOptions = 5;
  constexpr size_t kFirstOptional = 6;
  std::vector<std::string_view> fields = Split(line, ' ');
  size_t dash = kFirstOptional;
  while (dash < fields.size() && fields[dash] != "-") ++dash;
  if (dash + 3 >= fields.size()) return std::nullopt;
  MountEntry entry;
  entry.mount_point = Unescape(fields[kMountPoint]);
  entry.type = fields[dash + 1];
  entry.source = Unescape(fields[dash + 2]);
  entry.options = std::string(fields[dash + 3]) + "," + std::string(fields[kMountOptions]);
  return entry;
}

class PosixMountTable : public MountTable {
 public:
  absl::StatusOr<std::vector<MountEntry>> Read() override {
    ASSIGN_OR_RETURN(std::string text,
                     ReadWholeFile(*FileSystem::Posix(), kMountInfoPath, kMountInfoMaxBytes));
    return ParseMountInfo(text);
  }
};

}  // namespace

MountTable* MountTable::Posix() {
  static PosixMountTable* const table = new PosixMountTable;
  return table;
}

std::vector<MountEntry> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> entries;
  for (std::string_view line : Split(text, '\n')) {
    if (auto entry = ParseLine(line)) entries.push_back(*std::move(entry));
  }
  return entries;
}

std::optional<MountEntry> FindMount(const std::vector<MountEntry>& entries,
                                    std::string_view mount_point) {
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (entry->mount_point == mount_point) return *entry;
  }
  return std::nullopt;
}

}  // namespace cairn
