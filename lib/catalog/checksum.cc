#include "lib/catalog/checksum.h"

#include <array>
#include <cstring>

namespace cairn {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

uint64_t RotateLeft(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

// Of the processors that this runs on, all are little-endian, as XXH64 reads.
template <typename Number>
Number Take(std::string_view* data) {
  Number number;
  std::memcpy(&number, data->data(), sizeof(number));
  data->remove_prefix(sizeof(number));
  return number;
}

uint64_t Round(uint64_t lane, uint64_t input) {
  return RotateLeft(lane + input * kPrime2, 31) * kPrime1;
}

uint64_t Merge(uint64_t hash, uint64_t lane) { return (hash ^ Round(0, lane)) * kPrime1 + kPrime4; }

}  // namespace

uint64_t Hash64(std::string_view data, uint64_t seed) {
  const uint64_t length = data.size();
  uint64_t hash = seed + kPrime5;
  if (length >= 32) {
    std::array<uint64_t, 4> lanes = {seed + kPrime1 + kPrime2, seed + kPrime2, seed,
                                     seed - kPrime1};
    while (data.size() >= 32) {
      for (uint64_t& lane : lanes) lane = Round(lane, Take<uint64_t>(&data));
    }
    hash = RotateLeft(lanes[0], 1) + RotateLeft(lanes[1], 7) + RotateLeft(lanes[2], 12) +
           RotateLeft(lanes[3], 18);
    for (const uint64_t lane : lanes) hash = Merge(hash, lane);
  }
  hash += length;
  while (data.size() >= 8) {
    hash ^= Round(0, Take<uint64_t>(&data));
    hash = RotateLeft(hash, 27) * kPrime1 + kPrime4;
  }
  if (data.size() >= 4) {
    hash ^= Take<uint32_t>(&data) * kPrime1;
    hash = RotateLeft(hash, 23) * kPrime2 + kPrime3;
  }
  while (!data.empty()) {
    hash ^= Take<uint8_t>(&data) * kPrime5;
    hash = RotateLeft(hash, 11) * kPrime1;
  }
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

Checksum& Checksum::Add(uint64_t number) {
  std::array<char, sizeof(number)> bytes;
  std::memcpy(bytes.data(), &number, bytes.size());
  return Add(std::string_view(bytes.data(), bytes.size()));
}

uint64_t DigestOf(RecordKind kind, std::string_view key, int64_t revision) {
  return Checksum(static_cast<uint64_t>(kind))
      .Add(key)
      .Add(static_cast<uint64_t>(revision))
      .value();
}

Checksum RowChecksum(RecordKind kind, std::string_view key, int64_t revision,
                     std::string_view body) {
  return Checksum(static_cast<uint64_t>(kind))
      .Add(key)
      .Add(static_cast<uint64_t>(revision))
      .Add(body);
}

}  // namespace cairn
