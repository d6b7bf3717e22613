// Fail points: named places between two durable steps where a test makes the process die, or an
// error appear. Unarmed (always, in production) a point costs one relaxed atomic load.
//
//   RETURN_IF_ERROR(HitFailPoint("snapshot.create.2"));
//
// Armed from the environment before start: CAIRN_FAILPOINTS="name=crash;other=error;third=2*crash".
//   crash   the process ends at once with code 42, as by SIGKILL: no destructors, no flush
//   error   the point returns INTERNAL
//   sleep   the point sleeps for a second (widens a race)
//   N*act   passes N times first, then acts
#ifndef CAIRN_LIB_BASE_FAILPOINT_H_
#define CAIRN_LIB_BASE_FAILPOINT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace cairn {

inline constexpr int kFailPointExitCode = 42;

// Arms the points of a specification in the form above, instead of those armed before; an empty one
// disarms all. INVALID_FIELD for another form. Thread-safe.
absl::Status ArmFailPoints(std::string_view specification);

absl::Status HitFailPoint(std::string_view name);

// The names hit so far while recording was on, in order of first hit: what a crash campaign
// iterates over.
void RecordFailPoints(bool on);
std::vector<std::string> RecordedFailPoints();

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_FAILPOINT_H_
