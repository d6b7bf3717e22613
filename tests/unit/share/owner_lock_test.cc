// The lock on a share: between two engines of one process, and between processes.
#include "lib/share/owner_lock.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "lib/share/share.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/share/fake_mounts.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

class OwnerLockTest : public ::testing::Test {
 protected:
  std::string Path() const { return dir_.File(".cairn/owner"); }

  TempDir dir_;
};

// Another process that holds the lock until it is killed.
class Holder {
 public:
  explicit Holder(const std::string& directory) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      OwnerLock lock(directory);
      const char ok = lock.Ensure().ok() ? 1 : 0;
      if (write(ready[1], &ok, 1) == 1) pause();
      _exit(1);
    }
    char ok = 0;
    EXPECT_EQ(read(ready[0], &ok, 1), 1);
    EXPECT_EQ(ok, 1);
    close(ready[0]);
    close(ready[1]);
  }
  ~Holder() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

TEST_F(OwnerLockTest, HoldsAndSaysWhoHolds) {
  OwnerLock lock(dir_.path());
  ASSERT_OK(lock.Ensure());
  ASSERT_OK(lock.Ensure());
  EXPECT_THAT(ReadFile(Path()), HasSubstr("\"pid\":" + std::to_string(getpid())));
}

TEST_F(OwnerLockTest, AnotherProcessIsNamedAndItsDeathFreesTheShare) {
  Holder holder(dir_.path());
  OwnerLock lock(dir_.path());
  absl::Status owned = lock.Ensure();
  ASSERT_THAT(owned, HasReasonOf(Reason::kShareOwned));
  EXPECT_THAT(std::string(owned.message()), HasSubstr("process " + std::to_string(holder.pid())));
  ErrorMetadata metadata = GetErrorDetails(owned)->metadata;
  EXPECT_EQ(metadata.at("pid"), std::to_string(holder.pid()));
  EXPECT_NE(metadata.at("host"), "");
  EXPECT_THAT(metadata.at("owned_since"), HasSubstr("T"));
  holder.Kill();
  EXPECT_OK(lock.Ensure());
}

TEST_F(OwnerLockTest, TwoPoolsOfOneServerExcludeEachOther) {
  OwnerLock first(dir_.path());
  ASSERT_OK(first.Ensure());
  OwnerLock second(dir_.path());
  absl::Status owned = second.Ensure();
  ASSERT_THAT(owned, HasReasonOf(Reason::kShareOwned));
  EXPECT_THAT(std::string(owned.message()), HasSubstr("another pool of this server"));
  first.Release();
  EXPECT_OK(second.Ensure());
}

TEST_F(OwnerLockTest, AnUnreadableHolderIsStillAHolder) {
  Holder holder(dir_.path());
  for (const std::string& text : {std::string(), std::string("{"), std::string("[1]"),
                                  std::string(5000, '{'), std::string("{\"pid\": \"x\"}")}) {
    WriteFile(Path(), text);
    EXPECT_THAT(OwnerLock(dir_.path()).Ensure(), HasReasonOf(Reason::kShareOwned)) << text;
  }
}

TEST_F(OwnerLockTest, ALockFileThatWasRemovedIsLockedAnew) {
  OwnerLock lock(dir_.path());
  ASSERT_OK(lock.Ensure());
  fs::remove_all(dir_.File(".cairn"));
  ASSERT_OK(lock.Ensure());
  EXPECT_THAT(OwnerLock(dir_.path()).Ensure(), HasReasonOf(Reason::kShareOwned));
}

// Of ours that are called like keepers; those that have ended and were not reaped, too.
std::vector<pid_t> Keepers() {
  std::vector<pid_t> pids;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::istringstream children(ReadFile((task.path() / "children").string()));
    for (pid_t pid = 0; children >> pid;) {
      if (ReadFile(fmt::format("/proc/{}/comm", pid)) == "cairnd-lock\n") pids.push_back(pid);
    }
  }
  return pids;
}

TEST_F(OwnerLockTest, AKeeperThatIsKilledIsReapedAndReplaced) {
  OwnerLock lock(dir_.path());
  ASSERT_OK(lock.Ensure());
  // It takes its name a moment after it was made.
  while (Keepers().empty()) std::this_thread::yield();
  const pid_t killed = Keepers().front();
  ASSERT_EQ(kill(killed, SIGKILL), 0);
  // A process has ended when the last of its threads has, a moment after it looks like a zombie.
  while (kill(killed, 0) == 0) ASSERT_OK(lock.Ensure());
  while (Keepers().empty()) std::this_thread::yield();
  EXPECT_THAT(OwnerLock(dir_.path()).Ensure(), HasReasonOf(Reason::kShareOwned));
  lock.Release();
  EXPECT_THAT(Keepers(), IsEmpty());
  EXPECT_OK(OwnerLock(dir_.path()).Ensure());
}

// As on a share that hangs.
TEST_F(OwnerLockTest, AKeeperThatDoesNotEndInTimeIsReapedLater) {
  OwnerLock lock(dir_.path());
  ASSERT_OK(lock.Ensure());
  while (Keepers().empty()) std::this_thread::yield();
  const pid_t slow = Keepers().front();
  ASSERT_EQ(kill(slow, SIGSTOP), 0);
  lock.Release();
  ASSERT_EQ(kill(slow, 0), 0);
  ASSERT_EQ(kill(slow, SIGKILL), 0);
  while (kill(slow, 0) == 0) std::this_thread::yield();
}

TEST_F(OwnerLockTest, ASymbolicLinkIsNotFollowed) {
  WriteFile(dir_.File("precious"), "content");
  fs::create_directory(dir_.File(".cairn"));
  fs::create_symlink(dir_.File("precious"), Path());
  EXPECT_FALSE(OwnerLock(dir_.path()).Ensure().ok());
  EXPECT_EQ(ReadFile(dir_.File("precious")), "content");
}

// Whoever may write on the share would otherwise have root empty any file.
TEST_F(OwnerLockTest, WhatStrangersPutInItsPlaceIsLeftAsItIs) {
  const std::string victim = dir_.File("precious");
  WriteFile(victim, "content");
  const std::function<void()> kinds[] = {
      [&] { fs::create_symlink(victim, Path()); },
      [&] { fs::create_hard_link(victim, Path()); },
      [&] { ASSERT_EQ(mkfifo(Path().c_str(), 0600), 0); },
      [&] { fs::create_directory(Path()); },
  };
  for (const auto& put : kinds) {
    fs::create_directories(dir_.File(".cairn"));
    put();
    EXPECT_THAT(OwnerLock(dir_.path()).Ensure(), HasReasonOf(Reason::kImageUnsafe));
    EXPECT_EQ(ReadFile(victim), "content");
    fs::remove_all(dir_.File(".cairn"));
  }
  EXPECT_OK(OwnerLock(dir_.path()).Ensure());
}

TEST_F(OwnerLockTest, ADirectoryOfStrangersIsNotEntered) {
  fs::create_directory(dir_.File("victim"));
  WriteFile(dir_.File("victim/owner"), "content");
  OwnerLock lock(dir_.path());
  ASSERT_OK(lock.Ensure());
  fs::remove_all(dir_.File(".cairn"));
  fs::create_directory_symlink(dir_.File("victim"), dir_.File(".cairn"));
  EXPECT_THAT(lock.Ensure(), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_EQ(ReadFile(dir_.File("victim/owner")), "content");
}

TEST_F(OwnerLockTest, AShareOfAnotherServerIsUnreachableUntilThatOneIsGone) {
  Holder holder(dir_.path());
  testing::FakeSpace files;
  testing::FakeMountTable table;
  testing::FakeMountProgram mount(&table);
  Share share(ShareSpec{"file://" + dir_.path(), "", 1}, MountOptions{},
              Share::System{&files, &mount, &table});
  EXPECT_THAT(share.Probe(), HasReasonOf(Reason::kShareOwned));
  EXPECT_THAT(share.CheckUsable(), HasReasonOf(Reason::kShareOwned));
  EXPECT_EQ(share.status().state, ShareState::kUnreachable);
  EXPECT_THAT(share.status().last_error, HasSubstr("process " + std::to_string(holder.pid())));
  EXPECT_EQ(files.calls("Create"), 0);
  holder.Kill();
  EXPECT_OK(share.Probe());
  EXPECT_OK(share.CheckUsable());
}

}  // namespace
}  // namespace cairn
