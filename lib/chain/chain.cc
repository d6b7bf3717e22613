#include "lib/chain/chain.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/status.h"
#include "lib/chain/info_map.h"

namespace cairn {
namespace {

// Far above any real chain; bounds what a hostile directory can cost.
constexpr size_t kChainLengthMax = 1024;

absl::Status Corrupt(std::string_view volume_id, std::string_view file, std::string problem) {
  return Error(Reason::kChainCorrupt, std::move(problem),
               {{"volume", std::string(volume_id)}, {"file", std::string(file)}});
}

// The backing file's format as the header above it records it.
absl::StatusOr<FileFormat> BackingFormat(std::string_view volume_id, const ChainLink& link) {
  auto format = FileFormatFromName(link.image.backing_format);
  if (!format.has_value()) {
    return Error(Reason::kImageUnsafe,
                 fmt::format("{} names {} as its backing file without a format that can be trusted",
                             link.file, link.image.backing_file),
                 {{"volume", std::string(volume_id)}, {"file", link.file}});
  }
  return *format;
}

absl::Status CheckNext(std::string_view volume_id, const Chain& top_down, const ChainLink& link) {
  const std::string& backing = link.image.backing_file;
  if (!IsChainFileName(volume_id, backing)) {
    return Error(Reason::kImageUnsafe,
                 fmt::format("{} has a backing file that is not of its volume", link.file),
                 {{"volume", std::string(volume_id)}, {"file", link.file}});
  }
  bool seen = std::any_of(top_down.begin(), top_down.end(),
                          [&](const ChainLink& above) { return above.file == backing; });
  if (seen || backing == link.file) {
    return Corrupt(volume_id, link.file,
                   fmt::format("the chain is a loop: {} leads back to {}", link.file, backing));
  }
  if (top_down.size() >= kChainLengthMax) {
    return Corrupt(volume_id, link.file, "the chain is too long");
  }
  return absl::OkStatus();
}

}  // namespace

int IndexOf(const Chain& chain, std::string_view file) {
  for (size_t i = 0; i < chain.size(); ++i) {
    if (chain[i].file == file) return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<Chain> ReadChain(FileSystem& files, const std::string& directory,
                                std::string_view volume_id, const std::string& active,
                                FileFormat base_format, LookAtLocks locks) {
  Chain chain;  // top down while walking
  std::string file = active;
  // Only the file that bears the volume's own name can be a base without a layer above that says
  // so.
  FileFormat format = active == BaseFileName(volume_id) ? base_format : FileFormat::kQcow2;
  while (true) {
    auto image =
        InspectImage(files, directory, file, format, chain.empty() ? locks : LookAtLocks::kNo);
    if (absl::IsNotFound(image.status())) {
      return Corrupt(volume_id, file, fmt::format("{} is missing from the share", file));
    }
    if (!image.ok()) {
      return Annotate(image.status(), fmt::format("volume {}", volume_id),
                      {{"volume", std::string(volume_id)}});
    }
    if (!chain.empty() && image->virtual_size > chain.back().image.virtual_size) {
      return Corrupt(volume_id, file,
                     fmt::format("{} is larger than {} above it", file, chain.back().file));
    }
    ChainLink link{file, *std::move(image)};
    if (link.image.backing_file.empty()) {
      if (link.image.format != base_format) {
        return Error(Reason::kImageMismatch,
                     fmt::format("the base file {} is {}, recorded is {}", file,
                                 FileFormatName(link.image.format), FileFormatName(base_format)),
                     {{"volume", std::string(volume_id)}, {"file", file}});
      }
      chain.push_back(std::move(link));
      break;
    }
    RETURN_IF_ERROR(CheckNext(volume_id, chain, link));
    ASSIGN_OR_RETURN(format, BackingFormat(volume_id, link));
    file = link.image.backing_file;
    chain.push_back(std::move(link));
  }
  std::reverse(chain.begin(), chain.end());
  return chain;
}

absl::StatusOr<std::vector<std::string>> ListChainFiles(FileSystem& files,
                                                        const std::string& directory,
                                                        std::string_view volume_id) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(directory));
  std::erase_if(names, [&](const std::string& name) { return !IsChainFileName(volume_id, name); });
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status CheckOnlyName(std::string_view volume_id, const ChainLink& link) {
  if (link.image.links <= 1) return absl::OkStatus();
  return Error(
      Reason::kImageUnsafe,
      fmt::format("{} is a hard link: it has {} names, and the file of the others would be "
                  "changed too; copy it, or remove them",
                  link.file, link.image.links),
      {{"volume", std::string(volume_id)}, {"file", link.file}});
}

absl::Status CheckNoInternalSnapshots(std::string_view volume_id, const ChainLink& link) {
  if (link.image.internal_snapshots == 0) return absl::OkStatus();
  return Error(
      Reason::kImageUnsafe,
      fmt::format("{} holds {} internal snapshot(s) of QEMU, which would be lost with it; list "
                  "them with `qemu-img snapshot -l`, and remove them with `qemu-img snapshot "
                  "-d NAME` if nothing needs them",
                  link.file, link.image.internal_snapshots),
      {{"volume", std::string(volume_id)}, {"file", link.file}});
}

}  // namespace cairn
