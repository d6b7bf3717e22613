#include "cairnctl/progress.h"

#include <gtest/gtest.h>

#include "cairnctl/table.h"

namespace cairn::cairnctl {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;
constexpr double kMiB = 1 << 20;

TEST(Progress, BarShowsPercentBytesRateAndTime) {
  EXPECT_EQ(FormatBar({"copying", 5 * kGiB, 10 * kGiB}, 128 * kMiB, 100),
            "copying [====================>                   ]  50%  5.0 GiB of 10.0 GiB  "
            "128.0 MiB/s  ETA 40s");
}

TEST(Progress, BarFitsItsWidth) {
  for (size_t width = 1; width < 150; ++width)
    EXPECT_LE(DisplayWidth(FormatBar({"kopiere größe", 5 * kGiB, 10 * kGiB}, 128 * kMiB, width)),
              width);
}

TEST(Progress, ALongLabelLeavesTheFiguresVisible) {
  const std::string bar = FormatBar({std::string(300, 'x'), 5 * kGiB, 10 * kGiB}, 128 * kMiB, 80);
  EXPECT_NE(bar.find("xxx... ["), std::string::npos) << bar;
  EXPECT_NE(bar.find("ETA 40s"), std::string::npos) << bar;
}

TEST(Progress, WithoutATotalItIsOnlyWhatIsDone) {
  EXPECT_EQ(FormatBar({"upload", 5 * kGiB, 0}, 0, 80), "upload  5.0 GiB");
  EXPECT_EQ(FormatBar({"create volume: QUEUED", 0, 0}, 0, 80), "create volume: QUEUED");
  EXPECT_EQ(FormatLine({"upload", 5 * kGiB, 0}), "upload: 5.0 GiB");
  EXPECT_EQ(FormatLine({"copying", 5 * kGiB, 10 * kGiB}), "copying: 50% (5.0 GiB of 10.0 GiB)");
}

TEST(Progress, OneHundredOnlyWhenComplete) {
  EXPECT_NE(FormatLine({"c", 10 * kGiB - 1, 10 * kGiB}).find("99%"), std::string::npos);
  EXPECT_NE(FormatLine({"c", 11 * kGiB, 10 * kGiB}).find("100%"), std::string::npos);
}

TEST(RateMeter, FollowsTheRate) {
  RateMeter meter;
  RateMeter::Clock::time_point now{};
  for (int i = 0; i <= 100; ++i) meter.Add(i * 1'000, now + std::chrono::milliseconds(100 * i));
  EXPECT_NEAR(meter.bytes_per_second(), 10'000, 100);
  meter.Add(0, now + std::chrono::seconds(11));
  EXPECT_EQ(meter.bytes_per_second(), 0);
}

}  // namespace
}  // namespace cairn::cairnctl
