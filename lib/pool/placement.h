// Which shares may take a volume, and which of them does: pure functions over figures.
//
// Eligible, as in the Cinder NFS driver (`_is_share_eligible`), with the ratio and the reserve of
// the pool:
//   (total - available) / total <= 1 - reserved_percentage / 100
//   total x ratio - allocated   >  requested            (equality rejects)
//   allocated / total           <  ratio
// and, beyond it, for what really allocates (thick volumes, full clones, imports):
//   physical bytes asked <= available - physical bytes held for running operations
// A share with total 0 is not eligible. `allocated` includes what running operations have promised
// (ShareFigures.held), both in the rules and in the policies; in the rules also what lies on, and is
// held for, other shares on the same file system (ShareFigures.beside).
#ifndef CAIRN_LIB_POOL_PLACEMENT_H_
#define CAIRN_LIB_POOL_PLACEMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace cairn {

enum class PlacementPolicy { kLeastAllocated, kMostAvailable };

struct SpaceRequest {
  int64_t promised_bytes = 0;  // apparent size that is added
  int64_t physical_bytes = 0;  // what will really be allocated; 0 for sparse files
};

struct ShareFigures {
  std::string address;
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;
  int64_t allocated_bytes = 0;
  SpaceRequest held;  // by running operations
  // What the other shares on the same file system are allocated, promised and hold: its room is theirs too.
  SpaceRequest beside;
};

struct PlacementRules {
  int reserved_percentage = 0;
  double max_over_subscription_ratio = 20.0;
  PlacementPolicy policy = PlacementPolicy::kLeastAllocated;
};

// OK, or RESOURCE_EXHAUSTED (NO_SPACE) that says which rule failed, what was asked and what is
// there.
absl::Status CheckEligible(const ShareFigures& share, const SpaceRequest& request,
                           const PlacementRules& rules);

// The last rule alone: for work on volumes that are there already and that promises nothing new.
absl::Status CheckPhysicalRoom(const ShareFigures& share, const SpaceRequest& request);

// Index of the chosen share among `shares` (the first on a tie); NO_ELIGIBLE_SHARE with each
// share's reason.
absl::StatusOr<size_t> ChooseShare(const std::vector<ShareFigures>& shares,
                                   const SpaceRequest& request, const PlacementRules& rules);

}  // namespace cairn

#endif  // CAIRN_LIB_POOL_PLACEMENT_H_
