// Each kind of change with a fault at each call on a share. In short form, as a rule, every call in every
// mode with one of the errors, which rotate by the printed seed; with CAIRN_CAMPAIGN=full all of them,
// with CAIRN_CAMPAIGN=sample one in eight of those (under sanitizers).
// One case alone, as the report names it:
//
//   CAIRN_CAMPAIGN_CASE=17/EIO/while cairn_engine_fault_test --gtest_filter='*/delete_middle_snapshot'
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <random>

#include "absl/time/clock.h"
#include "tests/support/seed.h"
#include "tests/unit/engine/faults/campaign.h"
#include "tests/unit/engine/faults/kinds.h"

namespace cairn {
namespace {

using testing::Campaign;
using testing::CampaignCase;
using testing::CampaignKind;
using testing::FaultMode;
using testing::kFaultErrors;
using testing::kFaultModes;
using testing::kToolFaultModes;

constexpr int64_t kLaterMax = 8;     // how far apart two faults are
constexpr int64_t kRestartMax = 40;  // how many calls after a start

bool IsForm(std::string_view wanted) {
  const char* form = getenv("CAIRN_CAMPAIGN");
  return form != nullptr && form == wanted;
}

// Of what children do a part, since each takes as long as ten others.
std::vector<CampaignCase> AllCases(bool by_children, int64_t calls, std::mt19937_64& random) {
  std::vector<CampaignCase> cases;
  for (int64_t call = 1; call <= calls; ++call) {
    for (const int error : kFaultErrors) {
      for (const FaultMode mode : kFaultModes) {
        const int64_t again_max = mode == FaultMode::kTwice ? kLaterMax : 0;
        for (int64_t again = again_max > 0 ? 1 : 0; again <= again_max; ++again) {
          if (by_children && random() % 4 != 0) continue;
          cases.push_back({call, error, mode, again});
        }
      }
    }
  }
  return cases;
}

// The dear ones are drawn.
std::vector<CampaignCase> SomeCases(bool by_children, int64_t calls, std::mt19937_64& random) {
  const auto one_of = [&](uint64_t n) { return random() % n == 0; };
  const uint64_t spare = (by_children ? 6 : 1) * (IsForm("sample") ? 8 : 1);
  std::vector<CampaignCase> cases;
  uint64_t rotation = random();
  for (int64_t call = 1; call <= calls; ++call) {
    for (const FaultMode mode : kFaultModes) {
      const bool restarts = mode == FaultMode::kUntilRestart || mode == FaultMode::kAtRestart;
      if (!one_of(restarts ? 20 * spare : spare)) continue;
      const int error = kFaultErrors[++rotation % std::size(kFaultErrors)];
      cases.push_back({call, error, mode});
    }
  }
  return cases;
}

// Where the second fault is, as far as it is not said.
void DrawAgain(std::vector<CampaignCase>& cases, std::mt19937_64& random) {
  for (CampaignCase& each : cases) {
    if (each.again != 0) continue;
    if (each.mode == FaultMode::kTwice) each.again = 1 + static_cast<int64_t>(random() % kLaterMax);
    if (each.mode == FaultMode::kAtRestart) {
      each.again = 1 + static_cast<int64_t>(random() % kRestartMax);
    }
  }
}

void AddToolCases(int64_t children, std::vector<CampaignCase>& cases) {
  for (int64_t child = 1; child <= children; ++child) {
    for (const FaultMode mode : kToolFaultModes) cases.push_back({child, EIO, mode});
  }
}

std::string Counts(const std::map<std::string, int>& ends) {
  std::string text;
  for (const auto& [end, count] : ends) text += fmt::format(" {}={}", end, count);
  return text;
}

class FaultCampaign : public ::testing::TestWithParam<CampaignKind> {
 protected:
  static void SetUpTestSuite() {
    setenv("TMPDIR", "/dev/shm", /*overwrite=*/0);  // no disk is waited for
    if (getenv("CAIRN_CAMPAIGN_CASE") == nullptr) spdlog::set_level(spdlog::level::off);
  }
};

TEST_P(FaultCampaign, NothingIsLost) {
  const absl::Time began = absl::Now();
  Campaign campaign(GetParam());
  std::vector<CampaignCase> cases;
  if (const char* one = getenv("CAIRN_CAMPAIGN_CASE"); one != nullptr) {
    auto chosen = CampaignCase::FromName(one);
    ASSERT_TRUE(chosen.has_value()) << one;
    cases.push_back(*chosen);
  } else {
    std::mt19937_64 random(testing::TestSeed());
    cases = IsForm("full") ? AllCases(GetParam().by_children, campaign.calls(), random)
                           : SomeCases(GetParam().by_children, campaign.calls(), random);
    DrawAgain(cases, random);
    if (!IsForm("sample")) AddToolCases(campaign.children(), cases);
  }
  for (const CampaignCase& each : cases) campaign.Run(each);
  std::cout << fmt::format(
      "campaign {} calls={} children={} cases={}{} violations={} seconds={:.1f}\n", GetParam().name,
      campaign.calls(), campaign.children(), cases.size(), Counts(campaign.ends()),
      campaign.violations().size(), absl::ToDoubleSeconds(absl::Now() - began));
  for (const std::string& violation : campaign.violations()) ADD_FAILURE() << violation;
}

INSTANTIATE_TEST_SUITE_P(Kinds, FaultCampaign, ::testing::ValuesIn(testing::CampaignKinds()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace cairn
