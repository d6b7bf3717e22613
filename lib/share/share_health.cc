#include "lib/share/share_health.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"

namespace cairn {
namespace {

// Error texts come from tools and hold line feeds; a log line and a status field hold one line.
std::string OneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

std::string TimeText(absl::Time time) {
  return std::string(absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone()));
}

}  // namespace

std::string_view ShareStateName(ShareState state) {
  switch (state) {
    case ShareState::kMounting:
      return "MOUNTING";
    case ShareState::kOnline:
      return "ONLINE";
    case ShareState::kDegraded:
      return "DEGRADED";
    case ShareState::kUnreachable:
      return "UNREACHABLE";
    case ShareState::kDraining:
      return "DRAINING";
  }
  return "";
}

struct ShareHealth::Change {
  ShareState from;
  ShareState to;
  std::string error;
};

ShareHealth::ShareHealth(std::string address) : address_(std::move(address)) {
  status_.since = Clock::System()->Now();
}

ShareStatus ShareHealth::status() const {
  MutexLock lock(&mutex_);
  return status_;
}

absl::Status ShareHealth::CheckUsable() const {
  MutexLock lock(&mutex_);
  if (IsUsable(health_)) return absl::OkStatus();
  std::string since = TimeText(status_.since);
  std::string message =
      fmt::format("share {} is {} since {}", address_, ShareStateName(status_.state), since);
  if (!status_.last_error.empty()) message += ": " + status_.last_error;
  return Error(reason_, std::move(message),
               {{"share", address_},
                {"state", std::string(ShareStateName(status_.state))},
                {"since", since},
                {"last_error", status_.last_error}});
}

std::optional<ShareRoot> ShareHealth::root() const {
  MutexLock lock(&mutex_);
  return root_;
}

ShareState ShareHealth::Shown() const {
  return draining_ && IsUsable(health_) ? ShareState::kDraining : health_;
}

ShareHealth::Change ShareHealth::Refresh() {
  Change change{status_.state, Shown(), status_.last_error};
  if (change.from != change.to) {
    status_.state = change.to;
    status_.since = Clock::System()->Now();
  }
  return change;
}

// Outside the lock: writing a log line may block.
void ShareHealth::Log(const Change& change) const {
  if (change.from == change.to) return;
  std::string_view from = ShareStateName(change.from);
  std::string_view to = ShareStateName(change.to);
  if (change.error.empty()) {
    spdlog::info("share={} state={} was={}", address_, to, from);
  } else {
    spdlog::warn("share={} state={} was={} error=\"{}\"", address_, to, from, change.error);
  }
}

void ShareHealth::SetOnline(const ProbeReport& report) {
  Change change;
  {
    MutexLock lock(&mutex_);
    health_ = report.problem.empty() ? ShareState::kOnline : ShareState::kDegraded;
    root_ = report.root;
    status_.device = report.root.device;
    status_.identity = report.identity;
    status_.last_error = report.problem;
    status_.probe_latency = report.latency;
    status_.capacity.total_bytes = report.space.total_bytes;
    status_.capacity.available_bytes = report.space.available_bytes;
    status_.mount_options = report.mount_options;
    status_.nfs_version = report.nfs_version;
    if (report.abilities.has_value()) status_.abilities = report.abilities;
    change = Refresh();
  }
  Log(change);
}

void ShareHealth::SetUnreachable(const absl::Status& error) {
  Change change;
  {
    MutexLock lock(&mutex_);
    health_ = ShareState::kUnreachable;
    reason_ = Reason::kShareUnavailable;
    for (Reason kept : {Reason::kShareOwned, Reason::kShareReplaced, Reason::kCatalogOlder}) {
      if (HasReason(error, kept)) reason_ = kept;
    }
    status_.last_error = OneLine(std::string(ToStd(error.message())));
    change = Refresh();
  }
  Log(change);
}

void ShareHealth::SetMountLost() {
  Change change;
  {
    MutexLock lock(&mutex_);
    if (!IsUsable(health_)) return;
    health_ = ShareState::kMounting;
    reason_ = Reason::kShareUnavailable;
    status_.last_error = "the mount was lost";
    change = Refresh();
  }
  Log(change);
}

void ShareHealth::SetDraining(bool draining) {
  Change change;
  {
    MutexLock lock(&mutex_);
    draining_ = draining;
    change = Refresh();
  }
  Log(change);
}

bool ShareHealth::draining() const {
  MutexLock lock(&mutex_);
  return draining_;
}

void ShareHealth::SetSpace(const FileSystemStat& space) {
  MutexLock lock(&mutex_);
  status_.capacity.total_bytes = space.total_bytes;
  status_.capacity.available_bytes = space.available_bytes;
}

void ShareHealth::AddAllocated(int64_t delta_bytes) {
  MutexLock lock(&mutex_);
  int64_t& allocated = status_.capacity.allocated_bytes;
  allocated = std::max<int64_t>(0, allocated + delta_bytes);
  mark_.changes++;
  mark_.grown_bytes += std::max<int64_t>(0, delta_bytes);
}

ShareHealth::Mark ShareHealth::mark() const {
  MutexLock lock(&mutex_);
  return mark_;
}

bool ShareHealth::SetMeasured(const Mark& since, int64_t measured_bytes, bool force) {
  MutexLock lock(&mutex_);
  if (mark_.changes != since.changes && !force) return false;
  status_.capacity.allocated_bytes = measured_bytes + (mark_.grown_bytes - since.grown_bytes);
  return true;
}

}  // namespace cairn
