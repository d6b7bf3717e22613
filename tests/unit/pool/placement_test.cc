#include "lib/pool/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "lib/base/size.h"
#include "tests/support/matchers.h"
#include "tests/support/seed.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using ::testing::HasSubstr;

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

ShareFigures Figures(int64_t total_gib, int64_t available_gib, int64_t allocated_gib) {
  ShareFigures share;
  share.address = "h:/a";
  share.total_bytes = total_gib * kGiB;
  share.available_bytes = available_gib * kGiB;
  share.allocated_bytes = allocated_gib * kGiB;
  return share;
}
SpaceRequest Sparse(int64_t bytes) { return {.promised_bytes = bytes}; }
SpaceRequest Thick(int64_t bytes) { return {.promised_bytes = bytes, .physical_bytes = bytes}; }

// The settings of the original's own suite.
constexpr PlacementRules kUpstream{.reserved_percentage = 5, .max_over_subscription_ratio = 1.0};

std::string RuleOf(const absl::Status& status) {
  auto details = GetErrorDetails(status);
  return details.has_value() ? details->metadata["rule"] : "";
}

TEST(EligibleTest, UpstreamEnoughRoom) {
  EXPECT_OK(CheckEligible(Figures(100, 90, 10), Sparse(1 * kGiB), kUpstream));
}

TEST(EligibleTest, UpstreamReservedPercentageIsReached) {
  absl::Status status = CheckEligible(Figures(100, 4, 96), Sparse(1 * kGiB), kUpstream);
  EXPECT_THAT(status, HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(RuleOf(status), "reserved_percentage");
}

TEST(EligibleTest, UpstreamRequestAsLargeAsWhatIsLeftIsRejected) {
  absl::Status status = CheckEligible(Figures(100, 10, 90), Sparse(10 * kGiB), kUpstream);
  EXPECT_THAT(status, HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(RuleOf(status), "max_over_subscription_ratio");
}

TEST(EligibleTest, UpstreamAllocatedInFullIsRejected) {
  EXPECT_THAT(CheckEligible(Figures(100, 10, 100), Sparse(1 * kGiB), kUpstream),
              HasReasonOf(Reason::kNoSpace));
}

TEST(EligibleTest, RequestJustBelowWhatIsLeftIsAccepted) {
  EXPECT_OK(CheckEligible(Figures(100, 10, 90), Sparse(10 * kGiB - 1), kUpstream));
}

TEST(EligibleTest, UseExactlyAtTheReserveIsAccepted) {
  // 95 / 100 <= 1 - 5 / 100, which binary fractions would make a matter of luck.
  EXPECT_OK(CheckEligible(Figures(100, 5, 0), Sparse(kGiB), kUpstream));
  for (int reserved = 0; reserved <= 100; ++reserved) {
    PlacementRules rules{.reserved_percentage = reserved};
    EXPECT_OK(CheckEligible(Figures(100, reserved, 0), Sparse(kGiB), rules)) << reserved;
    if (reserved == 0) continue;
    EXPECT_FALSE(CheckEligible(Figures(100, reserved - 1, 0), Sparse(kGiB), rules).ok())
        << reserved;
  }
}

TEST(EligibleTest, FullyReservedShareTakesNothingOnceUsed) {
  PlacementRules rules{.reserved_percentage = 100};
  EXPECT_OK(CheckEligible(Figures(100, 100, 0), Sparse(kGiB), rules));
  EXPECT_FALSE(CheckEligible(Figures(100, 99, 0), Sparse(kGiB), rules).ok());
}

TEST(EligibleTest, OverSubscriptionPromisesMoreThanThereIs) {
  PlacementRules rules{.max_over_subscription_ratio = 20.0};
  EXPECT_OK(CheckEligible(Figures(10, 10, 0), Sparse(199 * kGiB), rules));
  EXPECT_FALSE(CheckEligible(Figures(10, 10, 0), Sparse(200 * kGiB), rules).ok());
  EXPECT_FALSE(CheckEligible(Figures(10, 10, 200), Sparse(kGiB), rules).ok());
}

TEST(EligibleTest, TotalZeroIsNotEligibleAndSafe) {
  for (const SpaceRequest& request : {Sparse(0), Sparse(kGiB), Thick(kGiB)}) {
    EXPECT_THAT(CheckEligible(Figures(0, 0, 0), request, PlacementRules()),
                HasReasonOf(Reason::kNoSpace));
  }
  EXPECT_THAT(CheckEligible(Figures(-1, 0, 0), Sparse(0), PlacementRules()),
              HasReasonOf(Reason::kNoSpace));
}

TEST(EligibleTest, RequestForNothingOnAFullyPromisedShareIsRejected) {
  EXPECT_FALSE(CheckEligible(Figures(100, 100, 100), Sparse(0), kUpstream).ok());
  EXPECT_OK(CheckEligible(Figures(100, 100, 99), Sparse(0), kUpstream));
}

TEST(EligibleTest, ThickDemandsPhysicalRoomWhateverTheRatioSays) {
  PlacementRules rules{.max_over_subscription_ratio = 20.0};
  EXPECT_OK(CheckEligible(Figures(100, 10, 0), Sparse(50 * kGiB), rules));
  absl::Status status = CheckEligible(Figures(100, 10, 0), Thick(50 * kGiB), rules);
  EXPECT_THAT(status, HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(RuleOf(status), "available");
  EXPECT_OK(CheckEligible(Figures(100, 10, 0), Thick(10 * kGiB), rules));
  EXPECT_FALSE(CheckEligible(Figures(100, 10, 0), Thick(10 * kGiB + 1), rules).ok());
}

TEST(EligibleTest, ThickDemandsRoomLessWhatIsHeld) {
  ShareFigures share = Figures(100, 10, 0);
  share.held.physical_bytes = 4 * kGiB;
  EXPECT_OK(CheckEligible(share, Thick(6 * kGiB), PlacementRules()));
  EXPECT_FALSE(CheckEligible(share, Thick(6 * kGiB + 1), PlacementRules()).ok());
  // A sparse volume does not care, not even where more is held than is there.
  share.held.physical_bytes = 40 * kGiB;
  EXPECT_OK(CheckEligible(share, Sparse(6 * kGiB), PlacementRules()));
}

TEST(EligibleTest, WhatRunningOperationsPromisedCountsAsAllocated) {
  ShareFigures share = Figures(100, 90, 10);
  share.held.promised_bytes = 89 * kGiB;
  EXPECT_THAT(CheckEligible(share, Sparse(kGiB), kUpstream), HasReasonOf(Reason::kNoSpace));
  EXPECT_OK(CheckEligible(share, Sparse(kGiB - 1), kUpstream));
}

TEST(EligibleTest, ErrorSaysWhatWasAskedAndWhatIsThere) {
  absl::Status status = CheckEligible(Figures(100, 10, 0), Thick(50 * kGiB), PlacementRules());
  ErrorMetadata metadata = GetErrorDetails(status)->metadata;
  EXPECT_EQ(metadata["share"], "h:/a");
  EXPECT_EQ(metadata["requested"], std::to_string(50 * kGiB));
  EXPECT_EQ(metadata["available"], std::to_string(10 * kGiB));
  EXPECT_THAT(std::string(status.message()), HasSubstr("50 GiB"));
}

TEST(EligibleTest, ExtremeFiguresDoNotOverflow) {
  ShareFigures share;
  share.total_bytes = kMost;
  share.available_bytes = kMost;
  share.allocated_bytes = kMost;
  share.held = {.promised_bytes = kMost, .physical_bytes = kMost};
  PlacementRules rules{.reserved_percentage = 100, .max_over_subscription_ratio = 1e9};
  EXPECT_OK(CheckEligible(share, Sparse(kMost), rules));
  EXPECT_FALSE(CheckEligible(share, Thick(kMost), rules).ok());
  share.available_bytes = std::numeric_limits<int64_t>::min();
  EXPECT_FALSE(CheckEligible(share, Thick(kMost), rules).ok());
}

TEST(ChooseTest, UpstreamLeastAllocatedNotMostFree) {
  auto chosen = ChooseShare({Figures(5, 2, 2), Figures(10, 3, 1)}, Sparse(kGiB), PlacementRules());
  ASSERT_OK(chosen);
  EXPECT_EQ(*chosen, 1u);
}

TEST(ChooseTest, UpstreamNoShareCanHost) {
  EXPECT_THAT(ChooseShare({Figures(5, 0, 5), Figures(10, 0, 10)}, Sparse(kGiB), kUpstream),
              HasReasonOf(Reason::kNoEligibleShare));
}

TEST(ChooseTest, FirstListedWinsATie) {
  auto chosen = ChooseShare({Figures(10, 9, 3), Figures(10, 9, 1), Figures(99, 99, 1)},
                            Sparse(kGiB), PlacementRules());
  ASSERT_OK(chosen);
  EXPECT_EQ(*chosen, 1u);
}

TEST(ChooseTest, LeastAllocatedThatIsNotEligibleIsPassedOver) {
  auto chosen =
      ChooseShare({Figures(100, 1, 0), Figures(100, 50, 9)}, Thick(2 * kGiB), PlacementRules());
  ASSERT_OK(chosen);
  EXPECT_EQ(*chosen, 1u);
}

TEST(ChooseTest, MostAvailableLessWhatIsHeld) {
  PlacementRules rules{.policy = PlacementPolicy::kMostAvailable};
  std::vector<ShareFigures> shares = {Figures(100, 50, 0), Figures(100, 60, 40)};
  EXPECT_EQ(*ChooseShare(shares, Sparse(kGiB), rules), 1u);
  shares[1].held.physical_bytes = 11 * kGiB;
  EXPECT_EQ(*ChooseShare(shares, Sparse(kGiB), rules), 0u);
  shares[1].held.physical_bytes = 10 * kGiB;
  EXPECT_EQ(*ChooseShare(shares, Sparse(kGiB), rules), 0u) << "a tie";
}

TEST(ChooseTest, ErrorGivesTheReasonOfEachShare) {
  std::vector<ShareFigures> shares = {Figures(100, 1, 0), Figures(0, 0, 0)};
  shares[1].address = "h:/b";
  auto chosen = ChooseShare(shares, Thick(2 * kGiB), PlacementRules());
  ASSERT_THAT(chosen, HasReasonOf(Reason::kNoEligibleShare));
  EXPECT_EQ(GetErrorDetails(chosen.status())->metadata["requested"], std::to_string(2 * kGiB));
  EXPECT_THAT(std::string(chosen.status().message()), HasSubstr("h:/a"));
  EXPECT_THAT(std::string(chosen.status().message()), HasSubstr("h:/b"));
}

TEST(ChooseTest, ErrorOfAHugePoolStaysShort) {
  auto chosen = ChooseShare(std::vector<ShareFigures>(5000, Figures(0, 0, 0)), Sparse(kGiB),
                            PlacementRules());
  ASSERT_FALSE(chosen.ok());
  EXPECT_LT(chosen.status().message().size(), 4000u);
}

TEST(ChooseTest, NoShares) {
  EXPECT_THAT(ChooseShare({}, Sparse(kGiB), PlacementRules()),
              HasReasonOf(Reason::kNoEligibleShare));
}

// Random pools, with figures small enough that ties and borders are met often.
class ChoosePropertyTest : public ::testing::Test {
 protected:
  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }

  std::vector<ShareFigures> RandomShares() {
    std::vector<ShareFigures> shares(Below(6));
    for (ShareFigures& share : shares) {
      share.total_bytes = Below(40);
      share.available_bytes = Below(share.total_bytes + 1);
      share.allocated_bytes = Below(60);
      share.held = {.promised_bytes = Below(10), .physical_bytes = Below(10)};
    }
    return shares;
  }
  PlacementRules RandomRules(PlacementPolicy policy) {
    constexpr double kRatios[] = {1.0, 1.5, 2.0, 20.0};
    return {.reserved_percentage = static_cast<int>(Below(101)),
            .max_over_subscription_ratio = kRatios[Below(4)],
            .policy = policy};
  }
  SpaceRequest RandomRequest() {
    return {.promised_bytes = Below(30), .physical_bytes = Below(2) == 0 ? 0 : Below(30)};
  }

  std::mt19937_64 random_{testing::TestSeed()};
};

TEST_F(ChoosePropertyTest, ChosenIsEligibleAndLeastAllocatedAndFirst) {
  int chosen_count = 0;
  for (int round = 0; round < 5000; ++round) {
    std::vector<ShareFigures> shares = RandomShares();
    PlacementRules rules = RandomRules(PlacementPolicy::kLeastAllocated);
    SpaceRequest request = RandomRequest();
    auto chosen = ChooseShare(shares, request, rules);
    auto promised = [&](size_t i) {
      return shares[i].allocated_bytes + shares[i].held.promised_bytes;
    };
    for (size_t i = 0; i < shares.size(); ++i) {
      if (!CheckEligible(shares[i], request, rules).ok()) {
        ASSERT_FALSE(chosen.ok() && *chosen == i);
        continue;
      }
      ASSERT_OK(chosen) << "an eligible share was there";
      ASSERT_LE(promised(*chosen), promised(i));
      ASSERT_FALSE(promised(*chosen) == promised(i) && *chosen > i);
    }
    if (chosen.ok()) ++chosen_count;
  }
  EXPECT_GT(chosen_count, 100) << "the inputs must reach both outcomes";
}

TEST_F(ChoosePropertyTest, MostAvailableIsTheOneWithMostRoom) {
  for (int round = 0; round < 3000; ++round) {
    std::vector<ShareFigures> shares = RandomShares();
    PlacementRules rules = RandomRules(PlacementPolicy::kMostAvailable);
    SpaceRequest request = RandomRequest();
    auto chosen = ChooseShare(shares, request, rules);
    auto room = [&](size_t i) { return shares[i].available_bytes - shares[i].held.physical_bytes; };
    for (size_t i = 0; i < shares.size(); ++i) {
      if (!CheckEligible(shares[i], request, rules).ok()) continue;
      ASSERT_OK(chosen);
      ASSERT_GE(room(*chosen), room(i));
    }
  }
}

// The formulas as section 2.4 of the driver's description writes them, in its arithmetic.
TEST_F(ChoosePropertyTest, SparseRequestsAreJudgedAsByTheOriginal) {
  for (int round = 0; round < 5000; ++round) {
    ShareFigures share;
    share.total_bytes = 1 + Below(1000);
    share.available_bytes = Below(share.total_bytes + 1);
    share.allocated_bytes = Below(2000);
    PlacementRules rules = RandomRules(PlacementPolicy::kLeastAllocated);
    const int64_t requested = Below(1000);
    const double total = static_cast<double>(share.total_bytes);
    const double used_ratio = (100 - rules.reserved_percentage) / 100.0;
    const double actual_used = static_cast<double>(share.total_bytes - share.available_bytes);
    const double apparent = std::max(0.0, total * rules.max_over_subscription_ratio);
    const double left = std::max(0.0, apparent - static_cast<double>(share.allocated_bytes));
    const double allocated_ratio = static_cast<double>(share.allocated_bytes) / total;
    const bool original = actual_used / total <= used_ratio &&
                          left > static_cast<double>(requested) &&
                          allocated_ratio < rules.max_over_subscription_ratio;
    ASSERT_EQ(CheckEligible(share, Sparse(requested), rules).ok(), original)
        << share.total_bytes << " " << share.available_bytes << " " << share.allocated_bytes << " "
        << rules.reserved_percentage << " " << rules.max_over_subscription_ratio << " "
        << requested;
  }
}

}  // namespace
}  // namespace cairn
