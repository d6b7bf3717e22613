// `create`: volumes, by one client or by many at a time.
#include "tests/bench/jobs.h"
#include "tests/bench/load/changes.h"
#include "tests/bench/load/command.h"

namespace cairn::bench {
namespace {

struct CreateOptions {
  size_t clients = 1;
  size_t count = 100;
  bool remove = false;
  VolumeSpec volume;
};

absl::StatusOr<Report> RunCreate(const std::string& server, const CreateOptions& options) {
  auto clients = ConnectClients(server, options.clients);
  if (!clients.ok()) return clients.status();
  std::vector<std::string> ids(options.count);
  Report report;
  AddRound(RunJobs(clients->size(), options.count,
                   [&](size_t worker, size_t i) {
                     auto id = CreateVolume((*clients)[worker], options.volume, i);
                     if (id.ok()) ids[i] = *std::move(id);
                     return id.status();
                   }),
           "", &report);
  if (!options.remove) return report;
  std::erase(ids, "");  // what was not made
  AddRound(
      RunJobs(clients->size(), ids.size(),
              [&](size_t worker, size_t i) { return DeleteVolume((*clients)[worker], ids[i]); }),
      "delete_", &report);
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
