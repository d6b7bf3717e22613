// `snapshot`: snapshots one after the other, of fresh volumes in turn.
#include "tests/bench/load/changes.h"
#include "tests/bench/load/command.h"
#include "tests/bench/load/jobs.h"

namespace cairn::bench {
namespace {

struct SnapshotOptions {
  int64_t count = 100;
  int64_t volumes = 100;
  bool remove = false;
  VolumeSpec volume;
};

absl::Status DeleteAll(const std::vector<client::Client>& clients,
                       const std::vector<std::string>& snapshots,
                       const std::vector<std::string>& volumes, Report* report) {
  const Round deleted = RunJobs(clients, static_cast<int64_t>(snapshots.size()),
                                [&](const client::Client& client, int64_t i) {
                                  return DeleteSnapshot(client, snapshots[static_cast<size_t>(i)]);
                                });
  report->errors.Merge(deleted.errors);
  report->json["delete_milliseconds"] = Rounded(deleted.milliseconds);
  report->json["delete_seconds"] = Rounded(deleted.seconds);
  report->json["delete_per_second"] = Rounded(deleted.PerSecond());
  for (const std::string& volume : volumes) {
    const absl::Status status = DeleteVolume(clients.front(), volume);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Report> RunSnapshot(const std::string& server, const SnapshotOptions& options) {
  auto clients = ConnectClients(server, 1);
  if (!clients.ok()) return clients.status();
  std::vector<std::string> volumes;
  for (int64_t i = 0; i < options.volumes; ++i) {
    auto id = CreateVolume(clients->front(), options.volume, i);
    if (!id.ok()) return id.status();
    volumes.push_back(*std::move(id));
  }
  std::vector<std::string> snapshots(static_cast<size_t>(options.count));
  const Round taken =
      RunJobs(*clients, options.count, [&](const client::Client& client, int64_t i) {
        auto id = CreateSnapshot(client, volumes[static_cast<size_t>(i) % volumes.size()]);
        if (id.ok()) snapshots[static_cast<size_t>(i)] = *std::move(id);
        return id.status();
      });
  Report report;
  report.errors.Merge(taken.errors);
  report.json["milliseconds"] = Rounded(taken.milliseconds);
  report.json["seconds"] = Rounded(taken.seconds);
  report.json["per_second"] = Rounded(taken.PerSecond());
  if (options.remove) {
    report.errors.Add(DeleteAll(*clients, Made(std::move(snapshots)), volumes, &report));
  }
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
