// Children end with the process that started them, and not with the thread.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

#include "lib/os/process.h"
#include "lib/os/unique_fd.h"
#include "tests/support/matchers.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using testing::ReadFile;

// A duration for sleep(1) that no other process has on its command line.
std::string SleepOfThisTest() {
  static std::atomic<int> count{0};
  return fmt::format("700.{}{:03}", getpid(), ++count);
}

// Those that have not ended; who is on its way to be `sleep` still has the command line of its parent.
std::vector<int> Sleeping(const std::string& marker) {
  std::vector<int> pids;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string command = ReadFile(entry.path() / "cmdline");
    if (command.ends_with(marker + std::string(1, '\0'))) {
      pids.push_back(atoi(entry.path().filename().c_str()));
    }
  }
  return pids;
}

// cairn_os_parent, until it is killed.
class Parent {
 public:
  Parent(const char* how, const std::string& marker) {
    std::array<int, 2> fds{};
    EXPECT_EQ(pipe2(fds.data(), O_CLOEXEC), 0);
    output_ = UniqueFd(fds[0]);
    const UniqueFd its(fds[1]);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(its.get(), STDOUT_FILENO);
      execl(CAIRN_OS_PARENT, "parent", how, "sleep", marker.c_str(), nullptr);
      _exit(1);
    }
  }
  ~Parent() { Kill(); }
  Parent(const Parent&) = delete;
  Parent& operator=(const Parent&) = delete;

  void AwaitStarted() {
    std::array<char, 8> text{};
    EXPECT_EQ(read(output_.get(), text.data(), text.size()), 8);
  }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  UniqueFd output_;
  pid_t pid_ = -1;
};

TEST(ChildDeathTest, AChildDiesWithItsParent) {
  const std::string marker = SleepOfThisTest();
  Parent parent("one", marker);
  parent.AwaitStarted();
  // The parent, and the child though its thread has ended; it gets its command line a moment later.
  while (Sleeping(marker).size() != 2) std::this_thread::yield();
  parent.Kill();
  while (!Sleeping(marker).empty()) std::this_thread::yield();
}

// Killed at any instant, also while children are being made.
TEST(ChildDeathTest, NoneIsLeftWhateverTheInstant) {
  std::mt19937_64 random(testing::TestSeed());
  const std::string marker = SleepOfThisTest();
  for (int round = 0; round < 60; ++round) {
    Parent parent("many", marker);
    while (Sleeping(marker).size() < 2) std::this_thread::yield();
    const uint64_t turns = random() % 100'000;
    for (uint64_t turn = 0; turn < turns; ++turn) getppid();
    parent.Kill();
    while (!Sleeping(marker).empty()) std::this_thread::yield();
  }
}

TEST(ChildDeathTest, AChildGoesOnWhenTheThreadThatStartedItEnds) {
  ProcessSpec spec;
  spec.argv = {"sleep", "600"};
  absl::StatusOr<std::unique_ptr<Process>> child;
  pid_t thread = -1;
  std::thread([&] {
    thread = gettid();
    child = ProcessRunner::Posix()->Start(spec);
  }).join();
  ASSERT_OK(child);
  // Its end, and with it the signal, comes a moment after it can be joined.
  const std::string task = fmt::format("/proc/self/task/{}", thread);
  while (std::filesystem::exists(task)) std::this_thread::yield();
  EXPECT_TRUE((*child)->running());
  // A signal that had been sent would have come to it before this one.
  ASSERT_EQ(kill((*child)->pid(), SIGTERM), 0);
  siginfo_t end{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>((*child)->pid()), &end, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(end.si_status, SIGTERM);
}

}  // namespace
}  // namespace cairn
