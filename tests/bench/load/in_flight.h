// GetVolume as often as it goes, with a number of calls always in hand.
#ifndef CAIRN_TESTS_BENCH_LOAD_IN_FLIGHT_H_
#define CAIRN_TESTS_BENCH_LOAD_IN_FLIGHT_H_

#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/report.h"

namespace cairn::bench {

struct InFlightOptions {
  std::string volume_id;
  int in_flight = 32;
  int channels = 1;  // each is a connection; the calls are spread evenly
  double warm_up_seconds = 1;
  double seconds = 5;  // after warming up
};

// Calls by gRPC's callback API: a call begins when the one before it in its slot has ended.
absl::StatusOr<Report> MeasureInFlight(const std::string& server, const InFlightOptions& options);

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_LOAD_IN_FLIGHT_H_
