// `snapshot`: snapshots one after the other, of fresh volumes in turn.
#include "tests/bench/jobs.h"
#include "tests/bench/load/changes.h"
#include "tests/bench/load/command.h"

namespace cairn::bench {
namespace {

struct SnapshotOptions {
  size_t count = 100;
  size_t volumes = 100;
  bool remove = false;
  VolumeSpec volume;
};

absl::StatusOr<Report> RunSnapshot(const std::string& server, const SnapshotOptions& options) {
  auto clients = ConnectClients(server, 1);
  if (!clients.ok()) return clients.status();
  const client::Client& client = clients->front();
  std::vector<std::string> volumes;
  for (size_t i = 0; i < options.volumes; ++i) {
    auto id = CreateVolume(client, options.volume, i);
    if (!id.ok()) return id.status();
    volumes.push_back(*std::move(id));
  }
  std::vector<std::string> snapshots(options.count);
  Report report;
  AddRound(RunJobs(1, options.count,
                   [&](size_t, size_t i) {
                     auto id = CreateSnapshot(client, volumes[i % volumes.size()]);
                     if (id.ok()) snapshots[i] = *std::move(id);
                     return id.status();
                   }),
           "", &report);
  if (!options.remove) return report;
  std::erase(snapshots, "");  // what was not taken
  AddRound(RunJobs(1, snapshots.size(),
                   [&](size_t, size_t i) { return DeleteSnapshot(client, snapshots[i]); }),
           "delete_", &report);
  for (const std::string& volume : volumes) report.errors.Add(DeleteVolume(client, volume));
  return report;
}

}  // namespace

void AddSnapshot(CLI::App* app, Session* session) {
  auto options = std::make_shared<SnapshotOptions>();
  CLI::App* command =
      AddCommand(app, session, "snapshot",
                 "Take snapshots one at a time, of fresh volumes in turn; only taking is timed",
                 options, RunSnapshot);
  command->add_option("--count", options->count, "How many snapshots")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--volumes", options->volumes,
                   "How many volumes; as many as snapshots: each has one")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--delete", options->remove,
                    "Delete the snapshots one by one, which is timed too, and the volumes");
  AddVolumeOptions(command, &options->volume);
}

}  // namespace cairn::bench
