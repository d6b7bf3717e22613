#include "lib/catalog/catalog_mark.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <string_view>
#include <utility>

#include "lib/base/status.h"
#include "lib/catalog/catalog_files.h"
#include "lib/catalog/checksum.h"

namespace cairn {
namespace {

// One sector: after a power failure it is there wholly, as it was or as it is.
constexpr size_t kBytes = 512;
constexpr std::string_view kTitle = "cairn catalog mark 1";

std::string Encode(const MarkContent& content) {
  std::string text =
      fmt::format("{}\nid {}\ntimeline {}\ncommits {}\nchain {:016x}\nstate {}\n", kTitle,
                  content.id, content.timeline, content.commits, content.chain,
                  content.state == MarkContent::State::kClosed ? "closed" : "open");
  text += fmt::format("checksum {:016x}\n", Hash64(text, 0));
  text.resize(kBytes, '\n');
  return text;
}

// The value of the line that begins with `name`; the lines come in their order.
std::string TakeLine(std::string_view name, std::string_view* text) {
  const size_t end = text->find('\n');
  if (end == std::string_view::npos || !text->starts_with(name)) return "";
  const std::string value(text->substr(name.size(), end - name.size()));
  text->remove_prefix(end + 1);
  return value;
}

}  // namespace

absl::StatusOr<std::optional<MarkContent>> ReadMark(const std::string& path) {
  FileSystem& files = *FileSystem::Posix();
  auto stat = files.Stat(path);
  if (absl::IsNotFound(stat.status())) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string whole, ReadWholeFile(files, path, kBytes));
  std::string_view rest = whole;
  MarkContent content;
  TakeLine(kTitle, &rest);
  content.id = TakeLine("id ", &rest);
  content.timeline = TakeLine("timeline ", &rest);
  content.commits = std::strtoll(TakeLine("commits ", &rest).c_str(), nullptr, 10);
  content.chain = std::strtoull(TakeLine("chain ", &rest).c_str(), nullptr, 16);
  if (TakeLine("state ", &rest) == "closed") content.state = MarkContent::State::kClosed;
  // Whatever was read: it is right when it would be written so.
  if (Encode(content) == whole) return content;
  return Error(Reason::kIoError,
               fmt::format("{}: it is damaged, and so it cannot be told whether the catalog beside "
                           "it is the newest: remove it to accept the catalog as it is",
                           path),
               {{"file", path}});
}

absl::Status CheckAgainstMark(const std::string& path, const Seal& seal, const MarkContent& mark) {
  const std::string mark_path = CatalogFiles(path).mark();
  const std::string ways_out = fmt::format(
      "restore the newest one, or remove {} to accept it as it is, without what was "
      "changed since",
      mark_path);
  if (seal.id != mark.id) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: this is catalog {}, where catalog {} was: {}", path, seal.id, mark.id, ways_out));
  }
  if (seal.commits < mark.commits) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: the catalog is older than it was: it has {} of {} commits, the others are lost: {}",
        path, seal.commits, mark.commits, ways_out));
  }
  if (seal.timeline != mark.timeline ||
      (seal.commits == mark.commits && seal.chain != mark.chain)) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: the catalog has another history than the one that was here: {}", path, ways_out));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<CatalogMark>> CatalogMark::Begin(const std::string& path,
                                                                const Seal& seal) {
  FileSystem& files = *FileSystem::Posix();
  MarkContent content{seal.id, seal.timeline, seal.commits, seal.chain, MarkContent::State::kOpen};
  auto file = files.Open(path, OpenMode::kReadWrite);
  if (file.ok()) {
    RETURN_IF_ERROR((*file)->WriteAt(0, Encode(content)));
  } else if (absl::IsNotFound(file.status())) {
    // Whole from the first: an empty one would be taken for a damaged one.
    ReplaceFileOptions options;
    options.directory = DirectoryOf(path);
    options.name = path.substr(path.rfind('/') + 1);
    options.temporary = options.name + ".new";
    absl::Status made = ReplaceFile(files, options, Encode(content));
    file = made.ok() ? files.Open(path, OpenMode::kReadWrite) : made;
    if (!file.ok()) {
      spdlog::warn("{}: the loss of commits would not be found out: {}", path,
                   Describe(file.status()));
    }
  } else {
    return file.status();
  }
  return std::unique_ptr<CatalogMark>(
      new CatalogMark(file.ok() ? *std::move(file) : nullptr, std::move(content)));
}

void CatalogMark::Durable(int64_t commits, uint64_t chain) {
  MutexLock lock(&mutex_);
  if (commits <= content_.commits) return;
  content_.commits = commits;
  content_.chain = chain;
  Write();
}

void CatalogMark::Close() {
  MutexLock lock(&mutex_);
  content_.state = MarkContent::State::kClosed;
  Write();
}

void CatalogMark::Write() {
  if (file_ == nullptr) return;
  absl::Status written = file_->WriteAt(0, Encode(content_));
  if (written.ok() || std::exchange(told_, true)) return;
  spdlog::warn("the loss of commits would not be found out: {}", Describe(written));
}

}  // namespace cairn
