// The seed of a test over random inputs: another one each run, printed, and repeatable with
// CAIRN_TEST_SEED=n.
#ifndef CAIRN_TESTS_SUPPORT_SEED_H_
#define CAIRN_TESTS_SUPPORT_SEED_H_

#include <stdlib.h>

#include <cstdint>
#include <iostream>
#include <random>

namespace cairn::testing {

inline uint64_t TestSeed() {
  const char* given = getenv("CAIRN_TEST_SEED");
  const uint64_t seed = given != nullptr ? strtoull(given, nullptr, 10) : std::random_device{}();
  std::cout << "CAIRN_TEST_SEED=" << seed << std::endl;
  return seed;
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SUPPORT_SEED_H_
