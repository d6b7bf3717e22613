// cairnd as a process: its flags, its exit codes, its signals, its log.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "lib/os/unique_fd.h"
#include "server/exit_code.h"
#include "tests/service/health_client.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {
namespace {

using ::testing::HasSubstr;

class DaemonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteFile(dir_.File("shares"), "file://" + dir_.path() + "\n");
    WriteFile(dir_.File("cairnd.yaml"), "listen: [\"unix:" + dir_.File("socket") +
                                            "\"]\nstate_path: " + dir_.File("state") +
                                            "\nshutdown_grace_seconds: 1\npools: {default: "
                                            "{nfs_shares_config: " +
                                            dir_.File("shares") + "}}\n");
  }
  void TearDown() override {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  // Starts cairnd; what it prints goes to Output(). `descriptors`: how many it may have, if not 0.
  void Start(const std::vector<std::string>& arguments, const char* failpoints = "",
             int descriptors = 0) {
    std::vector<std::string> owned{CAIRND_PATH};
    if (descriptors != 0) {
      owned = {"/usr/bin/prlimit",
               "--nofile=" + std::to_string(descriptors) + ":" + std::to_string(descriptors),
               CAIRND_PATH};
    }
    owned.insert(owned.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& argument : owned) argv.push_back(argument.data());
    argv.push_back(nullptr);
    setenv("CAIRN_FAILPOINTS", failpoints, 1);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, dir_.File("output").c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    ASSERT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    unsetenv("CAIRN_FAILPOINTS");
  }
  // The exit code, once the process has ended; -1 when it was killed.
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int Run(const std::vector<std::string>& arguments) {
    Start(arguments);
    return Wait();
  }
  void Serve() {
    Start({"--config", dir_.File("cairnd.yaml")});
    ExpectServing();
  }
  void ExpectServing() {
    auto channel =
        grpc::CreateChannel("unix:" + dir_.File("socket"), grpc::InsecureChannelCredentials());
    std::string health;
    for (int i = 0; i < 1000 && health != "SERVING"; ++i) {
      health = CheckHealth(channel, "cairn.v1.VolumeService");
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_EQ(health, "SERVING") << Output();
  }
  std::string Output() const { return ReadFile(dir_.File("output")); }

  TempDir dir_;
  pid_t pid_ = -1;
};

TEST_F(DaemonTest, FlagsThatEndIt) {
  EXPECT_EQ(Run({"--help"}), kExitClean);
  EXPECT_THAT(Output(), HasSubstr("Examples:"));
  EXPECT_EQ(Run({"--version"}), kExitClean);
  EXPECT_THAT(Output(), HasSubstr("cairnd "));
  EXPECT_EQ(Run({"--nonsense"}), kExitUsage);
  EXPECT_EQ(Run({"--print-config-reference"}), kExitClean);
  EXPECT_THAT(Output(), HasSubstr("| `nfs_shares_config` |"));
  EXPECT_EQ(Run({"--config", dir_.File("cairnd.yaml"), "--check-config"}), kExitClean);
  EXPECT_EQ(Run({"--config", dir_.File("cairnd.yaml"), "--print-config"}), kExitClean);
  WriteFile(dir_.File("printed.yaml"), Output());
  EXPECT_EQ(Run({"--config", dir_.File("printed.yaml"), "--check-config"}), kExitClean) << Output();
}

TEST_F(DaemonTest, AResultThatIsLostIsAnError) {
  for (const std::string& flags :
       {std::string("--help"), std::string("--version"), std::string("--print-config-reference"),
        "--print-config --config " + dir_.File("cairnd.yaml")}) {
    const std::string command =
        std::string(CAIRND_PATH) + " " + flags + " > /dev/full 2> " + dir_.File("output");
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kExitStartFailed) << flags;
    EXPECT_THAT(Output(), HasSubstr("cannot write the result")) << flags;
  }
}

// Not gRPC's listener, which never takes a connection again after that.
TEST_F(DaemonTest, ItServesAgainAfterItsDescriptorsHaveRunOut) {
  std::string yaml = ReadFile(dir_.File("cairnd.yaml"));
  yaml.insert(yaml.find(']'), ", \"127.0.0.1:0\"");
  WriteFile(dir_.File("cairnd.yaml"), yaml);
  Start({"--config", dir_.File("cairnd.yaml")}, "", /*descriptors=*/96);
  ExpectServing();
  const std::string output = Output();
  const size_t at = output.find("127.0.0.1:");
  ASSERT_NE(at, std::string::npos) << output;
  const std::string tcp = output.substr(at, output.find('\n', at) - at);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(tcp.substr(tcp.find(':') + 1))));
  std::vector<UniqueFd> clients;
  const auto connect_one = [&] {
    UniqueFd& fd = clients.emplace_back(UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  };
  for (int i = 0; i < 150; ++i) EXPECT_TRUE(connect_one());
  // Who sits on this host still gets in, and learns of it. One more client each time, as it is said
  // only for some seconds.
  const auto health = [](const std::string& target, const std::string& service) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return CheckHealth(
        grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments), service);
  };
  const std::string socket_target = "unix:" + dir_.File("socket");
  std::string said;
  for (int i = 0; i < 200 && said != "NOT_SERVING"; ++i) {
    connect_one();
    said = health(socket_target, "connections");
  }
  EXPECT_EQ(said, "NOT_SERVING");
  EXPECT_EQ(health(socket_target, ""), "SERVING");
  EXPECT_THAT(Output(), HasSubstr("connections are refused"));
  clients.clear();
  for (int i = 0; i < 10 && said != "SERVING"; ++i) said = health(tcp, "");
  EXPECT_EQ(said, "SERVING");
}

TEST_F(DaemonTest, ABadConfigurationIsReportedWhole) {
  WriteFile(dir_.File("bad.yaml"), "log_level: loud\npools:\n  a: {reserved_percentage: 101}\n");
  EXPECT_EQ(Run({"--config", dir_.File("bad.yaml")}), kExitUsage);
  EXPECT_THAT(Output(), HasSubstr("bad.yaml:1:12: log_level: "));
  EXPECT_THAT(Output(), HasSubstr("bad.yaml:3:28: pools.a.reserved_percentage: "));
  EXPECT_EQ(Run({"--config", dir_.File("none.yaml")}), kExitUsage);
  EXPECT_THAT(Output(), HasSubstr("none.yaml: cannot be read"));
}

TEST_F(DaemonTest, ServesUntilItIsToldToStop) {
  for (int signal : {SIGTERM, SIGINT}) {
    Serve();
    kill(pid_, signal);
    EXPECT_EQ(Wait(), kExitClean);
    EXPECT_THAT(Output(), HasSubstr(" info ready "));
    EXPECT_THAT(Output(), HasSubstr(" info stopped"));
  }
}

TEST_F(DaemonTest, StartsAgainAfterItWasKilled) {
  Serve();
  kill(pid_, SIGKILL);
  EXPECT_EQ(Wait(), -1);
  Serve();
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), kExitClean);
}

TEST_F(DaemonTest, ReadsTheSharesFileAgainOnHangup) {
  Serve();
  kill(pid_, SIGHUP);
  for (int i = 0; i < 500 && Output().find("read again") == std::string::npos; ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_THAT(Output(), HasSubstr("shares file read again pool=default result=OK"));
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), kExitClean);
}

TEST_F(DaemonTest, WhatKeepsItFromStartingIsSaid) {
  WriteFile(dir_.File("state"), "a file where the directory should be");
  EXPECT_EQ(Run({"--config", dir_.File("cairnd.yaml")}), kExitStartFailed);
  EXPECT_THAT(Output(), HasSubstr(" critical cannot start error="));
  EXPECT_THAT(Output(), HasSubstr(dir_.File("state")));
}

TEST_F(DaemonTest, AFailPointThatIsNoneIsAMistake) {
  Start({"--config", dir_.File("cairnd.yaml")}, "x=explode");
  EXPECT_EQ(Wait(), kExitUsage);
  EXPECT_THAT(Output(), HasSubstr("CAIRN_FAILPOINTS"));
}

TEST_F(DaemonTest, LogsJsonOneObjectALine) {
  WriteFile(dir_.File("json.yaml"), ReadFile(dir_.File("cairnd.yaml")) + "log_format: json\n");
  Start({"--config", dir_.File("json.yaml"), "--log-level", "debug"});
  ExpectServing();
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), kExitClean);
  std::istringstream lines(Output());
  std::vector<std::string> messages;
  for (std::string line; std::getline(lines, line);) {
    auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(json.is_object()) << line;
    messages.push_back(json["message"]);
  }
  EXPECT_THAT(messages, ::testing::IsSupersetOf({"listening", "ready", "stopping", "stopped"}));
}

}  // namespace
}  // namespace cairn::testing
