#include "lib/engine/retention.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "lib/base/json.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

constexpr char kName[] = "retention.json";
constexpr int64_t kFileMaxBytes = 1 << 20;
// Marks closer together would not be worth their room.
constexpr int kMarksMax = 64;

}  // namespace

Retention::Retention(FileSystem* files, std::string directory, const Clock* clock,
                     absl::Duration retention, int64_t revision)
    : files_(files),
      directory_(std::move(directory)),
      clock_(clock),
      retention_(retention),
      started_(clock->Monotonic()) {
  MutexLock lock(&mutex_);
  const absl::Status read = Read(revision);
  if (read.ok() || absl::IsNotFound(read)) return;
  spdlog::warn("how long ended operations are kept is counted anew: {}", Describe(read));
  run_before_ = absl::ZeroDuration();
  marks_.clear();
}

absl::Status Retention::Read(int64_t revision) {
  const std::string path = directory_ + "/" + kName;
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(*files_, path, kFileMaxBytes));
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJson(path, text));
  const auto run = JsonValue<int64_t>(json, "run_ms", -1);
  const auto marks = json.is_object() ? json.find("marks") : json.end();
  if (run < 0 || marks == json.end() || !marks->is_array()) {
    return Error(Reason::kInternal, fmt::format("{}: not what is written there", path));
  }
  run_before_ = absl::Milliseconds(run);
  for (const nlohmann::json& entry : *marks) {
    RetentionMark mark;
    const auto at = JsonValue<int64_t>(entry, "run_ms", -1);
    mark.run = absl::Milliseconds(at);
    mark.revision = JsonValue<int64_t>(entry, "revision", -1);
    const bool known = absl::ParseTime(
        absl::RFC3339_full, JsonValue<std::string>(entry, "created", ""), &mark.created, nullptr);
    const bool in_order = marks_.empty() || (marks_.back().run <= mark.run &&
                                             marks_.back().revision <= mark.revision);
    if (at < 0 || at > run || mark.revision < 0 || !known || !in_order) {
      return Error(Reason::kInternal, fmt::format("{}: a mark that cannot be", path));
    }
    if (mark.revision <= revision) marks_.push_back(mark);
  }
  return absl::OkStatus();
}

absl::Status Retention::Write(absl::Duration run) {
  nlohmann::json marks = nlohmann::json::array();
  for (const RetentionMark& mark : marks_) {
    marks.push_back(
        {{"run_ms", absl::ToInt64Milliseconds(mark.run)},
         {"revision", mark.revision},
         {"created", absl::FormatTime(absl::RFC3339_full, mark.created, absl::UTCTimeZone())}});
  }
  const nlohmann::json json = {{"run_ms", absl::ToInt64Milliseconds(run)}, {"marks", marks}};
  ReplaceFileOptions options;
  options.directory = directory_;
  options.name = kName;
  options.temporary = fmt::format("{}.new", kName);
  return ReplaceFile(*files_, options, DumpJson(json));
}

std::optional<RetentionMark> Retention::Advance(int64_t revision, absl::Time created) {
  MutexLock lock(&mutex_);
  const absl::Duration run = run_before_ + (clock_->Monotonic() - started_);
  if (marks_.empty() || run - marks_.back().run >= retention_ / kMarksMax) {
    marks_.push_back({run, revision, created});
  }
  const absl::Duration old = run - retention_;
  while (marks_.size() > 1 && marks_[1].run <= old) marks_.pop_front();
  if (absl::Status written = Write(run); !written.ok()) {
    // Of no consequence but that the time until now is counted again should this process end now.
    spdlog::warn("how long the server has run could not be written down: {}", Describe(written));
  }
  if (marks_.front().run > old) return std::nullopt;
  return marks_.front();
}

}  // namespace cairn
