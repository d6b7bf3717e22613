// Whether an operation of a request_id may be in the store, from memory: nearly every request_id is new,
// and to look for it on the disk would take longer than all else that a request needs before it is
// carried out.
#ifndef CAIRN_LIB_CATALOG_KNOWN_REQUESTS_H_
#define CAIRN_LIB_CATALOG_KNOWN_REQUESTS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace cairn {

// Thread-safe. A Bloom filter of 4 MiB, however many there are: of a million it takes one in five
// thousand others for known, of ten million one in four. It forgets nothing; a restart does, where the
// operation is gone.
class KnownRequests {
 public:
  KnownRequests() : words_(kBits / 64) {}

  void Add(std::string_view request_id) {
    for (const uint64_t bit : BitsOf(request_id)) {
      words_[bit / 64].fetch_or(uint64_t{1} << bit % 64, std::memory_order_relaxed);
    }
  }
  // False: it was not added. True also for some others.
  bool MayHave(std::string_view request_id) const {
    for (const uint64_t bit : BitsOf(request_id)) {
      const uint64_t word = words_[bit / 64].load(std::memory_order_relaxed);
      if ((word & uint64_t{1} << bit % 64) == 0) return false;
    }
    return true;
  }

 private:
  static constexpr uint64_t kBits = uint64_t{1} << 25;
  static constexpr size_t kBitsEach = 4;

  // By double hashing (Kirsch and Mitzenmacher, "Less Hashing, Same Performance", 2006).
  static std::array<uint64_t, kBitsEach> BitsOf(std::string_view text) {
    const uint64_t hash = absl::HashOf(absl::string_view(text.data(), text.size()));
    const uint64_t step = hash >> 32 | 1;
    std::array<uint64_t, kBitsEach> bits;
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = (hash + i * step) % kBits;
    return bits;
  }

  std::vector<std::atomic<uint64_t>> words_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_KNOWN_REQUESTS_H_
