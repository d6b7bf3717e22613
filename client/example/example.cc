// Creates a volume, takes a snapshot of it, and deletes both again.
//
//   cairn_example unix:/run/cairn/cairn.sock [seconds]
#include <chrono>
#include <cstdlib>
#include <iostream>

#include "cairn/client/client.h"

namespace {

namespace v1 = cairn::v1;
using cairn::client::Client;

// Waits for a change, telling how far it is, and gives what it made.
absl::StatusOr<v1::Operation> Finish(
    const absl::StatusOr<cairn::client::PendingOperation>& pending) {
  if (!pending.ok()) return pending.status();
  return pending->Wait({.on_progress = [](const v1::Operation& now) {
    std::cout << "  " << v1::OperationState_Name(now.state()) << " " << now.progress().done_bytes()
              << "/" << now.progress().total_bytes() << "\n";
  }});
}

absl::Status Tour(const Client& client) {
  v1::CreateVolumeRequest create;
  create.set_name("example");
  create.set_size_bytes(int64_t{1} << 30);
  (*create.mutable_labels())["purpose"] = "example";
  const auto created = Finish(client.CreateVolume(create));
  if (!created.ok()) return created.status();
  const std::string id = created->volume().id();
  std::cout << "volume " << id << " on " << created->volume().share() << "\n";

  v1::CreateSnapshotRequest snapshot;
  snapshot.set_volume_id(id);
  snapshot.set_name("example");
  const auto taken = Finish(client.CreateSnapshot(snapshot));
  if (!taken.ok()) return taken.status();
  std::cout << "snapshot " << taken->snapshot().id() << "\n";

  v1::DeleteVolumeRequest remove;
  remove.set_volume_id(id);
  const auto refused = Finish(client.DeleteVolume(remove));
  std::cout << "refused: " << cairn::client::GetReason(refused.status()) << "\n";
  remove.set_cascade(true);
  return Finish(client.DeleteVolume(remove)).status();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: cairn_example ADDRESS [seconds]\n";
    return 2;
  }
  cairn::client::Options options;
  options.target = argv[1];
  if (argc > 2) options.timeout = std::chrono::seconds(std::atoi(argv[2]));
  const auto client = Client::Connect(options);
  const absl::Status status = client.ok() ? Tour(*client) : client.status();
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
  return 0;
}
