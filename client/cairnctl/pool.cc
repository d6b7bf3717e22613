// cairnctl pool.
#include <fmt/format.h>

#include "cairnctl/commands.h"
#include "cairnctl/confirm.h"
#include "cairnctl/show.h"

namespace cairn::cairnctl {
namespace {

struct NoArgs {};
struct PoolArgs {
  std::string pool;
};
struct AcceptArgs {
  std::string share;
  std::string pool;
  bool yes = false;
};

absl::Status RunList(Session* session, const NoArgs&) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  std::vector<v1::Pool> pools;
  for (auto& pool : (*client)->Pools({}, session->call_options())) {
    if (!pool.ok()) return pool.status();
    pools.push_back(*std::move(pool));
  }
  if (session->globals.quiet) {
    for (const v1::Pool& pool : pools) Print(pool.name() + "\n");
  } else if (session->table()) {
    Print(PoolTable(pools));
  } else {
    v1::ListPoolsResponse all;
    for (v1::Pool& pool : pools) *all.add_pools() = std::move(pool);
    session->PrintMessage(all);
  }
  return absl::OkStatus();
}

absl::Status ShowPool(Session* session, const absl::StatusOr<v1::Pool>& pool) {
  if (!pool.ok()) return pool.status();
  if (session->globals.quiet) {
    Print(pool->name() + "\n");
  } else if (session->table()) {
    Print(PoolDetails(*pool, WallTime()));
  } else {
    session->PrintMessage(*pool);
  }
  return absl::OkStatus();
}

absl::Status RunShow(Session* session, const PoolArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  return ShowPool(session, (*client)->GetPool(args.pool, session->call_options()));
}

absl::Status RunRescan(Session* session, const PoolArgs& args) {
  if (absl::Status status = session->RefuseDryRun(); !status.ok()) return status;
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  client::CallOptions options = session->call_options();
  // A walk through a large share takes longer than other calls.
  if (!options.timeout.has_value()) options.timeout = std::chrono::hours(1);
  return ShowPool(session, (*client)->RescanPool(args.pool, options));
}

absl::Status RunAccept(Session* session, const AcceptArgs& args) {
  if (absl::Status status = session->RefuseDryRun(); !status.ok()) return status;
  const std::string question = fmt::format(
      "Take what lies on {} now as that share? If its file system is merely not mounted, mount it "
      "instead.",
      args.share);
  if (absl::Status status = Confirm(*session, args.yes, question, "not accepted"); !status.ok())
    return status;
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::AcceptShareRequest request;
  request.set_pool(args.pool);
  request.set_share(args.share);
  return ShowPool(session, (*client)->AcceptShare(request, session->call_options()));
}

}  // namespace

void AddPoolCommands(CLI::App* app, Session* session) {
  CLI::App* pool = app->add_subcommand("pool", "Look at pools and their shares");
  pool->require_subcommand(1);
  OnRun(AddVerb(pool, "list", "List the pools", {"pool list", "pool list -o json"}), session,
        std::make_shared<NoArgs>(), RunList);

  auto show = std::make_shared<PoolArgs>();
  CLI::App* verb = AddVerb(pool, "show", "Show a pool: its capacity, and the state of each share",
                           {"pool show", "pool show fast -o yaml"});
  verb->add_option("pool", show->pool, "Its name; the default pool by default")
      ->type_name(kPoolType);
  OnRun(verb, session, show, RunShow);

  auto rescan = std::make_shared<PoolArgs>();
  verb = AddVerb(pool, "rescan", "Read the shares file again, probe and measure every share",
                 {"pool rescan", "pool rescan fast --timeout 10m"});
  verb->add_option("pool", rescan->pool, "Its name; the default pool by default")
      ->type_name(kPoolType);
  OnRun(verb, session, rescan, RunRescan);

  auto accept = std::make_shared<AcceptArgs>();
  verb =
      AddVerb(pool, "accept",
              "Take a share as it is, when \"pool show\" says that it was replaced, or has seen a "
              "later catalog",
              {"pool accept filer:/export", "pool accept --yes --pool fast file:///srv/volumes"});
  verb->add_option("share", accept->share, "Its address")->required()->type_name("ADDRESS");
  verb->add_option("--pool", accept->pool, "Its pool; the default pool by default")
      ->type_name(kPoolType);
  AddYes(verb, &accept->yes);
  OnRun(verb, session, accept, RunAccept);
}

}  // namespace cairn::cairnctl
