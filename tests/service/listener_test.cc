// Connections: how many are taken, and what becomes of those that are not.
#include "server/listener.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>

#include "absl/time/clock.h"
#include "lib/base/mutex.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {
namespace {

UniqueFd Dial(const std::string& address) {
  if (address.starts_with("unix:")) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address.copy(name.sun_path, sizeof(name.sun_path) - 1, 5);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* plain = reinterpret_cast<const sockaddr*>(&name);
    return connect(fd.get(), plain, sizeof(name)) == 0 ? std::move(fd) : UniqueFd();
  }
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  name.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* plain = reinterpret_cast<const sockaddr*>(&name);
  return connect(fd.get(), plain, sizeof(name)) == 0 ? std::move(fd) : UniqueFd();
}

// The other side has closed the connection; waits for that.
bool IsClosed(const UniqueFd& fd) {
  char byte;
  return recv(fd.get(), &byte, 1, 0) <= 0;
}

class ListenerTest : public ::testing::Test {
 protected:
  void Listen(const std::vector<std::string>& addresses, const ListenerLimits& limits) {
    ASSERT_OK_AND_ASSIGN(listener_, Listener::Bind(addresses));
    listener_->Start(limits, [this](UniqueFd fd) {
      MutexLock lock(&mutex_);
      served_.push_back(std::move(fd));
    });
  }
  size_t served() {
    MutexLock lock(&mutex_);
    return served_.size();
  }
  bool Serves(size_t count) {
    for (int i = 0; i < 3000 && served() < count; ++i) absl::SleepFor(absl::Milliseconds(10));
    return served() >= count;
  }

  TempDir dir_;
  Mutex mutex_;
  std::vector<UniqueFd> served_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Listener> listener_;  // ends before what it serves goes
};

TEST_F(ListenerTest, WhatIsBeyondTheLimitIsClosedAndLocalClientsGetIn) {
  Listen({"127.0.0.1:0", "unix:" + dir_.File("s")}, {.connections_max = 2});
  const std::vector<std::string> at = listener_->addresses();
  UniqueFd first = Dial(at[0]);
  UniqueFd second = Dial(at[0]);
  ASSERT_TRUE(Serves(2));
  EXPECT_FALSE(listener_->refusing());
  EXPECT_TRUE(IsClosed(Dial(at[0])));
  EXPECT_TRUE(listener_->refusing());
  EXPECT_EQ(served(), 2u);
  UniqueFd local = Dial(at[1]);
  ASSERT_TRUE(Serves(3));
  // One ends, and another one is taken. That takes a moment to be noticed.
  {
    MutexLock lock(&mutex_);
    served_[0].Reset();
  }
  std::vector<UniqueFd> more;
  for (int i = 0; i < 3000 && served() < 4; ++i) {
    more.push_back(Dial(at[0]));
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(served(), 4u);
}

TEST_F(ListenerTest, DescriptorsAreKeptForOtherWork) {
  // No number that a new descriptor can have is below it, but for those of UNIX sockets.
  Listen({"127.0.0.1:0", "unix:" + dir_.File("s")}, {.descriptors_tcp = 3});
  EXPECT_TRUE(IsClosed(Dial(listener_->addresses()[0])));
  UniqueFd local = Dial(listener_->addresses()[1]);
  EXPECT_TRUE(Serves(1));
  const ListenerLimits limits = LimitsFor(4096, 1024);
  EXPECT_LT(limits.descriptors_tcp, limits.descriptors_unix);
  EXPECT_LT(limits.descriptors_unix, 1024);
  EXPECT_GT(LimitsFor(4096, 65536).descriptors_tcp, 4096 + 1024);
}

TEST_F(ListenerTest, ClientsThatComeBeforeItStartsAreServedThen) {
  ASSERT_OK_AND_ASSIGN(listener_, Listener::Bind({"127.0.0.1:0"}));
  UniqueFd early = Dial(listener_->addresses()[0]);
  EXPECT_TRUE(early.valid());
  listener_->Start({}, [this](UniqueFd fd) {
    MutexLock lock(&mutex_);
    served_.push_back(std::move(fd));
  });
  EXPECT_TRUE(Serves(1));
}

TEST_F(ListenerTest, StoppingClosesItsSocketsAndRemovesTheirFiles) {
  Listen({"127.0.0.1:0", "unix:" + dir_.File("s")}, {});
  const std::vector<std::string> at = listener_->addresses();
  listener_->Stop();
  listener_->Stop();
  EXPECT_FALSE(Dial(at[0]).valid());
  EXPECT_FALSE(std::filesystem::exists(dir_.File("s")));
}

TEST_F(ListenerTest, NamesKeepTheirForm) {
  ASSERT_OK_AND_ASSIGN(listener_, Listener::Bind({"localhost:0", "0.0.0.0:0", "[::]:0"}));
  const std::vector<std::string> at = listener_->addresses();
  EXPECT_TRUE(at[0].starts_with("localhost:"));
  EXPECT_TRUE(at[1].starts_with("0.0.0.0:"));
  EXPECT_TRUE(at[2].starts_with("[::]:"));
  for (const std::string& address : at) {
    EXPECT_FALSE(address.ends_with(":0"));
    EXPECT_TRUE(Dial(address).valid()) << address;
  }
}

TEST_F(ListenerTest, WhatCannotBeListenedOnIsSaid) {
  EXPECT_THAT(Describe(Listener::Bind({"unix:" + dir_.File("none/s")}).status()),
              ::testing::HasSubstr("cannot listen on unix:" + dir_.File("none/s")));
  EXPECT_THAT(Describe(Listener::Bind({"no.such.host.invalid:0"}).status()),
              ::testing::HasSubstr("cannot listen on no.such.host.invalid:0"));
}

}  // namespace
}  // namespace cairn::testing
