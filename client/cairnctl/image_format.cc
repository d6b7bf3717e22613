#include "cairnctl/image_format.h"

#include <fmt/format.h>

#include <utility>

namespace cairn::cairnctl {
namespace {

using std::string_view_literals::operator""sv;

struct Mark {
  std::string_view format;
  size_t offset;
  std::string_view bytes;
  // How the disk's content is got at: a command for a file, {0} is its name. Empty: qemu-img.
  std::string_view command;
};

constexpr Mark kMarks[] = {
    {"qcow2", 0, "QFI\xfb"sv, ""},
    {"qed", 0, "QED\0"sv, ""},
    {"vmdk", 0, "KDMV"sv, ""},
    {"vmdk", 0, "COWD"sv, ""},
    {"vmdk", 0, "# Disk DescriptorFile"sv, ""},
    {"vhdx", 0, "vhdxfile"sv, ""},
    {"vpc", 0, "conectix"sv, ""},
    {"vdi", 0x40, "\x7f\x10\xda\xbe"sv, ""},
    {"parallels", 0, "WithoutFreeSpace"sv, ""},
    {"parallels", 0, "WithouFreSpacExt"sv, ""},
    {"gzip", 0, "\x1f\x8b\x08"sv, "gunzip < {0} > disk.raw"},
    {"xz", 0,
     "\xfd"
     "7zXZ\0"sv,
     "xz -d < {0} > disk.raw"},
    {"zstd", 0, "\x28\xb5\x2f\xfd"sv, "zstd -d < {0} > disk.raw"},
    {"bzip2", 0, "BZh"sv, "bunzip2 < {0} > disk.raw"},
};

}  // namespace

absl::Status CheckRawContent(std::string_view head, const std::string& name) {
  for (const Mark& mark : kMarks) {
    if (head.size() < mark.offset || !head.substr(mark.offset).starts_with(mark.bytes)) continue;
    const std::string file = name == "-" ? "FILE" : name;
    const std::string command =
        mark.command.empty()
            ? fmt::format("qemu-img convert -f {} -O raw {} disk.raw", mark.format, file)
            : fmt::format(fmt::runtime(mark.command), file);
    return absl::InvalidArgumentError(
        fmt::format("{} is in the format {}; the disk's own bytes are needed: {} "
                    "(--raw-content uploads it as it is)",
                    name == "-" ? "what comes through stdin" : name, mark.format, command));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string_view> PeekedSource::Peek() {
  if (!holds_first_) {
    auto piece = source_->Next();
    if (!piece.ok()) return piece.status();
    first_ = *std::move(piece);
    holds_first_ = true;
  }
  return std::string_view(first_.data);
}

absl::StatusOr<client::ContentPiece> PeekedSource::Next() {
  if (!holds_first_) return source_->Next();
  holds_first_ = false;
  return std::move(first_);
}

absl::Status PeekedSource::Rewind() {
  // Nothing of it was given out yet.
  if (holds_first_) return absl::OkStatus();
  return source_->Rewind();
}

}  // namespace cairn::cairnctl
