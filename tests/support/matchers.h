// GoogleTest matchers for absl::Status and StatusOr, with the names of later abseil releases.
#ifndef CAIRN_TESTS_SUPPORT_MATCHERS_H_
#define CAIRN_TESTS_SUPPORT_MATCHERS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/status.h"

namespace cairn::testing {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  *result_listener << Describe(StatusOf(arg));
  return StatusOf(arg).ok();
}

// The reason that Error() attached.
MATCHER_P(HasReasonOf, reason, std::string("has reason ") + std::string(ReasonName(reason))) {
  *result_listener << Describe(StatusOf(arg));
  return HasReason(StatusOf(arg), reason);
}

MATCHER_P(StatusIs, code, std::string("has code ") + absl::StatusCodeToString(code)) {
  *result_listener << Describe(StatusOf(arg));
  return StatusOf(arg).code() == code;
}

}  // namespace cairn::testing

#define EXPECT_OK(expr) EXPECT_THAT(expr, ::cairn::testing::IsOk())
#define ASSERT_OK(expr) ASSERT_THAT(expr, ::cairn::testing::IsOk())
#define CAIRN_TEST_ASSIGN_(result, lhs, expr) \
  auto result = (expr);                       \
  ASSERT_OK(result);                          \
  lhs = *std::move(result)
// ASSERT_OK_AND_ASSIGN(auto x, MakeX());
#define ASSERT_OK_AND_ASSIGN(lhs, ...) \
  CAIRN_TEST_ASSIGN_(CAIRN_CONCAT_(test_result_, __LINE__), lhs, (__VA_ARGS__))

#endif  // CAIRN_TESTS_SUPPORT_MATCHERS_H_
