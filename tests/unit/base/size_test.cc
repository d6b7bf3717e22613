#include "lib/base/size.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/matchers.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;

TEST(SizeTest, AcceptsWholeSectorsUpToTheLimit) {
  for (int64_t size : {int64_t{512}, kMiB, kGiB + 512, kMaxVolumeBytes}) {
    EXPECT_OK(CheckVolumeSize("size_bytes", size)) << size;
  }
}

TEST(SizeTest, RefusesAnythingElseByName) {
  for (int64_t size :
       {int64_t{0}, int64_t{-512}, int64_t{1}, int64_t{511}, kGiB + 1, kMaxVolumeBytes + 512,
        std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    absl::Status status = CheckVolumeSize("size_bytes", size);
    EXPECT_THAT(status, HasReasonOf(Reason::kInvalidField)) << size;
    EXPECT_EQ(GetErrorDetails(status)->metadata["value"], std::to_string(size));
  }
}

TEST(SizeTest, FormatsForPeople) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(512), "512 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(kKiB), "1 KiB");
  EXPECT_EQ(FormatSize(kGiB + kGiB / 2), "1.5 GiB");
  EXPECT_EQ(FormatSize(kMaxVolumeBytes), "2 PiB");
  EXPECT_EQ(FormatSize(-kMiB), "-1 MiB");
  EXPECT_EQ(FormatSize(std::numeric_limits<int64_t>::max()), "8 EiB");
}

}  // namespace
}  // namespace cairn
