#include "lib/base/failpoint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

enum class Action { kCrash, kError, kSleep };

struct Point {
  Action action;
  int passes_left = 0;
};

struct Points {
  Mutex mutex;
  std::map<std::string, Point, std::less<>> armed ABSL_GUARDED_BY(mutex);
  std::vector<std::string> recorded ABSL_GUARDED_BY(mutex);
  bool recording ABSL_GUARDED_BY(mutex) = false;
  // True when a hit has anything to do: the only thing that an unarmed point looks at.
  std::atomic<bool> active{false};
};

Points& GlobalPoints() {
  static Points* points = new Points;
  return *points;
}

absl::StatusOr<Point> ParsePoint(std::string_view text) {
  Point point{};
  if (size_t star = text.find('*'); star != std::string_view::npos) {
    std::string count(text.substr(0, star));
    if (!absl::SimpleAtoi(count, &point.passes_left) || point.passes_left < 0) {
      return InvalidField("fail point", "the count before '*' must be a number", text);
    }
    text.remove_prefix(star + 1);
  }
  if (text == "crash") {
    point.action = Action::kCrash;
  } else if (text == "error") {
    point.action = Action::kError;
  } else if (text == "sleep") {
    point.action = Action::kSleep;
  } else {
    return InvalidField("fail point", "the action must be crash, error or sleep", text);
  }
  return point;
}

}  // namespace

absl::Status ArmFailPoints(std::string_view specification) {
  std::map<std::string, Point, std::less<>> armed;
  for (absl::string_view entry :
       absl::StrSplit(absl::string_view(specification.data(), specification.size()), ';',
                      absl::SkipWhitespace())) {
    std::pair<std::string, std::string> parts = absl::StrSplit(entry, absl::MaxSplits('=', 1));
    ASSIGN_OR_RETURN(armed[parts.first], ParsePoint(parts.second));
  }
  Points& points = GlobalPoints();
  MutexLock lock(&points.mutex);
  points.armed = std::move(armed);
  points.active = points.recording || !points.armed.empty();
  return absl::OkStatus();
}

absl::Status HitFailPoint(std::string_view name) {
  Points& points = GlobalPoints();
  if (!points.active.load(std::memory_order_relaxed)) return absl::OkStatus();
  Action action;
  {
    MutexLock lock(&points.mutex);
    if (points.recording &&
        std::find(points.recorded.begin(), points.recorded.end(), name) == points.recorded.end()) {
      points.recorded.emplace_back(name);
    }
    auto it = points.armed.find(name);
    if (it == points.armed.end() || it->second.passes_left-- > 0) return absl::OkStatus();
    it->second.passes_left = 0;
    action = it->second.action;
  }
  switch (action) {
    case Action::kCrash:
      _exit(kFailPointExitCode);
    case Action::kError:
      return Error(Reason::kInternal, fmt::format("fail point {}", name));
    case Action::kSleep:
      absl::SleepFor(absl::Seconds(1));
  }
  return absl::OkStatus();
}

void RecordFailPoints(bool on) {
  Points& points = GlobalPoints();
  MutexLock lock(&points.mutex);
  points.recording = on;
  if (on) points.recorded.clear();
  points.active = points.recording || !points.armed.empty();
}

std::vector<std::string> RecordedFailPoints() {
  Points& points = GlobalPoints();
  MutexLock lock(&points.mutex);
  return points.recorded;
}

}  // namespace cairn
