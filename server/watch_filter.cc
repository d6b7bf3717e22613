#include "server/watch_filter.h"

#include <optional>
#include <string_view>
#include <utility>

#include "lib/base/status.h"

namespace cairn {

absl::StatusOr<WatchFilter> WatchFilter::Create(const std::string& filter, bool resumed) {
  ASSIGN_OR_RETURN(Filter parsed,
                   Filter::Parse(filter, {"state", "pool", "share", "name", "labels"}));
  return WatchFilter(std::move(parsed), !filter.empty(), resumed);
}

bool WatchFilter::Matches(const VolumeRecord& volume) const {
  if (!has_filter_) return true;
  return filter_.Matches([&](std::string_view field) -> std::optional<std::string> {
    if (field == "state") return std::string(VolumeStateName(volume.state));
    if (field == "pool") return volume.pool;
    if (field == "share") return volume.share;
    if (field == "name") return volume.name;
    auto label = volume.labels.find(std::string(field.substr(field.find('.') + 1)));
    if (label == volume.labels.end()) return std::nullopt;
    return label->second;
  });
}

WatchFilter::Event WatchFilter::TellGone(const std::string& id, Event event) {
  auto known = told_.find(id);
  bool maybe_told = known == told_.end() ? resumed_ : known->second > 0;
  // Only a reader that has resumed needs to be remembered as not having it.
  if (event == Event::kLeft && resumed_) {
    told_[id] = 0;
  } else {
    told_.erase(id);
  }
  return maybe_told ? event : Event::kNone;
}

void WatchFilter::Listed(const VolumeRecord& volume) {
  told_[volume.id] = volume.revision;
  if (!has_filter_ && volume.state == VolumeState::kCreating) creating_.insert(volume.id);
}

void WatchFilter::CaughtUp() {
  if (has_filter_ || has_all_) return;
  has_all_ = true;
  std::unordered_map<std::string, int64_t>().swap(told_);
}

WatchFilter::Event WatchFilter::TellOfAll(const VolumeChange& change) {
  // A volume's first record is CREATING.
  if (change.volume != nullptr && change.volume->state == VolumeState::kCreating) {
    return creating_.insert(change.volume_id).second ? Event::kAdded : Event::kChanged;
  }
  creating_.erase(change.volume_id);
  return change.volume == nullptr ? Event::kRemoved : Event::kChanged;
}

WatchFilter::Event WatchFilter::Tell(const VolumeChange& change) {
  if (has_all_) return TellOfAll(change);
  if (!has_filter_) TellOfAll(change);  // for creating_ alone
  auto known = told_.find(change.volume_id);
  // The listing was already newer than this change.
  if (known != told_.end() && change.revision <= known->second) return Event::kNone;
  if (change.volume == nullptr) return TellGone(change.volume_id, Event::kRemoved);
  if (!Matches(*change.volume)) return TellGone(change.volume_id, Event::kLeft);
  bool had = known != told_.end() ? known->second > 0
                                  // A volume's first record is CREATING.
                                  : resumed_ && change.volume->state != VolumeState::kCreating;
  told_[change.volume_id] = change.revision;
  return had ? Event::kChanged : Event::kAdded;
}

}  // namespace cairn
