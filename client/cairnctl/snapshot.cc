// cairnctl snapshot.
#include <fmt/format.h>

#include "cairnctl/commands.h"
#include "cairnctl/confirm.h"
#include "cairnctl/finish.h"
#include "cairnctl/names.h"
#include "cairnctl/show.h"
#include "cairnctl/update.h"

namespace cairn::cairnctl {
namespace {

struct CreateArgs {
  std::vector<std::string> volumes;
  std::string name, id, group;
  std::vector<std::string> labels;
  bool quiesce = false;
};

struct ListArgs {
  std::string volume, filter, order_by;
};

struct ShowArgs {
  std::string snapshot;
};

struct DeleteArgs {
  std::vector<std::string> snapshots;
  bool allow_missing = false, yes = false;
};

struct RevertArgs {
  std::string snapshot;
  bool discard_newer = false, yes = false;
};

absl::Status RunCreate(Session* session, const CreateArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::CreateSnapshotRequest request;
  for (const std::string& volume : args.volumes) {
    const auto id = VolumeId(session, volume);
    if (!id.ok()) return id.status();
    if (request.volume_id().empty()) {
      request.set_volume_id(*id);
    } else {
      request.add_additional_volumes()->set_volume_id(*id);
    }
  }
  request.set_snapshot_id(args.id);
  request.set_name(args.name);
  request.set_group_id(args.group);
  request.set_quiesce(args.quiesce);
  SetLabels(args.labels, request.mutable_labels());
  session->SetChangeFields(&request);
  return Finish(session, (*client)->CreateSnapshot(request, session->call_options()),
                "Snapshot taken.");
}

absl::Status RunList(Session* session, const ListArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::ListSnapshotsRequest request;
  if (!args.volume.empty()) {
    const auto id = VolumeId(session, args.volume);
    if (!id.ok()) return id.status();
    request.set_volume_id(*id);
  }
  request.set_filter(args.filter);
  request.set_order_by(args.order_by);
  request.set_page_size(1'000);
  std::vector<v1::Snapshot> snapshots;
  for (auto& snapshot : (*client)->Snapshots(request, session->call_options())) {
    if (!snapshot.ok()) return snapshot.status();
    snapshots.push_back(*std::move(snapshot));
  }
  if (session->globals.quiet) {
    for (const v1::Snapshot& snapshot : snapshots) Print(snapshot.id() + "\n");
  } else if (session->table()) {
    Print(SnapshotTable(snapshots, WallTime()));
  } else {
    v1::ListSnapshotsResponse all;
    for (v1::Snapshot& snapshot : snapshots) *all.add_snapshots() = std::move(snapshot);
    session->PrintMessage(all);
  }
  return absl::OkStatus();
}

absl::Status RunShow(Session* session, const ShowArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto id = SnapshotId(session, args.snapshot);
  if (!id.ok()) return id.status();
  const auto snapshot = (*client)->GetSnapshot(*id, session->call_options());
  if (!snapshot.ok()) return snapshot.status();
  if (session->globals.quiet) {
    Print(snapshot->id() + "\n");
  } else if (session->table()) {
    Print(SnapshotDetails(*snapshot, WallTime()));
  } else {
    session->PrintMessage(*snapshot);
  }
  return absl::OkStatus();
}

absl::Status RunUpdate(Session* session, const UpdateArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto id = SnapshotId(session, args.target);
  if (!id.ok()) return id.status();
  v1::UpdateSnapshotRequest request;
  request.set_snapshot_id(*id);
  session->SetChangeFields(&request);
  return Finish(session,
                UpdateRecord(
                    args, std::move(request),
                    [&] { return (*client)->GetSnapshot(*id, session->call_options()); },
                    [&](const v1::UpdateSnapshotRequest& update) {
                      return (*client)->UpdateSnapshot(update, session->call_options());
                    }),
                "Snapshot changed.");
}

absl::Status DeleteOne(Session* session, const DeleteArgs& args, const Named& snapshot) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::DeleteSnapshotRequest request;
  request.set_snapshot_id(snapshot.id);
  request.set_allow_missing(args.allow_missing);
  session->SetChangeFields(&request);
  return Finish(session, (*client)->DeleteSnapshot(request, session->call_options()),
                fmt::format("Snapshot {} is deleted.", snapshot.word));
}

absl::Status RunDelete(Session* session, const DeleteArgs& args) {
  if (args.snapshots.size() > 1 && !session->globals.request_id.empty())
    return absl::InvalidArgumentError("--request-id is for one change: give one snapshot");
  const auto snapshots = SnapshotIds(session, args.snapshots, args.allow_missing);
  if (!snapshots.ok()) return snapshots.status();
  if (snapshots->empty()) return absl::OkStatus();
  const std::string question = fmt::format(
      "Delete {}?", snapshots->size() == 1 ? "snapshot " + snapshots->front().word
                                           : fmt::format("{} snapshots", snapshots->size()));
  if (absl::Status status = Confirm(*session, args.yes, question, "not deleted"); !status.ok())
    return status;
  for (const Named& snapshot : *snapshots) {
    if (absl::Status status = DeleteOne(session, args, snapshot); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RunRevert(Session* session, const RevertArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto id = SnapshotId(session, args.snapshot);
  if (!id.ok()) return id.status();
  const std::string question =
      fmt::format("Revert to snapshot {}? What was written since{} is lost.", args.snapshot,
                  args.discard_newer ? ", and all newer snapshots," : "");
  if (absl::Status status = Confirm(*session, args.yes, question, "not reverted"); !status.ok())
    return status;
  v1::RevertToSnapshotRequest request;
  request.set_snapshot_id(*id);
  request.set_discard_newer(args.discard_newer);
  session->SetChangeFields(&request);
  return Finish(session, (*client)->RevertToSnapshot(request, session->call_options()),
                "Volume reverted.");
}

void AddCreate(CLI::App* noun, Session* session) {
  auto args = std::make_shared<CreateArgs>();
  CLI::App* verb =
      AddVerb(noun, "create", "Take a snapshot of a volume, or of several at one instant",
              {"snapshot create web-1 --name before-upgrade",
               "snapshot create db-data db-log --name nightly --quiesce"});
  verb->add_option("volume", args->volumes, "Ids or names")->required()->type_name(kVolumeType);
  verb->add_option("--name", args->name, "A name for people");
  verb->add_option("--id", args->id, "The id it shall have; a new UUID by default")
      ->type_name("UUID");
  verb->add_option("--group", args->group, "The id of the group it belongs to")->type_name("UUID");
  AddLabels(verb, &args->labels, "A label; may be given several times");
  verb->add_flag("--quiesce", args->quiesce,
                 "Hold the guest's file systems still for the instant; for volumes in use");
  OnRun(verb, session, args, RunCreate);
}

void AddLooks(CLI::App* noun, Session* session) {
  auto list = std::make_shared<ListArgs>();
  CLI::App* verb = AddVerb(noun, "list", "List snapshots",
                           {"snapshot list", "snapshot list --volume web-1",
                            R"(snapshot list --filter 'name : "nightly" AND state = AVAILABLE')"});
  verb->add_option("--volume", list->volume, "Only of this volume")->type_name(kVolumeType);
  verb->add_option(
      "--filter", list->filter,
      "field = value, != or : (begins with), joined by AND; fields: state, name, volume_id, "
      "group_id, labels.KEY");
  verb->add_option("--sort", list->order_by,
                   "create_time (default), name or size_bytes; \" desc\" may follow");
  OnRun(verb, session, list, RunList);

  auto show = std::make_shared<ShowArgs>();
  verb = AddVerb(noun, "show", "Show a snapshot",
                 {"snapshot show before-upgrade", "snapshot show before-upgrade -o json"});
  verb->add_option("snapshot", show->snapshot, "Id or name")->required()->type_name(kSnapshotType);
  OnRun(verb, session, show, RunShow);
}

void AddChanges(CLI::App* noun, Session* session) {
  auto update = std::make_shared<UpdateArgs>();
  CLI::App* verb = AddVerb(noun, "update", "Change a snapshot's name or labels",
                           {"snapshot update before-upgrade --name keep --label keep=yes"});
  verb->add_option("snapshot", update->target, "Id or name")->required()->type_name(kSnapshotType);
  AddUpdateOptions(verb, update.get());
  OnRun(verb, session, update, RunUpdate);

  auto remove = std::make_shared<DeleteArgs>();
  verb = AddVerb(
      noun, "delete", "Delete snapshots; the volume and its other snapshots stay as they are",
      {"snapshot delete before-upgrade", "snapshot delete --yes --no-wait before-upgrade"});
  verb->add_option("snapshot", remove->snapshots, "Ids or names")
      ->required()
      ->type_name(kSnapshotType);
  verb->add_flag("--allow-missing", remove->allow_missing, "One that does not exist is no error");
  AddYes(verb, &remove->yes);
  OnRun(verb, session, remove, RunDelete);

  auto revert = std::make_shared<RevertArgs>();
  verb =
      AddVerb(noun, "revert", "Set a volume back to a snapshot",
              {"snapshot revert before-upgrade", "snapshot revert monday --discard-newer --yes"});
  verb->add_option("snapshot", revert->snapshot, "Id or name")
      ->required()
      ->type_name(kSnapshotType);
  verb->add_flag("--discard-newer", revert->discard_newer, "Delete the snapshots that are newer");
  AddYes(verb, &revert->yes);
  OnRun(verb, session, revert, RunRevert);
}

}  // namespace

void AddSnapshotCommands(CLI::App* app, Session* session) {
  CLI::App* snapshot =
      app->add_subcommand("snapshot", "Take, look at, delete, revert to snapshots");
  snapshot->require_subcommand(1);
  AddCreate(snapshot, session);
  AddLooks(snapshot, session);
  AddChanges(snapshot, session);
}

}  // namespace cairn::cairnctl
