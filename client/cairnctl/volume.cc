// cairnctl volume: the noun, and looking at volumes.
#include <fmt/format.h>

#include "cairnctl/commands.h"
#include "cairnctl/names.h"
#include "cairnctl/show.h"
#include "cairnctl/table.h"

namespace cairn::cairnctl {
namespace {

struct ListArgs {
  std::string filter, state, pool, share, name, order_by;
  std::vector<std::string> labels;
  int64_t limit = 0;
};

struct ShowArgs {
  std::string volume;
  bool basic = false;
};

struct WatchArgs {
  std::string filter;
  int64_t from_revision = 0;
};

// The parts that are given, with AND between them.
std::string FilterOf(const ListArgs& args) {
  std::string filter = args.filter;
  const auto add = [&filter](const std::string& comparison) {
    if (!filter.empty()) filter += " AND ";
    filter += comparison;
  };
  if (!args.state.empty()) add("state = " + Quoted(args.state));
  if (!args.pool.empty()) add("pool = " + Quoted(args.pool));
  if (!args.share.empty()) add("share = " + Quoted(args.share));
  if (!args.name.empty()) add("name : " + Quoted(args.name));
  for (const std::string& label : args.labels) {
    const size_t equals = label.find('=');
    add(fmt::format("labels.{} = {}", label.substr(0, equals), Quoted(label.substr(equals + 1))));
  }
  return filter;
}

absl::Status RunList(Session* session, const ListArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::ListVolumesRequest request;
  request.set_filter(FilterOf(args));
  request.set_order_by(args.order_by);
  request.set_page_size(args.limit > 0 && args.limit < 1'000 ? static_cast<int>(args.limit)
                                                             : 1'000);
  std::vector<v1::Volume> volumes;
  for (auto& volume : (*client)->Volumes(request, session->call_options())) {
    if (!volume.ok()) return volume.status();
    volumes.push_back(*std::move(volume));
    if (args.limit > 0 && static_cast<int64_t>(volumes.size()) == args.limit) break;
  }
  if (session->globals.quiet) {
    for (const v1::Volume& volume : volumes) Print(volume.id() + "\n");
  } else if (session->table()) {
    Print(VolumeTable(volumes, WallTime()));
  } else {
    v1::ListVolumesResponse all;
    for (v1::Volume& volume : volumes) *all.add_volumes() = std::move(volume);
    session->PrintMessage(all);
  }
  return absl::OkStatus();
}

absl::Status RunShow(Session* session, const ShowArgs& args) {
  const auto id = VolumeId(session, args.volume);
  if (!id.ok()) return id.status();
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::GetVolumeRequest request;
  request.set_volume_id(*id);
  request.set_view(args.basic ? v1::VOLUME_VIEW_BASIC : v1::VOLUME_VIEW_FULL);
  const auto volume = (*client)->GetVolume(request, session->call_options());
  if (!volume.ok()) return volume.status();
  if (session->globals.quiet) {
    Print(volume->id() + "\n");
  } else if (session->table()) {
    Print(VolumeDetails(*volume, WallTime()));
  } else {
    session->PrintMessage(*volume);
  }
  return absl::OkStatus();
}

void PrintEvent(const Session& session, const v1::WatchVolumesResponse& event) {
  if (!session.table()) {
    session.PrintStreamed(event);
    return;
  }
  const auto line = [&event](const char* what, const v1::Volume& volume) {
    Print(Printable(fmt::format("{:>10}  {:<8} {}  {:<10} {:>10}  {}", event.revision(), what,
                                volume.id(), Word(volume.state()), volume.size_bytes(),
                                volume.name())) +
          "\n");
  };
  if (event.has_added()) line("added", event.added());
  if (event.has_changed()) line("changed", event.changed());
  if (event.has_removed()) {
    Print(fmt::format("{:>10}  {:<8} {}{}\n", event.revision(), "removed",
                      event.removed().volume_id(),
                      event.removed().left_filter() ? "  (no longer matches)" : ""));
  }
}

absl::Status RunWatch(Session* session, const WatchArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::WatchVolumesRequest request;
  request.set_filter(args.filter);
  request.set_from_revision(args.from_revision);
  client::WatchOptions options;
  options.stop = session->stop();
  options.on_restart = [] { Note("changes were lost: all volumes are told again"); };
  const Interrupt::Scope scope(session->interrupt());
  absl::Status printed;
  const absl::Status status = (*client)->WatchVolumes(
      request,
      [&](const v1::WatchVolumesResponse& event) {
        PrintEvent(*session, event);
        // Whoever reads a stream wants each message when it comes.
        printed = FlushOutput();
        return printed.ok();
      },
      options);
  return printed.ok() ? status : printed;
}

void AddList(CLI::App* noun, Session* session) {
  auto args = std::make_shared<ListArgs>();
  CLI::App* verb = AddVerb(noun, "list", "List volumes",
                           {"volume list", "volume list --state ERROR",
                            "volume list --label tier=gold --sort 'size_bytes desc' --limit 10",
                            R"(volume list --filter 'name : "web-" AND labels.backup : *')"});
  verb->add_option(
      "--filter", args->filter,
      "field = value, != or : (begins with), joined by AND; fields: state, pool, share, name, "
      "labels.KEY");
  verb->add_option("--state", args->state, "Only in this state")
      ->check(OneOf({"CREATING", "AVAILABLE", "IN_USE", "EXTENDING", "REVERTING", "MIGRATING",
                     "DELETING", "ERROR"}))
      ->type_name("");
  verb->add_option("--pool", args->pool, "Only of this pool")->type_name(kPoolType);
  verb->add_option("--share", args->share, "Only on this share")->type_name("ADDRESS");
  verb->add_option("--name", args->name, "Only names that begin with this");
  AddLabels(verb, &args->labels, "Only with this label");
  verb->add_option("--sort", args->order_by,
                   "create_time (default), name or size_bytes; \" desc\" may follow");
  verb->add_option("--limit", args->limit, "At most so many")->check(AtLeast(1));
  OnRun(verb, session, args, RunList);
}

void AddShow(CLI::App* noun, Session* session) {
  auto args = std::make_shared<ShowArgs>();
  CLI::App* verb = AddVerb(noun, "show", "Show a volume with its files and attachments",
                           {"volume show web-1", "volume show web-1 --basic -o yaml"});
  verb->add_option("volume", args->volume, "Id or name")->required()->type_name(kVolumeType);
  verb->add_flag("--basic", args->basic,
                 "Only what the server has in memory: works while the share is unreachable");
  OnRun(verb, session, args, RunShow);
}

void AddWatch(CLI::App* noun, Session* session) {
  auto args = std::make_shared<WatchArgs>();
  CLI::App* verb =
      AddVerb(noun, "watch", "Follow all volumes: what there is, then every change, until Ctrl-C",
              {"volume watch", "volume watch -o json --filter 'pool = fast' | jq .changed.state"});
  verb->add_option("--filter", args->filter, "Which volumes; see volume list");
  verb->add_option("--from-revision", args->from_revision, "Go on after this revision")
      ->check(AtLeast(0));
  OnRun(verb, session, args, RunWatch);
}

}  // namespace

void AddVolumeCommands(CLI::App* app, Session* session) {
  CLI::App* volume = app->add_subcommand("volume", "Create, look at, change, use volumes");
  volume->require_subcommand(1);
  AddVolumeChangeVerbs(volume, session);
  AddList(volume, session);
  AddShow(volume, session);
  AddVolumeUseVerbs(volume, session);
  AddVolumeContentVerbs(volume, session);
  AddWatch(volume, session);
}

}  // namespace cairn::cairnctl
