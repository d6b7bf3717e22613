#include "lib/share/mount_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace cairn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(MountAdviceTest, SafeOptionsNeedNone) {
  EXPECT_THAT(AdviseOnMountOptions(""), IsEmpty());
  EXPECT_THAT(AdviseOnMountOptions("vers=4.2,nconnect=8,hard,noatime,softreval"), IsEmpty());
}

TEST(MountAdviceTest, EachUnsafeOptionIsNamed) {
  EXPECT_THAT(AdviseOnMountOptions("vers=3,nolock,hard,noac"),
              ElementsAre(StartsWith("nolock: "), StartsWith("noac: ")));
  EXPECT_THAT(AdviseOnMountOptions("soft"), ElementsAre(HasSubstr("I/O errors")));
  EXPECT_THAT(AdviseOnMountOptions("nocto,,ro"),
              ElementsAre(StartsWith("nocto: "), StartsWith("ro: ")));
}

TEST(MountAdviceTest, WhoIsNotRootIsToldSo) {
  constexpr uid_t kNobody = 65534;
  EXPECT_EXIT(
      {
        if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);
        const std::string lack = WhatMountingLacks();
        const bool told = lack.find("CAP_SYS_ADMIN") != std::string::npos &&
                          lack.find("not run as root") != std::string::npos;
        _exit(told ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace cairn
