// The conductor's tidiness: what no snapshot needs of a volume's chain is merged once nobody uses the volume.
//
// Such a merge is an operation as any other, but nobody has asked for it. So it begins only where nothing
// else is at work, and gives way to whoever comes until it can only go forward. What gave way, or failed,
// is remembered and begun again; what a crash takes of that memory the next survey of the share finds.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "lib/base/status.h"
#include "lib/engine/conductor.h"
#include "lib/engine/surplus_layers.h"

namespace cairn {

void Conductor::MergeSurplus(const std::string& volume_id) {
  if (stopping()) return;
  const VolumePtr volume = core_->catalog().FindVolume(volume_id);
  const bool wanted = volume != nullptr && volume->chain.size() > 1 &&
                      volume->attachments.empty() && volume->state == VolumeState::kAvailable &&
                      !SurplusLayers(core_->catalog(), *volume).empty();
  {
    MutexLock lock(&mutex_);
    auto merge = merges_.find(volume_id);
    if (merge != merges_.end() && merge->second.state == MergeState::kBegun) return;
    if (!wanted) {
      if (merge != merges_.end()) merges_.erase(merge);
      return;
    }
    merges_[volume_id].state = MergeState::kBegun;
  }
  // It does not stand in the queue: whoever is at work now may go on with the chain as it is.
  const std::vector<LockKey> locks{{volume_id, /*exclusive=*/true}};
  const std::optional<LockQueue::Ticket> free = locks_.TryAcquire(locks);
  if (!free.has_value()) return PostponeMerge(volume_id, MergePause::kUntilFree);
  locks_.Release(*free);
  Submit(MergeLayersRequest{.volume_id = volume_id},
         {.request_id = {}, .requested_by = "the server"},
         [this, volume_id](const absl::StatusOr<OperationPtr>& accepted) {
           if (accepted.ok()) return;  // its end says more
           spdlog::info("volume={} its surplus layers stay for now: {}", volume_id,
                        Describe(accepted.status()));
           PostponeMerge(volume_id, MergePause::kGrowing);
         });
}

void Conductor::PostponeMerge(const std::string& volume_id, MergePause pause) {
  const EngineOptions& options = core_->options();
  MutexLock lock(&mutex_);
  Merge& merge = merges_[volume_id];
  merge.state = MergeState::kPostponed;
  ++merge.given_up;
  absl::Duration wait = options.retry_pause;
  if (pause == MergePause::kGrowing) {
    merge.pause = std::max(options.merge_pause, std::min(2 * merge.pause, options.rescan_period));
    wait = merge.pause;
  }
  timer_->Cancel(merge.timer);
  merge.timer = timer_->RunAfter(wait, [this, volume_id] { MergeSurplus(volume_id); });
}

void Conductor::ForgetMerge(const std::string& volume_id) {
  MutexLock lock(&mutex_);
  merges_.erase(volume_id);
}

// After the end of an operation: what it has left is merged, unless it was a merge itself.
void Conductor::FollowUp(const OperationRecord& ended, const std::vector<std::string>& volumes,
                         bool gave_way) {
  if (ended.kind != OperationKind::kMergeLayers) {
    for (const std::string& volume_id : volumes) MergeSurplus(volume_id);
  } else if (gave_way) {
    PostponeMerge(ended.volume_id, MergePause::kUntilFree);
  } else if (ended.state == OperationState::kFailed) {
    PostponeMerge(ended.volume_id, MergePause::kGrowing);
  } else {
    ForgetMerge(ended.volume_id);  // done, or somebody has said that it is not to be done now
  }
}

// By whoever has queued for these volumes. A merge that has its entry in the journal still before it sees
// that it is awaited before its first step.
void Conductor::MakeMergesGiveWay(const std::vector<LockKey>& locks) {
  std::vector<std::string> merges;
  {
    MutexLock lock(&mutex_);
    for (const LockKey& key : locks) {
      auto [begin, end] = by_volume_.equal_range(key.key);
      for (auto it = begin; it != end; ++it) {
        if (live_.at(it->second)->kind == OperationKind::kMergeLayers) merges.push_back(it->second);
      }
    }
  }
  for (const std::string& id : merges) Cancel(id, [](const absl::StatusOr<OperationPtr>&) {});
}

// An earlier one may have been interrupted in the midst of a step.
bool Conductor::IsMergeAgain(const LiveOperation& op) const {
  if (op.kind != OperationKind::kMergeLayers) return false;
  MutexLock lock(&mutex_);
  const auto merge = merges_.find(op.volume_id);
  return merge != merges_.end() && merge->second.given_up > 0;
}

bool Conductor::IsAwaitedMerge(const LiveOperation& op) const {
  return op.kind == OperationKind::kMergeLayers && locks_.is_awaited(op.ticket);
}

void Conductor::GiveWayIfAwaited(LiveOperation& op) const {
  if (op.crossed || !IsAwaitedMerge(op)) return;
  op.cancel_asked = true;
  op.cancel.Cancel();
}

}  // namespace cairn
