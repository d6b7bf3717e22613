// cairnctl volume: making, changing and deleting volumes.
#include <fmt/format.h>

#include "cairnctl/commands.h"
#include "cairnctl/confirm.h"
#include "cairnctl/finish.h"
#include "cairnctl/names.h"
#include "cairnctl/update.h"

namespace cairn::cairnctl {
namespace {

struct CreateArgs {
  std::string name, id, pool, share, format;
  std::string snapshot, volume, image, image_format;
  int64_t size_bytes = 0;
  std::vector<std::string> labels;
};

struct DeleteArgs {
  std::vector<std::string> volumes;
  bool cascade = false, allow_missing = false, yes = false;
};

struct ExtendArgs {
  std::string volume;
  int64_t size_bytes = 0;
};

struct MigrateArgs {
  std::string volume, share;
};

absl::StatusOr<v1::CreateVolumeRequest> RequestOf(Session* session, const CreateArgs& args) {
  v1::CreateVolumeRequest request;
  request.set_volume_id(args.id);
  request.set_name(args.name);
  request.set_pool(args.pool);
  request.set_share(args.share);
  request.set_size_bytes(args.size_bytes);
  request.set_format(VolumeFormatOf(args.format));
  SetLabels(args.labels, request.mutable_labels());
  if (!args.snapshot.empty()) {
    auto id = SnapshotId(session, args.snapshot);
    if (!id.ok()) return id.status();
    request.set_source_snapshot_id(*id);
  } else if (!args.volume.empty()) {
    auto id = VolumeId(session, args.volume);
    if (!id.ok()) return id.status();
    request.set_source_volume_id(*id);
  } else if (!args.image.empty()) {
    request.mutable_source_image()->set_path(args.image);
    request.mutable_source_image()->set_format(FileFormatOf(args.image_format));
  }
  session->SetChangeFields(&request);
  return request;
}

absl::Status RunCreate(Session* session, const CreateArgs& args) {
  if (args.size_bytes == 0 && args.snapshot.empty() && args.volume.empty() && args.image.empty()) {
    return absl::InvalidArgumentError(
        "give --size, or a source: --from-snapshot, --from-volume or --from-image");
  }
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  auto request = RequestOf(session, args);
  if (!request.ok()) return request.status();
  return Finish(session, (*client)->CreateVolume(*std::move(request), session->call_options()),
                "Volume created.");
}

absl::Status DeleteOne(Session* session, const DeleteArgs& args, const Named& volume) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::DeleteVolumeRequest request;
  request.set_volume_id(volume.id);
  request.set_allow_missing(args.allow_missing);
  request.set_cascade(args.cascade);
  session->SetChangeFields(&request);
  return Finish(session, (*client)->DeleteVolume(request, session->call_options()),
                fmt::format("Volume {} is deleted.", volume.word));
}

absl::Status RunDelete(Session* session, const DeleteArgs& args) {
  if (args.volumes.size() > 1 && !session->globals.request_id.empty())
    return absl::InvalidArgumentError("--request-id is for one change: give one volume");
  const auto volumes = VolumeIds(session, args.volumes, args.allow_missing);
  if (!volumes.ok()) return volumes.status();
  if (volumes->empty()) return absl::OkStatus();
  const std::string question =
      fmt::format("Delete {}{}? The data is lost.",
                  volumes->size() == 1 ? "volume " + volumes->front().word
                                       : fmt::format("{} volumes", volumes->size()),
                  args.cascade ? " and all its snapshots" : "");
  if (absl::Status status = Confirm(*session, args.yes, question, "not deleted"); !status.ok())
    return status;
  for (const Named& volume : *volumes) {
    if (absl::Status status = DeleteOne(session, args, volume); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RunExtend(Session* session, const ExtendArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto id = VolumeId(session, args.volume);
  if (!id.ok()) return id.status();
  v1::ExtendVolumeRequest request;
  request.set_volume_id(*id);
  request.set_size_bytes(args.size_bytes);
  session->SetChangeFields(&request);
  return Finish(session, (*client)->ExtendVolume(request, session->call_options()),
                "Volume extended.");
}

absl::Status RunMigrate(Session* session, const MigrateArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto id = VolumeId(session, args.volume);
  if (!id.ok()) return id.status();
  v1::MigrateVolumeRequest request;
  request.set_volume_id(*id);
  request.set_share(args.share);
  session->SetChangeFields(&request);
  return Finish(session, (*client)->MigrateVolume(request, session->call_options()),
                "Volume moved.");
}

absl::Status RunUpdate(Session* session, const UpdateArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto id = VolumeId(session, args.target);
  if (!id.ok()) return id.status();
  v1::UpdateVolumeRequest request;
  request.set_volume_id(*id);
  session->SetChangeFields(&request);
  return Finish(session,
                UpdateRecord(
                    args, std::move(request),
                    [&] { return (*client)->GetVolume(*id, session->call_options()); },
                    [&](const v1::UpdateVolumeRequest& update) {
                      return (*client)->UpdateVolume(update, session->call_options());
                    }),
                "Volume changed.");
}

void AddPlacement(CLI::App* verb, CreateArgs* args) {
  verb->add_option("--id", args->id, "The id it shall have; a new UUID by default")
      ->type_name("UUID");
  verb->add_option("--pool", args->pool, "The pool; the default pool by default")
      ->type_name(kPoolType);
  verb->add_option("--share", args->share, "The share; chosen by the pool by default")
      ->type_name("ADDRESS");
  AddChoice(verb, "--format", &args->format, VolumeFormatWords(),
            "The format; the pool's by default");
  AddLabels(verb, &args->labels, "A label; may be given several times");
}

void AddCreate(CLI::App* noun, Session* session) {
  auto args = std::make_shared<CreateArgs>();
  CLI::App* verb =
      AddVerb(noun, "create", "Create a volume: empty, or from something that exists",
              {"volume create web-1 --size 10GiB",
               "volume create db --size 1T --format raw-thick --label tier=gold",
               "volume create restored --from-snapshot before-upgrade",
               "volume create base --from-image /images/debian.qcow2 --image-format qcow2"});
  verb->add_option("name,--name", args->name, "A name for people");
  AddSize(verb, "--size", &args->size_bytes, "The size; with a source, the source's by default");
  AddPlacement(verb, args.get());
  auto* snapshot =
      verb->add_option("--from-snapshot", args->snapshot, "Its first content: a snapshot");
  snapshot->type_name(kSnapshotType);
  auto* volume = verb->add_option("--from-volume", args->volume, "Its first content: a volume");
  volume->type_name(kVolumeType);
  auto* image =
      verb->add_option("--from-image", args->image,
                       "Its first content: an image file on the server, by its absolute path");
  image->type_name("PATH");
  auto* format = AddChoice(verb, "--image-format", &args->image_format, FileFormatWords(),
                           "The image's format");
  snapshot->excludes(volume)->excludes(image);
  volume->excludes(image);
  image->needs(format);
  format->needs(image);
  OnRun(verb, session, args, RunCreate);
}

void AddClone(CLI::App* noun, Session* session) {
  auto args = std::make_shared<CreateArgs>();
  CLI::App* verb =
      AddVerb(noun, "clone", "Create a volume with the present content of another",
              {"volume clone web-1 web-2", "volume clone web-1 --name big --size 100GiB"});
  verb->add_option("volume", args->volume, "The source: id or name")
      ->required()
      ->type_name(kVolumeType);
  verb->add_option("name,--name", args->name, "A name for people");
  AddSize(verb, "--size", &args->size_bytes, "The size, if larger than the source's");
  AddPlacement(verb, args.get());
  OnRun(verb, session, args, RunCreate);
}

void AddDelete(CLI::App* noun, Session* session) {
  auto args = std::make_shared<DeleteArgs>();
  CLI::App* verb = AddVerb(noun, "delete", "Delete volumes with their data",
                           {"volume delete web-1", "volume delete --yes --cascade web-1 web-2"});
  verb->add_option("volume", args->volumes, "Ids or names")->required()->type_name(kVolumeType);
  verb->add_flag("--cascade", args->cascade, "Delete their snapshots with them");
  verb->add_flag("--allow-missing", args->allow_missing, "One that does not exist is no error");
  AddYes(verb, &args->yes);
  OnRun(verb, session, args, RunDelete);
}

void AddExtend(CLI::App* noun, Session* session) {
  auto args = std::make_shared<ExtendArgs>();
  CLI::App* verb = AddVerb(noun, "extend", "Make a volume larger", {"volume extend web-1 20GiB"});
  verb->add_option("volume", args->volume, "Id or name")->required()->type_name(kVolumeType);
  AddSize(verb, "size,--size", &args->size_bytes, "The new size, not the difference")->required();
  OnRun(verb, session, args, RunExtend);
}

void AddMigrate(CLI::App* noun, Session* session) {
  auto args = std::make_shared<MigrateArgs>();
  CLI::App* verb =
      AddVerb(noun, "migrate", "Move a volume with its snapshots to another share of its pool",
              {"volume migrate web-1 nfs2:/pool", "volume migrate web-1 --no-wait"});
  verb->add_option("volume", args->volume, "Id or name")->required()->type_name(kVolumeType);
  verb->add_option("share,--share", args->share, "The target; chosen by the pool by default")
      ->type_name("ADDRESS");
  OnRun(verb, session, args, RunMigrate);
}

void AddUpdate(CLI::App* noun, Session* session) {
  auto args = std::make_shared<UpdateArgs>();
  CLI::App* verb = AddVerb(noun, "update", "Change a volume's name or labels",
                           {"volume update web-1 --name www-1",
                            "volume update web-1 --label tier=gold --remove-label temporary"});
  verb->add_option("volume", args->target, "Id or name")->required()->type_name(kVolumeType);
  AddUpdateOptions(verb, args.get());
  OnRun(verb, session, args, RunUpdate);
}

}  // namespace

void AddVolumeChangeVerbs(CLI::App* volume, Session* session) {
  AddCreate(volume, session);
  AddClone(volume, session);
  AddUpdate(volume, session);
  AddExtend(volume, session);
  AddMigrate(volume, session);
  AddDelete(volume, session);
}

}  // namespace cairn::cairnctl
