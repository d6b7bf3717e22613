#include "cairnctl/finish.h"

#include <fmt/format.h>

#include "cairnctl/names.h"
#include "cairnctl/progress.h"
#include "cairnctl/show.h"

namespace cairn::cairnctl {
namespace {

// "create volume" for CREATE_VOLUME.
std::string KindText(const v1::Operation& operation) {
  std::string text = Word(operation.kind());
  for (char& c : text) c = c == '_' ? ' ' : static_cast<char>(c + ('a' - 'A'));
  return text;
}

ProgressState StateOf(const v1::Operation& operation) {
  const v1::OperationProgress& progress = operation.progress();
  ProgressState state{KindText(operation), progress.done_bytes(), progress.total_bytes()};
  if (operation.state() != v1::OPERATION_STATE_RUNNING) {
    state.label += ": " + Word(operation.state());
  } else if (!progress.step().empty()) {
    state.label += ": " + progress.step();
  }
  return state;
}

void TellHowToGoOn(const std::string& id) {
  Note(fmt::format("Operation {} goes on by itself.", id));
  Note(fmt::format("  wait for it:  cairnctl operation wait {}", id));
  Note(fmt::format("  cancel it:    cairnctl operation cancel {}", id));
}

void ShowOperation(const Session& session, const v1::Operation& operation) {
  if (session.globals.quiet) {
    Print(operation.id() + "\n");
  } else if (session.table()) {
    Print(OperationDetails(operation, WallTime()));
  } else {
    session.PrintMessage(operation);
  }
}

void ShowSnapshots(const Session& session, const std::vector<v1::Snapshot>& snapshots) {
  if (session.globals.quiet) {
    for (const v1::Snapshot& snapshot : snapshots) Print(snapshot.id() + "\n");
  } else if (session.table()) {
    for (size_t i = 0; i < snapshots.size(); ++i)
      Print((i == 0 ? "" : "\n") + SnapshotDetails(snapshots[i], WallTime()));
  } else if (snapshots.size() == 1) {
    session.PrintMessage(snapshots.front());
  } else {
    v1::ListSnapshotsResponse all;
    for (const v1::Snapshot& snapshot : snapshots) *all.add_snapshots() = snapshot;
    session.PrintMessage(all);
  }
}

// The snapshots that were taken together with this one, which comes first. A group that was named
// by the caller may hold others, of other instants.
absl::Status ShowGroup(Session* session, const v1::Snapshot& first) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  std::vector<v1::Snapshot> snapshots = {first};
  v1::ListSnapshotsRequest request;
  request.set_filter("group_id = " + Quoted(first.group_id()));
  absl::Status status;
  for (auto& snapshot : (*client)->Snapshots(request, session->call_options())) {
    if (!snapshot.ok()) {
      status = snapshot.status();
      break;
    }
    const bool together = snapshot->create_time().seconds() == first.create_time().seconds() &&
                          snapshot->create_time().nanos() == first.create_time().nanos();
    if (together && snapshot->id() != first.id()) snapshots.push_back(*std::move(snapshot));
  }
  // Also after an error: what is known is not kept back.
  ShowSnapshots(*session, snapshots);
  return status;
}

}  // namespace

absl::StatusOr<v1::Operation> WaitWithProgress(Session* session,
                                               const client::PendingOperation& pending) {
  Progress progress(session->globals.quiet);
  const Interrupt::Scope scope(session->interrupt());
  client::WaitOptions options = session->wait_options();
  bool ended = client::HasEnded(pending.operation());
  options.on_progress = [&](const v1::Operation& now) {
    ended = client::HasEnded(now);
    if (!ended) progress.Update(StateOf(now));
  };
  auto operation = pending.Wait(options);
  progress.Clear();
  const bool goes_on = !operation.ok() && !ended && client::GetReason(operation.status()).empty();
  if (goes_on && !absl::IsNotFound(operation.status())) TellHowToGoOn(pending.id());
  return operation;
}

absl::Status ShowResult(Session* session, const v1::Operation& operation, const std::string& done) {
  if (operation.kind() == v1::OPERATION_KIND_CREATE_SNAPSHOT &&
      !operation.snapshot().group_id().empty()) {
    return ShowGroup(session, operation.snapshot());
  }
  const auto now = WallTime();
  const google::protobuf::Message* message = &operation;
  std::string id, details;
  switch (operation.result_case()) {
    case v1::Operation::kVolume:
      message = &operation.volume();
      id = operation.volume().id();
      details = VolumeDetails(operation.volume(), now);
      break;
    case v1::Operation::kSnapshot:
      message = &operation.snapshot();
      id = operation.snapshot().id();
      details = SnapshotDetails(operation.snapshot(), now);
      break;
    case v1::Operation::kAttachment:
      message = &operation.attachment();
      id = operation.attachment().id();
      details = AttachmentDetails(operation.attachment(), now);
      break;
    case v1::Operation::RESULT_NOT_SET:
      break;
  }
  if (session->globals.quiet) {
    if (!id.empty()) Print(id + "\n");
  } else if (!session->table()) {
    session->PrintMessage(*message);
  } else {
    Print(details.empty() ? done + "\n" : details);
  }
  return absl::OkStatus();
}

absl::Status Finish(Session* session, const absl::StatusOr<client::PendingOperation>& pending,
                    const std::string& done) {
  if (!pending.ok()) return pending.status();
  if (pending->id().empty()) {
    if (!session->globals.quiet) Note("The request is valid; nothing was changed (--dry-run).");
    return absl::OkStatus();
  }
  if (!session->globals.wait && !client::HasEnded(pending->operation())) {
    ShowOperation(*session, pending->operation());
    return absl::OkStatus();
  }
  const auto operation = WaitWithProgress(session, *pending);
  if (!operation.ok()) return operation.status();
  if (session->globals.wait) return ShowResult(session, *operation, done);
  ShowOperation(*session, *operation);
  return absl::OkStatus();
}

}  // namespace cairn::cairnctl
