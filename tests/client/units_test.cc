#include "cairnctl/units.h"

#include <gtest/gtest.h>

#include <limits>

namespace cairn::cairnctl {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ParseSize, TakesBytesAndBinaryUnits) {
  EXPECT_EQ(ParseSize("0"), 0);
  EXPECT_EQ(ParseSize("4096"), 4096);
  EXPECT_EQ(ParseSize("512B"), 512);
  EXPECT_EQ(ParseSize("1K"), 1024);
  EXPECT_EQ(ParseSize("512M"), int64_t{512} << 20);
  EXPECT_EQ(ParseSize("10GiB"), int64_t{10} << 30);
  EXPECT_EQ(ParseSize("10gib"), int64_t{10} << 30);
  EXPECT_EQ(ParseSize("10 Gi"), int64_t{10} << 30);
  EXPECT_EQ(ParseSize("2T"), int64_t{2} << 40);
  EXPECT_EQ(ParseSize("2PiB"), int64_t{1} << 51);
  EXPECT_EQ(ParseSize("9223372036854775807"), std::numeric_limits<int64_t>::max());
}

TEST(ParseSize, TakesFractionsOfWholeBytes) {
  EXPECT_EQ(ParseSize("1.5K"), 1536);
  EXPECT_EQ(ParseSize("1.5TiB"), (int64_t{3} << 40) / 2);
  EXPECT_EQ(ParseSize("0.25G"), int64_t{256} << 20);
  EXPECT_EQ(ParseSize("1.0"), 1);
  EXPECT_EQ(ParseSize("1.5"), std::nullopt);
  EXPECT_EQ(ParseSize("1.3K"), std::nullopt);
}

TEST(ParseSize, RefusesEverythingElse) {
  for (const char* text :
       {"", "G", "-1", "+1", " 1", "1GB", "1KB", "1X", "1GiBs", "1.G", ".5G", "1..5G", "0x10",
        "1e3", "9223372036854775808", "9999999999G", "8E", "10 ", "1 000"})
    EXPECT_EQ(ParseSize(text), std::nullopt) << text;
}

TEST(FormatSize, HasAtMostOneDecimal) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(1024), "1.0 KiB");
  EXPECT_EQ(FormatSize(1536), "1.5 KiB");
  EXPECT_EQ(FormatSize((int64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(FormatSize(int64_t{10} << 30), "10.0 GiB");
  EXPECT_EQ(FormatSize(int64_t{1} << 51), "2.0 PiB");
}

TEST(ParseDuration, TakesUnitsInARow) {
  EXPECT_EQ(ParseDuration("30"), seconds(30));
  EXPECT_EQ(ParseDuration("30s"), seconds(30));
  EXPECT_EQ(ParseDuration("250ms"), milliseconds(250));
  EXPECT_EQ(ParseDuration("5m"), seconds(300));
  EXPECT_EQ(ParseDuration("1h30m"), seconds(5400));
  EXPECT_EQ(ParseDuration("2d"), seconds(172800));
  for (const char* text : {"", "s", "-1s", "1x", "1h30", "99999999999999999999s", "1.5s"})
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
}

TEST(FormatDuration, ShowsWhatMatters) {
  EXPECT_EQ(FormatDuration(seconds(-5)), "0s");
  EXPECT_EQ(FormatDuration(seconds(12)), "12s");
  EXPECT_EQ(FormatDuration(seconds(125)), "2m05s");
  EXPECT_EQ(FormatDuration(seconds(1'500)), "25m");
  EXPECT_EQ(FormatDuration(seconds(11'520)), "3h12m");
  EXPECT_EQ(FormatDuration(seconds(4 * 86'400 + 7'200)), "4d02h");
  EXPECT_EQ(FormatDuration(seconds(40 * 86'400)), "40d");
}

}  // namespace
}  // namespace cairn::cairnctl
