// The configuration: what is taken, and how every mistake is reported.
#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Lines(const LoadedConfig& loaded) {
  std::vector<std::string> lines;
  for (const ConfigProblem& problem : loaded.problems) {
    lines.push_back(FormatProblem("c.yaml", problem));
  }
  return lines;
}
std::vector<std::string> Problems(const std::string& yaml, const ConfigOverrides& overrides = {}) {
  return Lines(ParseConfig(yaml, overrides));
}

TEST(Config, EverythingHasADefault) {
  LoadedConfig loaded = ParseConfig("pools:\n  default:\n", {});
  ASSERT_THAT(Lines(loaded), IsEmpty());
  const ServerConfig& config = loaded.config;
  EXPECT_EQ(config.state_path, "/var/lib/cairn");
  ASSERT_EQ(config.pools.size(), 1u);
  const PoolOptions& pool = config.pools[0];
  EXPECT_EQ(pool.name, "default");
  EXPECT_EQ(pool.nfs_shares_config, "/etc/cairn/nfs_shares");
  EXPECT_EQ(pool.nfs_mount_point_base, "/var/lib/cairn/mnt");
  EXPECT_TRUE(pool.nfs_sparsed_volumes);
  EXPECT_FALSE(pool.nfs_qcow2_volumes);
  EXPECT_TRUE(pool.qcow2_preallocation_metadata);
  EXPECT_EQ(pool.nfs_mount_options, "");
  EXPECT_EQ(pool.nfs_mount_attempts, 3);
  EXPECT_TRUE(pool.nfs_snapshot_support);
  EXPECT_EQ(pool.reserved_percentage, 0);
  EXPECT_EQ(pool.max_over_subscription_ratio, 20.0);
  EXPECT_TRUE(pool.nas_secure_file_permissions);
  EXPECT_FALSE(pool.nas_secure_file_operations);
}

TEST(Config, EveryKeyIsRead) {
  LoadedConfig loaded = ParseConfig(R"(
listen: ["unix:$state_path/s", "[::1]:80"]
state_path: /s
log_level: debug
log_format: json
max_message_bytes: 5000000
max_concurrent_streams: 7
max_active_calls: 8
shutdown_grace_seconds: 9
operation_retention_hours: 10
operation_history_max: 2000
operation_history_mib: 3
operation_queue_max: 11
probe_period_seconds: 12
rescan_period_seconds: 13
pools:
  fast:
    nfs_shares_config: $state_path/shares
    nfs_sparsed_volumes: false
    nfs_qcow2_volumes: true
    qcow2_preallocation: off
    nfs_mount_point_base: /m
    nfs_mount_options: "vers=4.2,hard"
    nfs_mount_attempts: -1
    nfs_snapshot_support: false
    reserved_percentage: 15
    max_over_subscription_ratio: 1.5
    nas_secure_file_permissions: false
    nas_secure_file_operations: true
    placement_policy: MOST_AVAILABLE
    image_directories: [/images, $state_path/more]
  slow: {nfs_shares_config: /slow}
)",
                                    {});
  ASSERT_THAT(Lines(loaded), IsEmpty());
  const ServerConfig& config = loaded.config;
  EXPECT_THAT(config.listen, ElementsAre("unix:/s/s", "[::1]:80"));
  EXPECT_EQ(config.log_level, "debug");
  EXPECT_EQ(config.log_format, "json");
  EXPECT_EQ(config.max_message_bytes, 5000000);
  EXPECT_EQ(config.max_concurrent_streams, 7);
  EXPECT_EQ(config.max_active_calls, 8);
  EXPECT_EQ(config.shutdown_grace_seconds, 9);
  EngineOptions engine = EngineOptionsOf(config);
  EXPECT_EQ(engine.state_path, "/s");
  EXPECT_EQ(engine.operation_retention, absl::Hours(10));
  EXPECT_EQ(engine.history.operations_max, 2000);
  EXPECT_EQ(engine.history.bytes_max, 3 << 20);
  EXPECT_EQ(engine.queue_depth_max, 11);
  EXPECT_EQ(engine.probe_period, absl::Seconds(12));
  EXPECT_EQ(engine.rescan_period, absl::Seconds(13));
  ASSERT_EQ(engine.pools.size(), 2u);
  const PoolOptions& pool = engine.pools[0];
  EXPECT_EQ(pool.name, "fast");
  EXPECT_EQ(pool.nfs_shares_config, "/s/shares");
  EXPECT_FALSE(pool.nfs_sparsed_volumes);
  EXPECT_TRUE(pool.nfs_qcow2_volumes);
  EXPECT_FALSE(pool.qcow2_preallocation_metadata);
  EXPECT_EQ(pool.nfs_mount_point_base, "/m");
  EXPECT_EQ(pool.nfs_mount_options, "vers=4.2,hard");
  EXPECT_EQ(pool.nfs_mount_attempts, -1);
  EXPECT_FALSE(pool.nfs_snapshot_support);
  EXPECT_EQ(pool.reserved_percentage, 15);
  EXPECT_EQ(pool.max_over_subscription_ratio, 1.5);
  EXPECT_FALSE(pool.nas_secure_file_permissions);
  EXPECT_TRUE(pool.nas_secure_file_operations);
  EXPECT_EQ(pool.placement_policy, PlacementPolicy::kMostAvailable);
  EXPECT_THAT(pool.image_directories, ElementsAre("/images", "/s/more"));
  EXPECT_EQ(engine.pools[1].name, "slow");
}

struct Mistake {
  std::string name;
  std::string yaml;
  std::string problem;
};

void PrintTo(const Mistake& mistake, std::ostream* out) { *out << mistake.name; }

class ConfigMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistake, IsReportedWithItsPlace) {
  EXPECT_THAT(Problems(GetParam().yaml), ElementsAre(HasSubstr(GetParam().problem)));
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigMistake,
    ::testing::Values(
        Mistake{"UnknownKey", "pools: {a: }\nlog_levle: info\n",
                "c.yaml:2:1: log_levle: unknown key; did you mean \"log_level\"?"},
        Mistake{"UnknownKeyUnlikeAny", "pools: {a: }\nzzzzzzzzzzz: 1\n",
                "c.yaml:2:1: zzzzzzzzzzz: unknown key"},
        Mistake{"UnknownPoolKey", "pools:\n  a:\n    nfs_share_config: /x\n",
                "c.yaml:3:5: pools.a.nfs_share_config: unknown key; did you mean "
                "\"nfs_shares_config\"?"},
        Mistake{"PoolKeyAtTheTop", "nfs_qcow2_volumes: true\npools: {a: }\n",
                "c.yaml:1:1: nfs_qcow2_volumes: unknown key; it belongs to a pool: "
                "pools.<name>.nfs_qcow2_volumes"},
        Mistake{"TopKeyInAPool", "pools:\n  a:\n    log_level: info\n",
                "c.yaml:3:5: pools.a.log_level: unknown key; it belongs to the top level"},
        Mistake{"DuplicateKey", "log_level: info\npools: {a: }\nlog_level: warn\n",
                "c.yaml:3:1: log_level: given twice; first in line 1"},
        Mistake{"DuplicatePool", "pools:\n  a:\n  a:\n",
                "c.yaml:3:3: pools.a: given twice; first in line 2"},
        Mistake{"NotABool", "pools:\n  a:\n    nfs_qcow2_volumes: maybe\n",
                "c.yaml:3:24: pools.a.nfs_qcow2_volumes: found \"maybe\", expected true or false"},
        Mistake{"BoolInQuotes", "pools:\n  a:\n    nfs_qcow2_volumes: \"true\"\n",
                "found \"true\", expected true or false, without quotes"},
        Mistake{"NotANumber", "max_active_calls: many\npools: {a: }\n",
                "c.yaml:1:19: max_active_calls: found \"many\", expected a whole number from 1 to"},
        Mistake{"FractionForWholeNumber", "pools:\n  a:\n    reserved_percentage: 1.5\n",
                "found \"1.5\", expected a whole number from 0 to 100"},
        Mistake{"OverTheRange", "pools:\n  a:\n    reserved_percentage: 101\n",
                "found \"101\", expected a whole number from 0 to 100"},
        Mistake{"UnderTheRange", "pools:\n  a:\n    max_over_subscription_ratio: 0.5\n",
                "found \"0.5\", expected a number from 1 to"},
        Mistake{"NotFinite", "pools:\n  a:\n    max_over_subscription_ratio: nan\n",
                "found \"nan\", expected a number from 1 to"},
        Mistake{"NumberTooLong", "probe_period_seconds: 99999999999999999999\npools: {a: }\n",
                "expected a whole number from 1 to 3600"},
        Mistake{"UnknownWord", "pools:\n  a:\n    qcow2_preallocation: full\n",
                "found \"full\", expected metadata or off"},
        Mistake{"ListForText", "state_path: [/a]\npools: {a: }\n",
                "c.yaml:1:13: state_path: found a list, expected an absolute path"},
        Mistake{"NothingForText", "state_path:\npools: {a: }\n",
                "c.yaml:1:1: state_path: found nothing, expected an absolute path"},
        Mistake{"RelativePath", "state_path: var/lib\npools: {a: }\n",
                "found \"var/lib\", expected an absolute path"},
        Mistake{"StatePathOfItself", "state_path: $state_path/x\npools: {a: }\n",
                "state_path: must not refer to itself"},
        Mistake{
            "RelativeImageDirectory", "pools:\n  a:\n    image_directories: [/a, b]\n",
            "c.yaml:3:29: pools.a.image_directories: found \"b\", expected a list, each item an "
            "absolute path"},
        Mistake{"AddressWithoutPort", "listen: [localhost]\npools: {a: }\n",
                "c.yaml:1:10: listen: found \"localhost\": there must be a host and a port"},
        Mistake{"AddressPort", "listen: [\"localhost:70000\"]\npools: {a: }\n",
                "the port must be a number from 0 to 65535"},
        Mistake{"AddressUnbracketed", "listen: [\"::1:80\"]\npools: {a: }\n",
                "an IPv6 host stands in brackets"},
        Mistake{"AddressRelativeSocket", "listen: [\"unix:sock\"]\npools: {a: }\n",
                "the path after unix: must be absolute"},
        Mistake{"NoAddress", "listen: []\npools: {a: }\n",
                "listen: there must be at least one address"},
        Mistake{"NoPools", "log_level: info\n", "c.yaml: pools: missing"},
        Mistake{"EmptyPools", "pools: {}\n", "c.yaml:1:1: pools: missing"},
        Mistake{"PoolsAsList", "pools: [a]\n",
                "c.yaml:1:8: pools: found a list, expected a map from names to pools"},
        Mistake{"PoolAsText", "pools:\n  a: nfs\n",
                "c.yaml:2:6: pools.a: found \"nfs\", expected the pool's keys"},
        Mistake{"PoolName", "pools:\n  \"a b\": {}\n", "c.yaml:2:3: pools.a b: a pool's name has"},
        Mistake{"SharedSharesFile", "pools:\n  a:\n  b:\n",
                "c.yaml:3:3: pools.b.nfs_shares_config: \"/etc/cairn/nfs_shares\" is the shares "
                "file of pool \"a\" already"},
        Mistake{"NotAMap", "- a\n", "c.yaml:1:1: found a list, expected a map of keys"},
        Mistake{"NotYaml", "pools: {a: \n  b", "c.yaml:"},
        Mistake{"Alias", "pools: {a: &x {}, b: *x}\n", "anchors (&name) are not supported"},
        Mistake{"KeyThatIsNoWord", "? [a, b]\n: c\n", "a key must be a word"}),
    [](const auto& info) { return info.param.name; });

TEST(Config, AllMistakesAreReportedAtOnceInTheOrderOfTheFile) {
  EXPECT_THAT(
      Problems("log_level: loud\n"
               "pools:\n"
               "  a:\n"
               "    reserved_percentage: -1\n"
               "    nonsense_key_of_mine: 1\n"
               "state_path: here\n"),
      ElementsAre(HasSubstr("c.yaml:1:12: log_level"), HasSubstr("c.yaml:4:26: pools.a"),
                  HasSubstr("c.yaml:5:5: pools.a.nonsense"), HasSubstr("c.yaml:6:13: state_path")));
}

TEST(Config, HostileFilesEnd) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "[";
  EXPECT_THAT(Problems(deep), ElementsAre(HasSubstr("c.yaml:1:")));
  std::string many = "pools: [";
  for (int i = 0; i < 20'000; ++i) many += "1,";
  EXPECT_THAT(Problems(many + "]"), ElementsAre(HasSubstr("more than a configuration can")));
  std::string long_key(1 << 20, 'k');
  EXPECT_LT(Problems(long_key + ": 1\npools: {a: }\n").at(0).size(), 300u);
}

TEST(Config, OverridesStandInForTheFile) {
  ConfigOverrides overrides{{"unix:$state_path/s"}, "/elsewhere", "warn"};
  LoadedConfig loaded = ParseConfig("state_path: /s\nlisten: x:1\npools: {a: }\n", overrides);
  EXPECT_THAT(Lines(loaded), IsEmpty());
  EXPECT_THAT(loaded.config.listen, ElementsAre("unix:/elsewhere/s"));
  EXPECT_EQ(loaded.config.log_level, "warn");
  EXPECT_EQ(loaded.config.pools.at(0).nfs_mount_point_base, "/elsewhere/mnt");
  EXPECT_THAT(Problems("pools: {a: }\n", {{"nowhere"}, "", ""}),
              ElementsAre(HasSubstr("c.yaml: --listen: found \"nowhere\"")));
  EXPECT_THAT(Problems("pools: {a: }\n", {{}, "", "loud"}),
              ElementsAre(HasSubstr("--log_level: found \"loud\"")));
}

TEST(Config, WhatIsPrintedReadsAsTheSame) {
  LoadedConfig loaded = ParseConfig(
      "listen: [\"unix:/s o c k\", \"127.0.0.1:0\"]\n"
      "pools: {a: {nfs_mount_options: \"a=\\\"b\\\"\", image_directories: [/x]}, b-2: "
      "{nfs_shares_config: /b, placement_policy: MOST_AVAILABLE}}\n",
      {});
  ASSERT_THAT(Lines(loaded), IsEmpty());
  std::string printed = PrintConfig(loaded.config);
  LoadedConfig again = ParseConfig(printed, {});
  EXPECT_THAT(Lines(again), IsEmpty()) << printed;
  EXPECT_EQ(PrintConfig(again.config), printed);
  EXPECT_EQ(again.config.listen, loaded.config.listen);
  EXPECT_EQ(again.config.pools.at(0).nfs_mount_options, "a=\"b\"");
  EXPECT_THAT(printed, HasSubstr("    # volumes are qcow2 unless their request says otherwise; "
                                 "false: raw (true or false; default:\n    # false)\n"
                                 "    nfs_qcow2_volumes: false\n"));
}

TEST(Config, TheReferenceHasEveryKey) {
  std::string reference = PrintConfigReference();
  for (const char* key :
       {"nfs_shares_config", "nfs_sparsed_volumes", "nfs_qcow2_volumes", "qcow2_preallocation",
        "nfs_mount_point_base", "nfs_mount_options", "nfs_mount_attempts", "nfs_snapshot_support",
        "reserved_percentage", "max_over_subscription_ratio", "nas_secure_file_permissions",
        "nas_secure_file_operations", "listen", "pools"}) {
    EXPECT_THAT(reference, HasSubstr(std::string("| `") + key + "` |"));
  }
  EXPECT_THAT(reference, HasSubstr("`$state_path/mnt`"));
}

TEST(Config, AFileThatCannotBeReadIsOneProblem) {
  testing::TempDir dir;
  LoadedConfig loaded = LoadConfig(dir.File("none.yaml"), {});
  ASSERT_EQ(loaded.problems.size(), 1u);
  EXPECT_THAT(FormatProblem("none.yaml", loaded.problems[0]),
              HasSubstr("none.yaml: cannot be read: No such file"));
}

}  // namespace
}  // namespace cairn
