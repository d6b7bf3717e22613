// What a reader of WatchVolumes has been told, and what a change therefore is to it: a volume that
// is added, changed or removed. Not thread-safe.
//
// With a filter each volume that was told is remembered. A reader of all volumes has all of them
// once it has caught up, so nothing is remembered for it from then on.
#ifndef CAIRN_SERVER_WATCH_FILTER_H_
#define CAIRN_SERVER_WATCH_FILTER_H_

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "absl/status/statusor.h"
#include "lib/engine/engine.h"

namespace cairn {

class WatchFilter {
 public:
  enum class Event { kNone, kAdded, kChanged, kRemoved, kLeft };

  // `resumed`: the reader was told things before that are not known here. A filter that ListVolumes
  // takes is taken.
  static absl::StatusOr<WatchFilter> Create(const std::string& filter, bool resumed);

  // A volume that matches was told with the present ones.
  void Listed(const VolumeRecord& volume);
  // Every change up to what the present volumes were has been told.
  void CaughtUp();
  // What to tell of a change; taken as told.
  Event Tell(const VolumeChange& change);
  // For tests: how many volumes are remembered.
  size_t remembered() const { return told_.size() + creating_.size(); }

 private:
  WatchFilter(Filter filter, bool has_filter, bool resumed)
      : filter_(std::move(filter)),
        has_filter_(has_filter),
        resumed_(resumed),
        has_all_(!has_filter && resumed) {}
  bool Matches(const VolumeRecord& volume) const;
  Event TellGone(const std::string& id, Event event);
  Event TellOfAll(const VolumeChange& change);

  Filter filter_;
  bool has_filter_;
  bool resumed_;
  bool has_all_;  // the reader, of all volumes
  // By id: the revision that was told, 0 when the reader knows that it has not the volume. What is
  // not here is not told, or, to a reader that has resumed, not known.
  std::unordered_map<std::string, int64_t> told_;
  // Of a reader of all volumes: those that are being made, which may change before they are there.
  std::unordered_set<std::string> creating_;
};

}  // namespace cairn

#endif  // CAIRN_SERVER_WATCH_FILTER_H_
