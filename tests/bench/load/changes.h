// Changes, each as one call that the server answers when it is done and durable.
//
// No call is repeated: what the server refuses is an error of the run. Functions over a Client; safe
// from any thread.
#ifndef CAIRN_TESTS_BENCH_LOAD_CHANGES_H_
#define CAIRN_TESTS_BENCH_LOAD_CHANGES_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cairn/client/client.h"

namespace cairn::bench {

// So many clients, each over a connection of its own, which is there when this returns.
absl::StatusOr<std::vector<client::Client>> ConnectClients(const std::string& server, size_t count);

// What volumes a command makes.
struct VolumeSpec {
  std::string format = "qcow2";
  uint64_t size_bytes = uint64_t{1} << 30;
  std::string prefix = "bench";
};

// Adds --format, --size and --prefix.
void AddVolumeOptions(CLI::App* command, VolumeSpec* spec);

// Gives the id. The volume is named "<prefix>-<number>".
absl::StatusOr<std::string> CreateVolume(const client::Client& client, const VolumeSpec& spec,
                                         size_t number);
// With its snapshots.
absl::Status DeleteVolume(const client::Client& client, const std::string& volume_id);

// Gives the id.
absl::StatusOr<std::string> CreateSnapshot(const client::Client& client,
                                           const std::string& volume_id);
absl::Status DeleteSnapshot(const client::Client& client, const std::string& snapshot_id);

absl::Status AttachVolume(const client::Client& client, const std::string& volume_id);
absl::Status DetachVolume(const client::Client& client, const std::string& volume_id);

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_LOAD_CHANGES_H_
