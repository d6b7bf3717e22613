// CRC-32C (Castagnoli): by isa-l for data, in closed form for runs of zeros.
#include <isa-l/crc.h>

#include <algorithm>
#include <array>

#include "lib/engine/streams.h"

namespace cairn {
namespace {

// The polynomial 0x1EDC6F41, bits reversed. Below, bit 31 of a word is the coefficient of x^0.
constexpr uint32_t kPolynomial = 0x82F63B78;
constexpr uint32_t kOne = uint32_t{1} << 31;  // x^0

// a x b modulo the polynomial; a is not zero.
uint32_t Multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b & 1) != 0 ? (b >> 1) ^ kPolynomial : b >> 1;
  }
  return product;
}

}  // namespace

uint32_t Crc32c(uint32_t crc, std::string_view data) {
  while (!data.empty()) {
    const size_t length = std::min<size_t>(data.size(), 1 << 30);
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<char*>(data.data()));
    crc = ~crc32_iscsi(bytes, static_cast<int>(length), ~crc);
    data.remove_prefix(length);
  }
  return crc;
}

// Appending n zero bytes multiplies the register by x^(8n): log2(n) multiplications instead of
// reading n bytes, which matters for sparse volumes of terabytes.
uint32_t Crc32cOfZeros(uint32_t crc, int64_t count) {
  uint32_t factor = kOne;
  uint32_t square = kOne >> 8;  // x^8, then its squares
  for (auto n = static_cast<uint64_t>(std::max<int64_t>(count, 0)); n != 0; n >>= 1) {
    if ((n & 1) != 0) factor = Multiply(factor, square);
    square = Multiply(square, square);
  }
  return ~Multiply(factor, ~crc);
}

}  // namespace cairn
