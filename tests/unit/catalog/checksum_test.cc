#include "lib/catalog/checksum.h"

#include <gtest/gtest.h>

#include <string>

namespace cairn {
namespace {

// As xxHash's own program prints them.
TEST(ChecksumTest, TheHashIsXxh64) {
  EXPECT_EQ(Hash64("", 0), 0xEF46DB3751D8E999u);
  EXPECT_EQ(Hash64("a", 0), 0xD24EC4F1A98C6E5Bu);
  EXPECT_EQ(Hash64("abc", 0), 0x44BC2CF5AD770999u);
  EXPECT_EQ(Hash64("Nobody inspects the spammish repetition", 0), 0xFBCEA83C8A378BF1u);
  EXPECT_EQ(Hash64("xxhash", 20141025), 0xB559B98D844E0635u);
}

TEST(ChecksumTest, EachBitCounts) {
  const std::string text(100, 'x');
  for (size_t length = 1; length <= text.size(); ++length) {
    const std::string whole = text.substr(0, length);
    for (size_t bit = 0; bit < length * 8; ++bit) {
      std::string other = whole;
      other[bit / 8] = static_cast<char>(other[bit / 8] ^ 1 << bit % 8);
      ASSERT_NE(Hash64(other, 7), Hash64(whole, 7)) << length << " " << bit;
    }
  }
}

TEST(ChecksumTest, OrderAndBordersCount) {
  EXPECT_NE(Checksum(1).Add("ab").Add("c").value(), Checksum(1).Add("a").Add("bc").value());
  EXPECT_NE(Checksum(1).Add("a").Add("b").value(), Checksum(1).Add("b").Add("a").value());
  EXPECT_NE(Checksum(1).Add("a").Add("").value(), Checksum(1).Add("a").value());
  EXPECT_NE(DigestOf(RecordKind::kVolume, "a", 1), DigestOf(RecordKind::kSnapshot, "a", 1));
  EXPECT_NE(DigestOf(RecordKind::kVolume, "a", 1), DigestOf(RecordKind::kVolume, "a", 2));
}

}  // namespace
}  // namespace cairn
