#include "lib/catalog/known_requests.h"

#include <gtest/gtest.h>

#include <string>

namespace cairn {
namespace {

TEST(KnownRequestsTest, WhatIsThereIsNeverDenied) {
  KnownRequests requests;
  EXPECT_FALSE(requests.MayHave("a"));
  for (int i = 0; i < 1000; ++i) requests.Add(std::to_string(i));
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(requests.MayHave(std::to_string(i)));
  EXPECT_FALSE(requests.MayHave("1000"));
  for (int i = 0; i < 999; ++i) requests.Remove(std::to_string(i));
  EXPECT_FALSE(requests.MayHave("0"));
  EXPECT_TRUE(requests.MayHave("999"));
}

TEST(KnownRequestsTest, AsOftenAsItWasAdded) {
  KnownRequests requests;
  requests.Add("a");
  requests.Add("a");
  requests.Remove("a");
  EXPECT_TRUE(requests.MayHave("a"));
  requests.Remove("a");
  EXPECT_FALSE(requests.MayHave("a"));
  requests.Remove("a");
  requests.Add("");
  EXPECT_FALSE(requests.MayHave(""));
}

}  // namespace
}  // namespace cairn
