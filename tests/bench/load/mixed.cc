// `mixed`: many clients that read, create and delete at the same time.
//
// Each client has a volume of its own, which it reads and takes snapshots of, and at most one more
// volume and one snapshot at a time: what is created is deleted next, so that their number stays.
#include <array>
#include <random>
#include <utility>

#include "tests/bench/jobs.h"
#include "tests/bench/load/changes.h"
#include "tests/bench/load/command.h"

namespace cairn::bench {
namespace {

enum Kind { kGet, kCreate, kDelete, kSnapshotCreate, kSnapshotDelete, kKinds };
constexpr std::array<const char*, kKinds> kKindNames = {"get", "create", "delete",
                                                        "snapshot_create", "snapshot_delete"};
// Of a hundred calls; the rest are of snapshots.
constexpr int kGets = 70;
constexpr int kVolumeChanges = 20;

struct MixedOptions {
  size_t clients = 64;
  double seconds = 20;
  uint64_t seed = 1;
  VolumeSpec volume;
};

struct Tally {
  std::array<std::vector<double>, kKinds> milliseconds;
  std::array<Errors, kKinds> errors;
};

class MixedClient {
 public:
  MixedClient(const client::Client* client, const MixedOptions* options, size_t number)
      : client_(*client), options_(*options), number_(number), dice_(options->seed + number) {}

  absl::Status SetUp() {
    auto id = CreateVolume(client_, options_.volume, number_);
    if (id.ok()) volume_ = *std::move(id);
    return id.status();
  }

  void Run() {
    Stopwatch all;
    while (all.Seconds() < options_.seconds) {
      const Kind kind = Draw();
      Stopwatch one;
      const absl::Status status = Do(kind);
      if (status.ok()) tally_.milliseconds[kind].push_back(one.Milliseconds());
      tally_.errors[kind].Add(status);
    }
  }

  absl::Status TearDown() {
    if (!other_.empty()) {
      const absl::Status status = DeleteVolume(client_, other_);
      if (!status.ok()) return status;
    }
    return volume_.empty() ? absl::OkStatus() : DeleteVolume(client_, volume_);
  }

  const Tally& tally() const { return tally_; }

 private:
  Kind Draw() {
    const int drawn = std::uniform_int_distribution<int>(0, 99)(dice_);
    if (drawn < kGets) return kGet;
    if (drawn < kGets + kVolumeChanges) return other_.empty() ? kCreate : kDelete;
    return snapshot_.empty() ? kSnapshotCreate : kSnapshotDelete;
  }

  absl::Status Do(Kind kind) {
    switch (kind) {
      case kGet:
        return client_.GetVolume(volume_).status();
      case kCreate:
        return Keep(CreateVolume(client_, options_.volume, number_), &other_);
      case kDelete:
        return DeleteVolume(client_, std::exchange(other_, ""));
      case kSnapshotCreate:
        return Keep(CreateSnapshot(client_, volume_), &snapshot_);
      case kSnapshotDelete:
        return DeleteSnapshot(client_, std::exchange(snapshot_, ""));
      case kKinds:
        break;
    }
    return absl::InternalError("no such kind");
  }

  static absl::Status Keep(absl::StatusOr<std::string> id, std::string* to) {
    if (id.ok()) *to = *std::move(id);
    return id.status();
  }

  const client::Client& client_;
  const MixedOptions& options_;
  const size_t number_;
  std::mt19937_64 dice_;
  std::string volume_, other_, snapshot_;
  Tally tally_;
};

Report Evaluate(const std::vector<std::unique_ptr<MixedClient>>& clients, double seconds) {
  Report report;
  std::vector<double> all;
  Json kinds;
  for (size_t kind = 0; kind < kKinds; ++kind) {
    std::vector<double> milliseconds;
    Errors errors;
    for (const auto& client : clients) {
      const std::vector<double>& of_client = client->tally().milliseconds[kind];
      milliseconds.insert(milliseconds.end(), of_client.begin(), of_client.end());
      errors.Merge(client->tally().errors[kind]);
    }
    all.insert(all.end(), milliseconds.begin(), milliseconds.end());
    Json& json = kinds[kKindNames[kind]];
    json["count"] = milliseconds.size();
    json.update(Distribution(std::move(milliseconds)));
    json["errors"] = errors.count();
    report.errors.Merge(errors);
  }
  report.json["seconds"] = Rounded(seconds);
  report.json["calls"] = all.size();
  report.json["per_second"] = Rounded(static_cast<double>(all.size()) / seconds);
  report.json.update(Distribution(std::move(all)));
  report.json["kinds"] = kinds;
  return report;
}

absl::StatusOr<Report> RunMixed(const std::string& server, const MixedOptions& options) {
  auto connections = ConnectClients(server, options.clients);
  if (!connections.ok()) return connections.status();
  std::vector<std::unique_ptr<MixedClient>> clients;
  absl::Status ready;
  for (size_t i = 0; i < options.clients && ready.ok(); ++i) {
    clients.push_back(std::make_unique<MixedClient>(&(*connections)[i], &options, i));
    ready = clients.back()->SetUp();
  }
  Stopwatch all;
  if (ready.ok()) {
    OnThreads(options.clients, [&](size_t i) { clients[i]->Run(); });
  }
  Report report = Evaluate(clients, all.Seconds());
  report.errors.Add(ready);
  for (const auto& client : clients) report.errors.Add(client->TearDown());
  return report;
}

}  // namespace

void AddMixed(CLI::App* app, Session* session) {
  auto options = std::make_shared<MixedOptions>();
  CLI::App* command =
      AddCommand(app, session, "mixed",
                 "Of a hundred calls 70 read a volume, 20 create or delete one, 10 a snapshot",
                 options, RunMixed);
  command->add_option("--clients", options->clients, "How many work at a time")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "For how long")
      ->check(CLI::PositiveNumber)
      ->type_name("S")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of what is drawn at random")
      ->type_name("N")
      ->capture_default_str();
  AddVolumeOptions(command, &options->volume);
}

}  // namespace cairn::bench
