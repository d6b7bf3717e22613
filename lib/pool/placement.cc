#include "lib/pool/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "lib/base/size.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

// Wider than any sum or product of figures, so that no share and no request overflows.
__extension__ using Wide = __int128;
// x86's long double holds every int64_t exactly; where it is a plain double, a petabyte is off by
// bytes.
using Real = long double;

// What running operations promised counts as there already: otherwise all that start at one moment
// would choose the same share.
Wide Promised(const ShareFigures& share) {
  return Wide{share.allocated_bytes} + share.held.promised_bytes;
}

Wide PhysicalRoom(const ShareFigures& share) {
  return Wide{share.available_bytes} - share.held.physical_bytes - share.beside.physical_bytes;
}

int64_t Clamped(Real bytes) {
  constexpr Real kMost = static_cast<Real>(INT64_MAX) - 1024;
  return static_cast<int64_t>(std::clamp<Real>(bytes, 0, kMost));
}

absl::Status NoSpace(const ShareFigures& share, std::string_view rule, int64_t requested,
                     int64_t available, std::string_view why) {
  return Error(Reason::kNoSpace, fmt::format("share {}: {}", share.address, why),
               {{"share", share.address},
                {"rule", std::string(rule)},
                {"requested", std::to_string(requested)},
                {"available", std::to_string(available)}});
}

absl::Status CheckReserve(const ShareFigures& share, const SpaceRequest& request,
                          const PlacementRules& rules) {
  const Wide used = Wide{share.total_bytes} - share.available_bytes;
  // In whole numbers, since 0.95 is no binary fraction: used / total <= (100 - reserved) / 100.
  if (used * 100 <= Wide{share.total_bytes} * (100 - rules.reserved_percentage)) {
    return absl::OkStatus();
  }
  return NoSpace(share, "reserved_percentage", request.promised_bytes, share.available_bytes,
                 fmt::format("{} % is to stay free; {} of {} are", rules.reserved_percentage,
                             FormatSize(share.available_bytes), FormatSize(share.total_bytes)));
}

absl::Status CheckPromise(const ShareFigures& share, const SpaceRequest& request,
                          const PlacementRules& rules) {
  const Real limit =
      static_cast<Real>(share.total_bytes) * static_cast<Real>(rules.max_over_subscription_ratio);
  const Real promised = static_cast<Real>(Promised(share) + share.beside.promised_bytes);
  const Real left = limit - promised;
  // The first is `allocated / total < ratio`: it also refuses a request for nothing on a full
  // share.
  if (promised < limit && left > static_cast<Real>(request.promised_bytes)) {
    return absl::OkStatus();
  }
  return NoSpace(share, "max_over_subscription_ratio", request.promised_bytes, Clamped(left),
                 fmt::format("{} asked, more than {} must be left to promise ({} x {} - {})",
                             FormatSize(request.promised_bytes), FormatSize(Clamped(left)),
                             FormatSize(share.total_bytes), rules.max_over_subscription_ratio,
                             FormatSize(Clamped(promised))));
}

}  // namespace

absl::Status CheckPhysicalRoom(const ShareFigures& share, const SpaceRequest& request) {
  // A request that allocates nothing asks for no room, not even where less than none is left.
  if (request.physical_bytes <= 0) return absl::OkStatus();
  const Wide room = PhysicalRoom(share);
  if (request.physical_bytes <= room) return absl::OkStatus();
  const int64_t shown = Clamped(static_cast<Real>(room));
  return NoSpace(share, "available", request.physical_bytes, shown,
                 fmt::format("{} to allocate, {} physically free ({} less {} held by running "
                             "operations)",
                             FormatSize(request.physical_bytes), FormatSize(shown),
                             FormatSize(share.available_bytes),
                             FormatSize(share.held.physical_bytes + share.beside.physical_bytes)));
}

absl::Status CheckEligible(const ShareFigures& share, const SpaceRequest& request,
                           const PlacementRules& rules) {
  if (share.total_bytes <= 0) {
    return NoSpace(share, "total", request.promised_bytes, 0, "its size is 0 or not known");
  }
  RETURN_IF_ERROR(CheckReserve(share, request, rules));
  RETURN_IF_ERROR(CheckPromise(share, request, rules));
  return CheckPhysicalRoom(share, request);
}

absl::StatusOr<size_t> ChooseShare(const std::vector<ShareFigures>& shares,
                                   const SpaceRequest& request, const PlacementRules& rules) {
  // A pool may have hundreds of shares, a message has some kilobytes.
  constexpr size_t kReasonsMax = 10;
  auto better = [&](const ShareFigures& a, const ShareFigures& b) {
    return rules.policy == PlacementPolicy::kMostAvailable ? PhysicalRoom(a) > PhysicalRoom(b)
                                                           : Promised(a) < Promised(b);
  };
  std::optional<size_t> best;
  std::string reasons;
  for (size_t i = 0; i < shares.size(); ++i) {
    absl::Status eligible = CheckEligible(shares[i], request, rules);
    if (!eligible.ok()) {
      if (i < kReasonsMax) reasons += fmt::format("; {}", std::string(eligible.message()));
      if (i == kReasonsMax) reasons += "; and others";
    } else if (!best.has_value() || better(shares[i], shares[*best])) {
      best = i;
    }
  }
  if (best.has_value()) return *best;
  const int64_t requested = std::max(request.promised_bytes, request.physical_bytes);
  return Error(Reason::kNoEligibleShare,
               fmt::format("no share can take {}{}", FormatSize(requested), reasons),
               {{"requested", std::to_string(requested)}});
}

}  // namespace cairn
