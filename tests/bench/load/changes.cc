#include "tests/bench/load/changes.h"

#include <grpc/grpc.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cairn::bench {
namespace {

using client::Client;

// As long as the server may hold a reply. The reply comes when the operation ends, so one call is
// all that a client needs.
constexpr std::chrono::seconds kWait{60};
constexpr std::chrono::seconds kConnectTimeout{10};

template <typename Request>
absl::StatusOr<v1::Operation> Finish(const Client& client,
                                     absl::StatusOr<client::PendingOperation> (Client::*method)(
                                         Request, const client::CallOptions&) const,
                                     Request request) {
  *request.mutable_wait() = client::ToProtoDuration(kWait);
  auto pending = (client.*method)(std::move(request), {});
  if (!pending.ok()) return pending.status();
  if (client::HasEnded(pending->operation())) return client::ToResult(pending->operation());
  return pending->Wait();
}

v1::VolumeFormat FormatNamed(const std::string& name) {
  if (name == "raw-sparse") return v1::VOLUME_FORMAT_RAW_SPARSE;
  if (name == "raw-thick") return v1::VOLUME_FORMAT_RAW_THICK;
  return v1::VOLUME_FORMAT_QCOW2;
}

}  // namespace

absl::StatusOr<std::vector<Client>> ConnectClients(const std::string& server, size_t count) {
  std::vector<Client> clients;
  for (size_t i = 0; i < count; ++i) {
    client::Options options;
    options.target = server;
    options.retry.max_attempts = 1;
    // Channels of the same arguments would share one connection.
    options.channel_arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    auto client = Client::Connect(options);
    if (!client.ok()) return client.status();
    const absl::Status connected = client->WaitForConnection(kConnectTimeout);
    if (!connected.ok()) return connected;
    clients.push_back(*std::move(client));
  }
  return clients;
}

void AddVolumeOptions(CLI::App* command, VolumeSpec* spec) {
  command->add_option("--format", spec->format, "Of the volumes: qcow2, raw-sparse or raw-thick")
      ->check(CLI::IsMember({"qcow2", "raw-sparse", "raw-thick"}))
      ->type_name("FORMAT")
      ->capture_default_str();
  command->add_option("--size", spec->size_bytes, "Of each volume, such as 10GiB")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE")
      ->default_str(absl::StrCat(spec->size_bytes >> 20, "MiB"));
  command->add_option("--prefix", spec->prefix, "What the names of the volumes begin with")
      ->type_name("TEXT")
      ->capture_default_str();
}

absl::StatusOr<std::string> CreateVolume(const Client& client, const VolumeSpec& spec,
                                         size_t number) {
  v1::CreateVolumeRequest request;
  request.set_name(absl::StrCat(spec.prefix, "-", number));
  request.set_size_bytes(static_cast<int64_t>(spec.size_bytes));
  request.set_format(FormatNamed(spec.format));
  auto done = Finish(client, &Client::CreateVolume, std::move(request));
  if (!done.ok()) return done.status();
  return done->volume().id();
}

absl::Status DeleteVolume(const Client& client, const std::string& volume_id) {
  v1::DeleteVolumeRequest request;
  request.set_volume_id(volume_id);
  request.set_cascade(true);
  return Finish(client, &Client::DeleteVolume, std::move(request)).status();
}

absl::StatusOr<std::string> CreateSnapshot(const Client& client, const std::string& volume_id) {
  v1::CreateSnapshotRequest request;
  request.set_volume_id(volume_id);
  auto done = Finish(client, &Client::CreateSnapshot, std::move(request));
  if (!done.ok()) return done.status();
  return done->snapshot().id();
}

absl::Status DeleteSnapshot(const Client& client, const std::string& snapshot_id) {
  v1::DeleteSnapshotRequest request;
  request.set_snapshot_id(snapshot_id);
  return Finish(client, &Client::DeleteSnapshot, std::move(request)).status();
}

absl::Status AttachVolume(const Client& client, const std::string& volume_id) {
  v1::AttachVolumeRequest request;
  request.set_volume_id(volume_id);
  request.set_instance_id("bench");
  request.set_host("bench");
  auto done = Finish(client, &Client::AttachVolume, std::move(request));
  if (done.ok() && done->attachment().connection().file_name().empty()) {
    return absl::InternalError("the attachment does not say what to open");
  }
  return done.status();
}

absl::Status DetachVolume(const Client& client, const std::string& volume_id) {
  v1::DetachVolumeRequest request;
  request.set_volume_id(volume_id);
  return Finish(client, &Client::DetachVolume, std::move(request)).status();
}

}  // namespace cairn::bench
