#include "lib/engine/share_scan.h"

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "lib/base/status.h"

namespace cairn {
namespace {

// A log line names a few; all of them are in the report.
std::vector<std::string> FirstOf(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  return {names.begin(), names.begin() + static_cast<long>(std::min(kShown, names.size()))};
}

}  // namespace

absl::StatusOr<ScanReport> ScanShare(
    const Core& core, const Share& share,
    const std::function<bool(const std::string& operation)>& running) {
  // The records first: what an operation makes after that is in the list of files, not the other
  // way round, and volumes at work are passed over.
  std::set<std::string> expected;
  std::set<std::string> busy;
  for (const std::string& id : core.catalog().VolumesOn(share.address())) {
    VolumePtr volume = core.catalog().FindVolume(id);
    if (volume == nullptr) continue;
    if (!volume->current_operation.empty()) {
      busy.insert(id);
    } else {
      expected.insert(volume->chain.begin(), volume->chain.end());
    }
  }
  const MonotonicTime began = core.clock().Monotonic();
  ASSIGN_OR_RETURN(std::vector<std::string> names, core.files().List(share.directory()));
  core.foreign_files().Learn(share.address(), share.directory(), names, began);
  std::sort(names.begin(), names.end());
  ScanReport report;
  constexpr std::string_view kPrefix = "volume-";
  constexpr size_t kIdLength = 36;
  for (const std::string& name : names) {
    if (std::string operation = OperationOfTemporary(name); !operation.empty()) {
      if (running(operation)) continue;
      absl::Status removed = core.files().Remove(share.directory() + "/" + name);
      if (HasReason(removed, Reason::kImageUnsafe)) {  // a stranger's directory of that name
        report.unknown.push_back(name);
        continue;
      }
      RETURN_IF_ERROR(removed);
      report.swept.push_back(name);
      continue;
    }
    if (!name.starts_with(kPrefix)) continue;
    const std::string id = name.substr(kPrefix.size(), kIdLength);
    if (busy.count(id) != 0 || name == InfoFileName(id)) continue;
    VolumePtr volume = core.catalog().FindVolume(id);
    const bool known = volume != nullptr && volume->share == share.address();
    // A record that has changed since the first look is judged as it is now.
    if (known &&
        std::find(volume->chain.begin(), volume->chain.end(), name) != volume->chain.end()) {
      continue;
    }
    if (known && !volume->current_operation.empty()) continue;
    report.unknown.push_back(name);
  }
  for (const std::string& file : expected) {
    if (std::binary_search(names.begin(), names.end(), file)) continue;
    const std::string id = file.substr(kPrefix.size(), kIdLength);
    VolumePtr volume = core.catalog().FindVolume(id);
    const bool still =
        volume != nullptr && volume->current_operation.empty() &&
        volume->share == share.address() &&
        std::find(volume->chain.begin(), volume->chain.end(), file) != volume->chain.end();
    if (still) report.missing.push_back(file);
  }
  if (!report.swept.empty()) {
    spdlog::info("share={} swept {} temporary file(s) of ended operations", share.address(),
                 report.swept.size());
  }
  if (!report.unknown.empty()) {
    spdlog::warn("share={} {} file(s) that no record names, left alone: {}", share.address(),
                 report.unknown.size(), fmt::join(FirstOf(report.unknown), ", "));
  }
  if (!report.missing.empty()) {
    spdlog::error("share={} {} file(s) that records name are missing: {}", share.address(),
                  report.missing.size(), fmt::join(FirstOf(report.missing), ", "));
  }
  return report;
}

}  // namespace cairn
