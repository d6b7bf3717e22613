#include "lib/catalog/known_requests.h"

#include <gtest/gtest.h>

#include <string>

namespace cairn {
namespace {

TEST(KnownRequestsTest, WhatIsThereIsNeverDeniedAndLittleElseIsTakenForIt) {
  KnownRequests requests;
  EXPECT_FALSE(requests.MayHave("a"));
  constexpr int kCount = 300'000;
  for (int i = 0; i < kCount; ++i) requests.Add(std::to_string(i));
  int mistaken = 0;
  for (int i = 0; i < kCount; ++i) {
    ASSERT_TRUE(requests.MayHave(std::to_string(i)));
    mistaken += requests.MayHave(std::to_string(kCount + i)) ? 1 : 0;
  }
  EXPECT_LT(mistaken, kCount / 1000);
}

}  // namespace
}  // namespace cairn
