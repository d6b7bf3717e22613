// Checksums of what the catalog stores. They are in its files: never changed once released.
//
// Of accidents, not of forgery: XXH64
// (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), which takes a tenth of a
// microsecond for a record.
#ifndef CAIRN_LIB_CATALOG_CHECKSUM_H_
#define CAIRN_LIB_CATALOG_CHECKSUM_H_

#include <cstdint>
#include <string_view>

namespace cairn {

uint64_t Hash64(std::string_view data, uint64_t seed);

// Over several values, one after the other: neither their order nor where one ends and the next
// begins can change unnoticed.
class Checksum {
 public:
  explicit Checksum(uint64_t seed) : value_(seed) {}
  Checksum& Add(std::string_view text) {
    value_ = Hash64(text, value_);
    return *this;
  }
  Checksum& Add(uint64_t number);
  uint64_t value() const { return value_; }

 private:
  uint64_t value_;
};

// Kinds of records, as they count in checksums.
enum class RecordKind { kVolume = 1, kSnapshot = 2, kOperation = 3, kShare = 4 };

// What one record adds to the digest of all, a sum modulo 2^64: so that it can be kept up to date
// with what a commit changes, and verified in any order. Two contents of a record never have the
// same revision.
uint64_t DigestOf(RecordKind kind, std::string_view key, int64_t revision);

// Of one row; the row of an operation that has ended has other columns too.
Checksum RowChecksum(RecordKind kind, std::string_view key, int64_t revision,
                     std::string_view body);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_CHECKSUM_H_
