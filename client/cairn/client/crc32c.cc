#include "cairn/client/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <array>

namespace cairn::client {
namespace {

// A linear map over the 32 bits of the register: column i is the image of bit i.
using Matrix = std::array<uint32_t, 32>;

constexpr uint32_t kReflectedPolynomial = 0x82f63b78;

constexpr uint32_t Apply(const Matrix& matrix, uint32_t vector) {
  uint32_t result = 0;
  for (size_t i = 0; vector != 0; vector >>= 1, ++i) {
    if (vector & 1) result ^= matrix[i];
  }
  return result;
}

constexpr Matrix Square(const Matrix& matrix) {
  Matrix result{};
  for (size_t i = 0; i < result.size(); ++i) result[i] = Apply(matrix, matrix[i]);
  return result;
}

// What one zero bit does to the register.
constexpr Matrix ZeroBit() {
  Matrix matrix{};
  matrix[0] = kReflectedPolynomial;
  for (size_t i = 1; i < matrix.size(); ++i) matrix[i] = uint32_t{1} << (i - 1);
  return matrix;
}

// powers[k] is what 2^k zero bytes do.
constexpr size_t kPowers = 63;
constexpr std::array<Matrix, kPowers> MakePowers() {
  std::array<Matrix, kPowers> powers{};
  powers[0] = Square(Square(Square(ZeroBit())));
  for (size_t k = 1; k < kPowers; ++k) powers[k] = Square(powers[k - 1]);
  return powers;
}

}  // namespace

uint32_t ExtendCrc32c(uint32_t crc, std::string_view data) {
  constexpr size_t kStep = size_t{1} << 30;  // the library counts in int
  uint32_t state = ~crc;
  while (!data.empty()) {
    const size_t length = std::min(data.size(), kStep);
    // The library takes a mutable pointer and does not write through it.
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<char*>(data.data()));
    state = crc32_iscsi(bytes, static_cast<int>(length), state);
    data.remove_prefix(length);
  }
  return ~state;
}

uint32_t ExtendCrc32cByZeros(uint32_t crc, int64_t length) {
  static const std::array<Matrix, kPowers> kZeroBytes = MakePowers();
  uint32_t state = ~crc;
  for (size_t k = 0; length > 0 && k < kPowers; length >>= 1, ++k) {
    if (length & 1) state = Apply(kZeroBytes[k], state);
  }
  return ~state;
}

}  // namespace cairn::client
