#include "lib/os/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/time/clock.h"
#include "lib/base/size.h"
#include "lib/os/file_system.h"
#include "lib/os/unique_fd.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;
using ::cairn::testing::ReadFile;
using ::cairn::testing::TempDir;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// Long enough for any machine; no test waits it out.
constexpr absl::Duration kLong = absl::Seconds(60);

bool Eventually(const std::function<bool()>& condition) {
  for (absl::Time end = absl::Now() + kLong; absl::Now() < end;) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return false;
}

// A duration for sleep(1) that no other process has on its command line.
std::string UniqueSleep() {
  static std::atomic<int> count{0};
  return fmt::format("600.{}{:03}", getpid(), ++count);
}

// Processes that run `program` with `argument` as the last one; not zombies, whose command line is
// empty.
std::vector<int> FindProcesses(const std::string& program, const std::string& argument) {
  std::vector<int> pids;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    std::string command = ReadFile(entry.path() / "cmdline");
    std::string path = command.substr(0, command.find('\0'));
    if (path.substr(path.find_last_of('/') + 1) == program &&
        command.ends_with(argument + std::string(1, '\0'))) {
      pids.push_back(atoi(entry.path().filename().c_str()));
    }
  }
  return pids;
}

std::string StatusLine(int pid, const std::string& name) {
  std::string status = ReadFile(fmt::format("/proc/{}/status", pid));
  size_t begin = status.find(name);
  return begin == std::string::npos ? "" : status.substr(begin, status.find('\n', begin) - begin);
}

class ProcessTest : public ::testing::Test {
 protected:
  absl::StatusOr<ProcessResult> Run(std::vector<std::string> argv) {
    return runner_.Run({.argv = std::move(argv), .timeout = kLong});
  }

  ProcessRunner& runner_ = *ProcessRunner::Posix();
  TempDir dir_;
};

TEST_F(ProcessTest, CollectsOutputAndExitCode) {
  ASSERT_OK_AND_ASSIGN(ProcessResult echo, Run({"echo", "a b", "$HOME;*"}));
  EXPECT_EQ(echo.exit_code, 0);
  EXPECT_EQ(echo.signal, 0);
  EXPECT_EQ(echo.stdout_text, "a b $HOME;*\n") << "no shell looked at it";
  EXPECT_EQ(echo.stderr_text, "");
  ASSERT_OK_AND_ASSIGN(ProcessResult cat, Run({"cat", dir_.File("none")}));
  EXPECT_EQ(cat.exit_code, 1);
  EXPECT_EQ(cat.stdout_text, "");
  EXPECT_THAT(cat.stderr_text, HasSubstr("No such file or directory"));
}

TEST_F(ProcessTest, RunsQemuImg) {
  ASSERT_OK_AND_ASSIGN(ProcessResult result, Run({"qemu-img", "--version"}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.stdout_text, HasSubstr("qemu-img version"));
}

TEST_F(ProcessTest, TheEnvironmentIsPathAndLocaleOnly) {
  ASSERT_OK_AND_ASSIGN(ProcessResult result, Run({"env"}));
  std::vector<std::string> names;
  for (size_t begin = 0; begin < result.stdout_text.size();) {
    size_t end = result.stdout_text.find('\n', begin);
    names.push_back(result.stdout_text.substr(begin, end - begin));
    begin = end + 1;
  }
  EXPECT_THAT(names, UnorderedElementsAre("LC_ALL=C", fmt::format("PATH={}", getenv("PATH"))));
}

TEST_F(ProcessTest, StandardInputIsEmpty) {
  ASSERT_OK_AND_ASSIGN(ProcessResult result, Run({"cat"}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.stdout_text, "");
}

TEST_F(ProcessTest, NoOtherFileIsInherited) {
  UniqueFd leaky(open("/dev/null", O_RDONLY));  // not close-on-exec
  ASSERT_OK_AND_ASSIGN(ProcessResult result, Run({"ls", "/proc/self/fd"}));
  EXPECT_EQ(result.stdout_text, "0\n1\n2\n3\n") << "3 is the directory that ls reads";
}

TEST_F(ProcessTest, TheUsualNumberOfFilesMayBeOpen) {
  struct rlimit ours {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &ours), 0);
  struct rlimit raised = ours;
  raised.rlim_cur = raised.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &raised), 0);
  ASSERT_OK_AND_ASSIGN(ProcessResult result, Run({"sh", "-c", "ulimit -Sn; ulimit -Hn"}));
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &ours), 0);
  const auto hard = raised.rlim_max;
  EXPECT_EQ(result.stdout_text,
            fmt::format("{}\n{}\n", std::min<rlim_t>(hard, 1024),
                        hard == RLIM_INFINITY ? "unlimited" : std::to_string(hard)));
}

TEST_F(ProcessTest, RunsInTheWorkingDirectory) {
  ASSERT_OK_AND_ASSIGN(ProcessResult result,
                       runner_.Run({.argv = {"pwd"}, .working_directory = dir_.path()}));
  EXPECT_EQ(result.stdout_text, dir_.path() + "\n");
  EXPECT_FALSE(runner_.Run({.argv = {"pwd"}, .working_directory = dir_.File("none")}).ok());
}

TEST_F(ProcessTest, SignalsAreAsAtTheStartOfAProcess) {
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  auto handler = signal(SIGPIPE, SIG_IGN);
  auto process = runner_.Start({.argv = {"sleep", "600"}});
  signal(SIGPIPE, handler);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_OK(process);
  EXPECT_EQ(StatusLine((*process)->pid(), "SigBlk:"), "SigBlk:\t0000000000000000");
  // glibc keeps two signals of its own, 32 and 33, ignored.
  EXPECT_THAT(StatusLine((*process)->pid(), "SigIgn:"),
              AnyOf("SigIgn:\t0000000000000000", "SigIgn:\t0000000180000000"));
  EXPECT_EQ(getpgid((*process)->pid()), (*process)->pid()) << "a group of its own";
}

TEST_F(ProcessTest, LimitsHoldFromTheBeginning) {
  ASSERT_OK_AND_ASSIGN(ProcessResult result,
                       runner_.Run({.argv = {"prlimit", "--as", "--cpu", "--raw", "--noheadings",
                                             "--output", "RESOURCE,SOFT,HARD"},
                                    .address_space_bytes = kGiB,
                                    .cpu_seconds = 77}));
  EXPECT_THAT(result.stdout_text, HasSubstr("AS 1073741824 1073741824"));
  EXPECT_THAT(result.stdout_text, HasSubstr("CPU 77 77"));
}

TEST_F(ProcessTest, TooMuchMemoryFails) {
  ASSERT_OK_AND_ASSIGN(
      ProcessResult result,
      runner_.Run({.argv = {"dd", "if=/dev/zero", "of=/dev/null", "bs=1G", "count=1"},
                   .address_space_bytes = 256 * kMiB,
                   .timeout = kLong}));
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.stderr_text, HasSubstr("memory exhausted"));
}

TEST_F(ProcessTest, TooMuchProcessorTimeEndsIt) {
  ProcessSpec spec{.argv = {"dd", "if=/dev/zero", "of=/dev/null"}, .cpu_seconds = 1};
  spec.timeout = kLong;
  ASSERT_OK_AND_ASSIGN(ProcessResult result, runner_.Run(spec));
  EXPECT_THAT(result.signal, AnyOf(SIGKILL, SIGXCPU));
  EXPECT_THAT(CheckExit(spec, result), HasReasonOf(Reason::kToolFailed));
}

TEST_F(ProcessTest, OutputIsBoundedButAllOfItIsSeen) {
  int64_t seen = 0;
  ProcessSpec spec{.argv = {"head", "-c", "5000000", "/dev/zero"}, .output_max_bytes = 1000};
  spec.on_stdout = [&](std::string_view piece) { seen += static_cast<int64_t>(piece.size()); };
  ASSERT_OK_AND_ASSIGN(ProcessResult result, runner_.Run(spec));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.stdout_text, SizeIs(1000));
  EXPECT_EQ(seen, 5000000);
}

TEST_F(ProcessTest, AllOfALongOutputArrives) {
  ProcessSpec spec{.argv = {"head", "-c", "5000000", "/dev/zero"}, .output_max_bytes = 10 * kMiB};
  ASSERT_OK_AND_ASSIGN(ProcessResult result, runner_.Run(spec));
  EXPECT_THAT(result.stdout_text, SizeIs(5000000));
}

TEST_F(ProcessTest, AMissingToolIsNamedWithItsPackage) {
  absl::Status status = Run({"cairn-no-such-tool"}).status();
  EXPECT_THAT(status, HasReasonOf(Reason::kToolMissing));
  EXPECT_EQ(GetErrorDetails(status)->metadata["tool"], "cairn-no-such-tool");
  const std::string path = getenv("PATH");
  setenv("PATH", dir_.path().c_str(), 1);
  absl::Status qemu_img = Run({"qemu-img"}).status();
  absl::Status mount_nfs = Run({"mount.nfs"}).status();
  absl::Status started = runner_.Start({.argv = {"qemu-nbd"}}).status();
  setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(qemu_img, HasReasonOf(Reason::kToolMissing));
  EXPECT_EQ(qemu_img.message(), "qemu-img is not installed: install package qemu-utils");
  EXPECT_EQ(GetErrorDetails(mount_nfs)->metadata["package"], "nfs-common");
  EXPECT_THAT(started, HasReasonOf(Reason::kToolMissing));
}

TEST_F(ProcessTest, WhatIsNotAProgramIsMissing) {
  testing::WriteFile(dir_.File("text"), "not a program");
  EXPECT_THAT(Run({dir_.File("text")}), HasReasonOf(Reason::kToolMissing));
  EXPECT_THAT(Run({dir_.path()}), HasReasonOf(Reason::kToolMissing));
  EXPECT_THAT(Run({}), HasReasonOf(Reason::kInternal));
  EXPECT_THAT(Run({""}), HasReasonOf(Reason::kInternal));
}

TEST_F(ProcessTest, ATimeoutEndsTheChild) {
  std::string marker = UniqueSleep();
  EXPECT_THAT(runner_.Run({.argv = {"sleep", marker}, .timeout = absl::Milliseconds(200)}),
              HasReasonOf(Reason::kDeadline));
  EXPECT_THAT(FindProcesses("sleep", marker), SizeIs(0)) << "reaped before Run returned";
  EXPECT_THAT(runner_.Run({.argv = {"sleep", marker}, .timeout = absl::ZeroDuration()}),
              HasReasonOf(Reason::kDeadline));
}

TEST_F(ProcessTest, ACancelledTokenStartsNothing) {
  CancelSource source;
  source.Cancel();
  EXPECT_THAT(runner_.Run({.argv = {"cairn-no-such-tool"}, .cancel = source.token()}),
              HasReasonOf(Reason::kCancelled));
}

TEST_F(ProcessTest, CancelEndsTheWholeGroup) {
  std::string marker = UniqueSleep();
  CancelSource source;
  absl::Status status;
  std::thread run([&] {
    status = runner_
                 .Run({.argv = {"timeout", "--foreground", "600", "sleep", marker},
                       .cancel = source.token()})
                 .status();
  });
  EXPECT_TRUE(Eventually([&] { return FindProcesses("sleep", marker).size() == 1; }));
  source.Cancel();
  run.join();
  EXPECT_THAT(status, HasReasonOf(Reason::kCancelled));
  EXPECT_THAT(FindProcesses("timeout", marker), SizeIs(0));
  // Not our child, so its end is not waited for by Run.
  EXPECT_TRUE(Eventually([&] { return FindProcesses("sleep", marker).empty(); }));
}

TEST_F(ProcessTest, WhoeverIgnoresSigtermIsKilled) {
  std::string marker = UniqueSleep();
  CancelSource source;
  absl::Status status;
  std::thread run([&] {
    status = runner_
                 .Run({.argv = {"env", "--ignore-signal=TERM", "sleep", marker},
                       .cancel = source.token()})
                 .status();
  });
  EXPECT_TRUE(Eventually([&] { return FindProcesses("sleep", marker).size() == 1; }));
  source.Cancel();
  run.join();
  EXPECT_THAT(status, HasReasonOf(Reason::kCancelled));
  EXPECT_THAT(FindProcesses("sleep", marker), SizeIs(0));
}

TEST_F(ProcessTest, ADaemonThatKeepsThePipesIsNotWaitedFor) {
  std::string marker = UniqueSleep();
  EXPECT_OK(Run({"setsid", "--fork", "sleep", marker}));
  EXPECT_TRUE(Eventually([&] { return FindProcesses("sleep", marker).size() == 1; }))
      << "nor is it killed";
  for (int pid : FindProcesses("sleep", marker)) kill(pid, SIGKILL);
}

TEST_F(ProcessTest, CheckExitTellsWhatWentWrong) {
  ProcessSpec spec{.argv = {"/usr/bin/qemu-img", "create"}};
  EXPECT_OK(CheckExit(spec, {.exit_code = 0}));
  absl::Status failed = CheckExit(spec, {.exit_code = 3, .stderr_text = "it broke\n\n"});
  EXPECT_THAT(failed, HasReasonOf(Reason::kToolFailed));
  EXPECT_EQ(failed.message(), "qemu-img: exit code 3: it broke");
  EXPECT_EQ(GetErrorDetails(failed)->metadata["tool"], "qemu-img");
  absl::Status killed = CheckExit(spec, {.exit_code = -1, .signal = SIGKILL});
  EXPECT_EQ(killed.message(), "qemu-img: ended by signal 9 (SIGKILL)");
  absl::Status chatty =
      CheckExit(spec, {.exit_code = 1, .stderr_text = std::string(100000, 'x') + " the reason"});
  EXPECT_THAT(std::string(chatty.message()), HasSubstr("the reason"));
  EXPECT_LT(chatty.message().size(), 1200u);
}

TEST_F(ProcessTest, AStartedProcessRunsUntilItIsStopped) {
  std::string marker = UniqueSleep();
  ASSERT_OK_AND_ASSIGN(auto process, runner_.Start({.argv = {"sleep", marker}}));
  EXPECT_TRUE(process->running());
  EXPECT_TRUE(Eventually([&] { return FindProcesses("sleep", marker).size() == 1; }));
  process->Stop(kLong);
  EXPECT_FALSE(process->running());
  EXPECT_THAT(FindProcesses("sleep", marker), SizeIs(0));
  process->Stop(kLong);
}

TEST_F(ProcessTest, AStartedProcessIsKilledAfterItsGrace) {
  std::string marker = UniqueSleep();
  ASSERT_OK_AND_ASSIGN(auto process,
                       runner_.Start({.argv = {"env", "--ignore-signal=TERM", "sleep", marker}}));
  EXPECT_TRUE(Eventually([&] { return FindProcesses("sleep", marker).size() == 1; }));
  process->Stop(absl::Milliseconds(50));
  EXPECT_THAT(FindProcesses("sleep", marker), SizeIs(0));
}

TEST_F(ProcessTest, TheDestructorKillsAndReaps) {
  int pid;
  {
    ASSERT_OK_AND_ASSIGN(auto process, runner_.Start({.argv = {"sleep", "600"}}));
    pid = process->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST_F(ProcessTest, AStartedProcessThatEndsIsNoticed) {
  ASSERT_OK_AND_ASSIGN(auto process, runner_.Start({.argv = {"cat", dir_.File("none")}}));
  EXPECT_TRUE(Eventually([&] { return !process->running(); }));
  EXPECT_TRUE(
      Eventually([&] { return process->stderr_text().find("No such file") != std::string::npos; }));
}

TEST_F(ProcessTest, AStartedProcessIsNotHeldUpByItsErrors) {
  // More than a pipe holds.
  std::vector<std::string> argv = {"cat"};
  for (int i = 0; i < 5000; ++i) argv.push_back(dir_.File(fmt::format("none{}", i)));
  ASSERT_OK_AND_ASSIGN(auto process, runner_.Start({.argv = argv, .output_max_bytes = 1000}));
  EXPECT_TRUE(Eventually([&] { return !process->running(); }));
  EXPECT_TRUE(Eventually([&] { return process->stderr_text().size() == 1000; }));
}

TEST_F(ProcessTest, ManyAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        std::string text = fmt::format("{}-{}", t, i);
        auto result = Run({"echo", text});
        if (result.ok() && result->stdout_text == text + "\n") ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 40);
}

}  // namespace
}  // namespace cairn
