// `attach`: what a consumer waits for before it can open a volume.
#include "tests/bench/load/changes.h"
#include "tests/bench/load/command.h"

namespace cairn::bench {
namespace {

struct AttachOptions {
  size_t count = 100;
  VolumeSpec volume;
};

// What a consumer asks for that comes back to a volume that it has attached already.
absl::Status GetConnection(const client::Client& client, const std::string& volume_id) {
  v1::GetVolumeRequest request;
  request.set_volume_id(volume_id);
  request.set_view(v1::VOLUME_VIEW_FULL);
  auto volume = client.GetVolume(request);
  if (!volume.ok()) return volume.status();
  if (volume->attachments_size() == 1 && volume->attachments(0).has_connection()) return {};
  return absl::InternalError("the volume does not say how to open it");
}

absl::StatusOr<Report> RunAttach(const std::string& server, const AttachOptions& options) {
  auto clients = ConnectClients(server, 1);
  if (!clients.ok()) return clients.status();
  const client::Client& client = clients->front();
  auto volume = CreateVolume(client, options.volume, 0);
  if (!volume.ok()) return volume.status();
  Report report;
  std::vector<double> attached;
  std::vector<double> connections;
  Stopwatch all;
  for (size_t i = 0; i < options.count; ++i) {
    Stopwatch attaching;
    const absl::Status status = AttachVolume(client, *volume);
    if (status.ok()) attached.push_back(attaching.Milliseconds());
    report.errors.Add(status);
    Stopwatch asking;
    const absl::Status found = GetConnection(client, *volume);
    if (found.ok()) connections.push_back(asking.Milliseconds());
    report.errors.Add(found);
    report.errors.Add(DetachVolume(client, *volume));
  }
  report.json["milliseconds"] = Rounded(attached);
  report.json["connection_milliseconds"] = Rounded(connections);
  report.json["seconds"] = Rounded(all.Seconds());
  report.errors.Add(DeleteVolume(client, *volume));
  return report;
}

}  // namespace

void AddAttach(CLI::App* app, Session* session) {
  auto options = std::make_shared<AttachOptions>();
  CLI::App* command = AddCommand(
      app, session, "attach",
      "Attach and detach one volume; timed are attaching, whose answer says how to open the disk,\n"
      "and as connection_milliseconds asking for that once more (GetVolume, view FULL)",
      options, RunAttach);
  command->add_option("--count", options->count, "How often")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->capture_default_str();
  AddVolumeOptions(command, &options->volume);
}

}  // namespace cairn::bench
