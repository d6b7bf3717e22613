#include "cairn/client/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace cairn::client {
namespace {

// By the definition, bit by bit.
uint32_t Reference(uint32_t crc, const std::string& data) {
  crc = ~crc;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

TEST(Crc32c, HasTheValueOfTheContract) { EXPECT_EQ(ExtendCrc32c(0, "123456789"), 0xE3069283u); }

TEST(Crc32c, OfNothingChangesNothing) {
  EXPECT_EQ(ExtendCrc32c(0, ""), 0u);
  EXPECT_EQ(ExtendCrc32c(0x12345678, ""), 0x12345678u);
  EXPECT_EQ(ExtendCrc32cByZeros(0x12345678, 0), 0x12345678u);
}

TEST(Crc32c, EqualsTheDefinitionInPiecesOfAnySize) {
  std::mt19937 random(42);
  std::string data(10'000, '\0');
  for (char& c : data) c = static_cast<char>(random());
  const uint32_t whole = Reference(0, data);
  EXPECT_EQ(ExtendCrc32c(0, data), whole);
  for (int i = 0; i < 100; ++i) {
    const size_t cut = random() % data.size();
    const std::string_view view = data;
    EXPECT_EQ(ExtendCrc32c(ExtendCrc32c(0, view.substr(0, cut)), view.substr(cut)), whole);
  }
}

TEST(Crc32c, OfZerosEqualsThatOfZeroBytes) {
  std::mt19937 random(43);
  for (const int64_t length : {1, 2, 3, 7, 8, 511, 512, 513, 4'096, 65'536, 1'000'003}) {
    const uint32_t before = random();
    EXPECT_EQ(ExtendCrc32cByZeros(before, length),
              ExtendCrc32c(before, std::string(static_cast<size_t>(length), '\0')))
        << length;
  }
}

TEST(Crc32c, OfHugeRunsOfZerosAddsUp) {
  const int64_t huge = int64_t{1} << 51;
  const uint32_t one = ExtendCrc32cByZeros(0xdeadbeef, huge + 12'345);
  EXPECT_EQ(one, ExtendCrc32cByZeros(ExtendCrc32cByZeros(0xdeadbeef, 12'345), huge));
}

}  // namespace
}  // namespace cairn::client
