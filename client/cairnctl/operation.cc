// cairnctl operation.
#include <fmt/format.h>

#include <stop_token>

#include "cairnctl/commands.h"
#include "cairnctl/confirm.h"
#include "cairnctl/finish.h"
#include "cairnctl/names.h"
#include "cairnctl/show.h"
#include "cairnctl/table.h"

namespace cairn::cairnctl {
namespace {

struct ListArgs {
  std::string volume, state, filter;
  bool newest_first = false;
  int64_t limit = 0;
};

struct OperationArgs {
  std::string operation;
};

struct AbandonArgs {
  std::string operation, reason;
  bool yes = false;
};

struct ReportArgs {
  std::string operation, failed;
  int step = 0;
  bool done = false, begun = false;
};

std::string FilterOf(const ListArgs& args, const std::string& volume_id) {
  std::string filter = args.filter;
  const auto add = [&filter](const std::string& comparison) {
    if (!filter.empty()) filter += " AND ";
    filter += comparison;
  };
  if (!volume_id.empty()) add("volume_id = " + Quoted(volume_id));
  if (!args.state.empty()) add("state = " + Quoted(args.state));
  return filter;
}

absl::Status RunList(Session* session, const ListArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  std::string volume_id;
  if (!args.volume.empty()) {
    auto id = VolumeId(session, args.volume);
    if (!id.ok()) return id.status();
    volume_id = *std::move(id);
  }
  v1::ListOperationsRequest request;
  request.set_filter(FilterOf(args, volume_id));
  if (args.newest_first) request.set_order_by("create_time desc");
  request.set_page_size(args.limit > 0 && args.limit < 1'000 ? static_cast<int>(args.limit)
                                                             : 1'000);
  std::vector<v1::Operation> operations;
  for (auto& operation : (*client)->Operations(request, session->call_options())) {
    if (!operation.ok()) return operation.status();
    operations.push_back(*std::move(operation));
    if (args.limit > 0 && static_cast<int64_t>(operations.size()) == args.limit) break;
  }
  if (session->globals.quiet) {
    for (const v1::Operation& operation : operations) Print(operation.id() + "\n");
  } else if (session->table()) {
    Print(OperationTable(operations, WallTime()));
  } else {
    v1::ListOperationsResponse all;
    for (v1::Operation& operation : operations) *all.add_operations() = std::move(operation);
    session->PrintMessage(all);
  }
  return absl::OkStatus();
}

absl::Status ShowOperation(Session* session, const absl::StatusOr<v1::Operation>& operation) {
  if (!operation.ok()) return operation.status();
  if (session->globals.quiet) {
    Print(operation->id() + "\n");
  } else if (session->table()) {
    Print(OperationDetails(*operation, WallTime()));
  } else {
    session->PrintMessage(*operation);
  }
  return absl::OkStatus();
}

absl::Status RunShow(Session* session, const OperationArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  return ShowOperation(session, (*client)->GetOperation(args.operation, session->call_options()));
}

absl::Status RunWait(Session* session, const OperationArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto pending = (*client)->GetPendingOperation(args.operation, session->call_options());
  if (!pending.ok()) return pending.status();
  const auto operation = WaitWithProgress(session, *pending);
  if (!operation.ok()) return operation.status();
  return ShowResult(session, *operation, fmt::format("Operation {} is done.", args.operation));
}

absl::Status RunCancel(Session* session, const OperationArgs& args) {
  if (absl::Status status = session->RefuseDryRun(); !status.ok()) return status;
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::CancelOperationRequest request;
  request.set_operation_id(args.operation);
  return ShowOperation(session, (*client)->CancelOperation(request, session->call_options()));
}

absl::Status RunAbandon(Session* session, const AbandonArgs& args) {
  if (absl::Status status = session->RefuseDryRun(); !status.ok()) return status;
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto present = (*client)->GetOperation(args.operation, session->call_options());
  if (!present.ok()) return present.status();
  const std::string question =
      fmt::format("Abandon operation {} ({} of {}), which leaves its files half changed?",
                  present->id(), Word(present->kind()), present->target());
  if (absl::Status status = Confirm(*session, args.yes, question, "not abandoned"); !status.ok())
    return status;
  v1::AbandonOperationRequest request;
  request.set_operation_id(args.operation);
  request.set_reason(args.reason);
  return ShowOperation(session, (*client)->AbandonOperation(request, session->call_options()));
}

absl::Status RunReport(Session* session, const ReportArgs& args) {
  if (absl::Status status = session->RefuseDryRun(); !status.ok()) return status;
  if (!args.done && args.failed.empty())
    return absl::InvalidArgumentError("say --done, or --failed and why");
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::ReportHypervisorStepRequest request;
  request.set_operation_id(args.operation);
  request.set_step_number(args.step);
  if (args.done) {
    request.mutable_done();
  } else {
    request.mutable_failed()->set_message(args.failed);
    request.mutable_failed()->set_begun(args.begun);
  }
  return ShowOperation(session, (*client)->ReportHypervisorStep(request, session->call_options()));
}

void PrintProgress(const Session& session, const v1::Operation& now, std::string* last) {
  if (!session.table()) return session.PrintStreamed(now);
  const std::string line = Printable(OperationProgressText(now));
  if (line != *last) Print(line + "\n");
  *last = line;
}

absl::Status RunWatch(Session* session, const OperationArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto pending = (*client)->GetPendingOperation(args.operation, session->call_options());
  if (!pending.ok()) return pending.status();
  const Interrupt::Scope scope(session->interrupt());
  client::WaitOptions options = session->wait_options();
  std::stop_source enough;
  const std::stop_callback interrupted(options.stop, [&] { enough.request_stop(); });
  options.stop = enough.get_token();
  std::string last;
  absl::Status printed;
  options.on_progress = [&](const v1::Operation& now) {
    PrintProgress(*session, now, &last);
    // Whoever reads a stream wants each message when it comes.
    printed = FlushOutput();
    if (!printed.ok()) enough.request_stop();
  };
  const absl::Status status = pending->Wait(options).status();
  return printed.ok() ? status : printed;
}

void AddList(CLI::App* noun, Session* session) {
  auto args = std::make_shared<ListArgs>();
  CLI::App* verb =
      AddVerb(noun, "list", "List operations, running and ended",
              {"operation list --state RUNNING", "operation list --volume web-1 --newest-first",
               "operation list --filter 'kind = MIGRATE_VOLUME' --limit 20"});
  verb->add_option("--volume", args->volume, "Only on this volume")->type_name(kVolumeType);
  verb->add_option("--state", args->state, "Only in this state")
      ->check(OneOf({"QUEUED", "RUNNING", "WAITING_FOR_CONSUMER", "CANCELLING", "SUCCEEDED",
                     "FAILED", "CANCELLED", "ABANDONED"}))
      ->type_name("");
  verb->add_option(
      "--filter", args->filter,
      "field = value, != or : (begins with), joined by AND; fields: state, kind, target, "
      "volume_id, request_id");
  verb->add_flag("--newest-first", args->newest_first, "The newest ones first");
  verb->add_option("--limit", args->limit, "At most so many")->check(AtLeast(1));
  OnRun(verb, session, args, RunList);
}

void AddOne(CLI::App* noun, Session* session, const std::string& name,
            const std::string& description, absl::Status (*run)(Session*, const OperationArgs&)) {
  auto args = std::make_shared<OperationArgs>();
  CLI::App* verb = AddVerb(noun, name, description,
                           {"operation " + name + " 7d0f2c1e-0d0b-4b6e-9a52-1f3c5f0e8a77"});
  verb->add_option("operation", args->operation, "Its id")->required()->type_name(kOperationType);
  OnRun(verb, session, args, run);
}

void AddAbandon(CLI::App* noun, Session* session) {
  auto args = std::make_shared<AbandonArgs>();
  CLI::App* verb = AddVerb(noun, "abandon", "End a parked operation half-way: the last resort",
                           {"operation abandon 7d0f2c1e-0d0b-4b6e-9a52-1f3c5f0e8a77 --reason 'the "
                            "disk of nfs2 is lost'"});
  verb->add_option("operation", args->operation, "Its id")->required()->type_name(kOperationType);
  verb->add_option("--reason", args->reason, "Why; it is logged")->required()->type_name("WHY");
  AddYes(verb, &args->yes);
  OnRun(verb, session, args, RunAbandon);
}

void AddReport(CLI::App* noun, Session* session) {
  auto args = std::make_shared<ReportArgs>();
  CLI::App* verb = AddVerb(noun, "report", "Answer an operation that waits for its consumer",
                           {"operation report 7d0f2c1e-0d0b-4b6e-9a52-1f3c5f0e8a77 --step 1 --done",
                            "operation report 7d0f2c1e-0d0b-4b6e-9a52-1f3c5f0e8a77 --step 1 "
                            "--failed 'the machine is gone'"});
  verb->add_option("operation", args->operation, "Its id")->required()->type_name(kOperationType);
  verb->add_option("--step", args->step, "The number of the step, as `operation show` says it")
      ->required()
      ->check(AtLeast(1));
  auto* done = verb->add_flag("--done", args->done, "The hypervisor has done all of it");
  auto* failed =
      verb->add_option("--failed", args->failed, "Nothing was done, nor will be, and why");
  failed->type_name("WHY")->excludes(done);
  verb->add_flag("--begun", args->begun,
                 "With --failed: the merge downward has changed its base, though not the chain")
      ->needs(failed);
  OnRun(verb, session, args, RunReport);
}

}  // namespace

void AddOperationCommands(CLI::App* app, Session* session) {
  CLI::App* operation = app->add_subcommand("operation", "Look at, wait for, cancel operations");
  operation->require_subcommand(1);
  AddList(operation, session);
  AddOne(operation, session, "show", "Show an operation", RunShow);
  AddOne(operation, session, "wait", "Wait for the end; fails as the operation does", RunWait);
  AddOne(operation, session, "cancel", "Give an operation up", RunCancel);
  AddAbandon(operation, session);
  AddReport(operation, session);
  AddOne(operation, session, "watch", "Print each change until the end", RunWatch);
}

}  // namespace cairn::cairnctl
