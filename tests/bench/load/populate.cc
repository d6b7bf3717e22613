// `populate`: fills a server, so that something can be measured with much in it.
#include "tests/bench/jobs.h"
#include "tests/bench/load/changes.h"
#include "tests/bench/load/command.h"

namespace cairn::bench {
namespace {

struct PopulateOptions {
  size_t clients = 16;
  size_t volumes = 1000;
  size_t snapshots = 0;
  VolumeSpec volume;
};

Json Summary(const Round& round) {
  Json json;
  json["count"] = round.milliseconds.size();
  json["seconds"] = Rounded(round.seconds);
  json["per_second"] = Rounded(round.PerSecond());
  json.update(Distribution(round.milliseconds));
  return json;
}

absl::StatusOr<Report> RunPopulate(const std::string& server, const PopulateOptions& options) {
  auto clients = ConnectClients(server, options.clients);
  if (!clients.ok()) return clients.status();
  std::vector<std::string> ids(options.volumes);
  const Round volumes = RunJobs(clients->size(), options.volumes, [&](size_t worker, size_t i) {
    auto id = CreateVolume((*clients)[worker], options.volume, i);
    if (id.ok()) ids[i] = *std::move(id);
    return id.status();
  });
  Report report;
  report.errors.Merge(volumes.errors);
  report.json["volumes"] = Summary(volumes);
  std::erase(ids, "");  // what was not made
  if (options.snapshots == 0 || ids.empty()) return report;
  // In turn: the chains are as short as can be.
  const Round snapshots = RunJobs(clients->size(), options.snapshots, [&](size_t worker, size_t i) {
    return CreateSnapshot((*clients)[worker], ids[i % ids.size()]).status();
  });
  report.errors.Merge(snapshots.errors);
  report.json["snapshots"] = Summary(snapshots);
  return report;
}

}  // namespace

void AddPopulate(CLI::App* app, Session* session) {
  auto options = std::make_shared<PopulateOptions>();
  options->volume.size_bytes = 1 << 20;
  CLI::App* command = AddCommand(app, session, "populate",
                                 "Create volumes, then snapshots of them in turn, and leave them",
                                 options, RunPopulate);
  command->add_option("--volumes", options->volumes, "How many volumes")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--snapshots", options->snapshots, "How many snapshots")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--clients", options->clients, "How many work at a time")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  AddVolumeOptions(command, &options->volume);
}

}  // namespace cairn::bench
