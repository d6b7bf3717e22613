#include "lib/catalog/time_key.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/catalog/record_makers.h"

namespace cairn::testing {
namespace {

TEST(TimeKeyTest, SortsAsTheTimesDo) {
  const uint64_t seed = Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  RandomRecords random(seed);
  const absl::Duration least = absl::Nanoseconds(1) / 4;
  std::vector<absl::Time> times = {absl::InfinitePast(),
                                   absl::InfiniteFuture(),
                                   absl::UnixEpoch(),
                                   absl::UnixEpoch() - least,
                                   absl::UnixEpoch() + least,
                                   absl::UnixEpoch() - absl::Seconds(1),
                                   absl::FromUnixSeconds(-62'135'596'800)};
  for (int i = 0; i < 100; ++i) times.push_back(random.Time());
  for (absl::Time a : times) {
    EXPECT_EQ(TimeKey(a).size(), 24u);
    for (absl::Time b : times) {
      EXPECT_EQ(a < b, TimeKey(a) < TimeKey(b)) << a << " " << b;
      EXPECT_EQ(a == b, TimeKey(a) == TimeKey(b)) << a << " " << b;
    }
  }
}

}  // namespace
}  // namespace cairn::testing
