// `create`: volumes, by one client or by many at a time.
#include "tests/bench/load/changes.h"
#include "tests/bench/load/command.h"
#include "tests/bench/load/jobs.h"

namespace cairn::bench {
namespace {

struct CreateOptions {
  int clients = 1;
  int64_t count = 100;
  bool remove = false;
  VolumeSpec volume;
};

absl::StatusOr<Report> RunCreate(const std::string& server, const CreateOptions& options) {
  auto clients = ConnectClients(server, options.clients);
  if (!clients.ok()) return clients.status();
  std::vector<std::string> ids(static_cast<size_t>(options.count));
  const Round created =
      RunJobs(*clients, options.count, [&](const client::Client& client, int64_t i) {
        auto id = CreateVolume(client, options.volume, i);
        if (id.ok()) ids[static_cast<size_t>(i)] = *std::move(id);
        return id.status();
      });
  Report report;
  report.errors.Merge(created.errors);
  report.json["milliseconds"] = Rounded(created.milliseconds);
  report.json["seconds"] = Rounded(created.seconds);
  report.json["per_second"] = Rounded(created.PerSecond());
  if (!options.remove) return report;
  ids = Made(std::move(ids));
  const Round deleted = RunJobs(*clients, static_cast<int64_t>(ids.size()),
                                [&](const client::Client& client, int64_t i) {
                                  return DeleteVolume(client, ids[static_cast<size_t>(i)]);
                                });
  report.errors.Merge(deleted.errors);
  report.json["delete_milliseconds"] = Rounded(deleted.milliseconds);
  report.json["delete_seconds"] = Rounded(deleted.seconds);
  report.json["delete_per_second"] = Rounded(deleted.PerSecond());
  return report;
}

}  // namespace

void AddCreate(CLI::App* app, Session* session) {
  auto options = std::make_shared<CreateOptions>();
  CLI::App* command =
      AddCommand(app, session, "create", "Create volumes, each waited for until it is done",
                 options, RunCreate);
  command->add_option("--clients", options->clients, "How many create at a time")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--count", options->count, "How many volumes in total")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--delete", options->remove, "Delete them afterwards, which is timed too");
  AddVolumeOptions(command, &options->volume);
}

}  // namespace cairn::bench
