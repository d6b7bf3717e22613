#include "server/call.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "server/status_mapping.h"

namespace cairn {
namespace {

constexpr absl::Duration kSlow = absl::Seconds(1);

spdlog::level::level_enum LevelOf(CallKind kind, absl::StatusCode code, bool slow) {
  if (code == absl::StatusCode::kInternal || code == absl::StatusCode::kDataLoss) {
    return spdlog::level::err;
  }
  if (slow) return spdlog::level::warn;
  const bool changes = kind == CallKind::kChange || kind == CallKind::kUpload;
  return changes ? spdlog::level::info : spdlog::level::debug;
}

bool Transfers(CallKind kind) { return kind == CallKind::kDownload || kind == CallKind::kUpload; }
bool Lasts(CallKind kind) { return kind != CallKind::kRead && kind != CallKind::kChange; }

}  // namespace

Call::Call(Method method, std::string peer, MonotonicTime deadline)
    : method_(method), peer_(std::move(peer)), deadline_(deadline), start_(MonotonicTime::Now()) {}

void Call::Note(std::string_view key, std::string_view value) {
  constexpr size_t kValueMax = 128;
  if (value.empty()) return;
  MutexLock lock(&mutex_);
  for (auto& [known, present] : notes_) {
    if (known != key) continue;
    present = std::string(value.substr(0, kValueMax));
    return;
  }
  notes_.emplace_back(key, value.substr(0, kValueMax));
}

bool Call::AllowHold(absl::Duration hold) {
  if (table_ != nullptr && !table_->Hold(this)) return false;
  MutexLock lock(&mutex_);
  hold_ = hold;
  return true;
}

void Call::AwaitCaller() {
  MutexLock lock(&mutex_);
  caller_awaited_since_ = MonotonicTime::Now();
}

void Call::CallerMoved() {
  MutexLock lock(&mutex_);
  caller_awaited_since_ = MonotonicTime::InfiniteFuture();
}

void Call::OnAbandoned(std::function<void()> hook) {
  {
    MutexLock lock(&mutex_);
    if (state_ == State::kOpen) {
      hook_ = std::move(hook);
      return;
    }
    if (state_ == State::kAnswered) return;
  }
  hook();
}

bool Call::open() const {
  MutexLock lock(&mutex_);
  return state_ == State::kOpen;
}

bool Call::Close(State state, const absl::Status& status, std::function<void()>* hook) {
  {
    MutexLock lock(&mutex_);
    if (state_ != State::kOpen) return false;
    state_ = state;
    *hook = std::move(hook_);
    hook_ = nullptr;
  }
  Log(status);
  if (table_ != nullptr) table_->Remove(this);
  return true;
}

bool Call::Claim(const absl::Status& status) {
  std::function<void()> hook;
  return Close(State::kAnswered, status, &hook);
}

bool Call::Abort(const absl::Status& status) {
  std::function<void()> hook;
  if (!Close(State::kAbandoned, status, &hook)) return false;
  // The hook may hold the last reference to this.
  std::shared_ptr<Call> self = shared_from_this();
  if (hook) hook();
  SendError(status);
  return true;
}

void Call::AbortByCaller() {
  if (MonotonicTime::Now() >= deadline_) {
    Abort(Error(Reason::kDeadline, "the call's deadline has passed"));
  } else {
    Abort(Error(Reason::kCancelled, "the caller cancelled the call or is gone"));
  }
}

void Call::Log(const absl::Status& status) {
  absl::Duration took = MonotonicTime::Now() - start_;
  std::vector<LogField> fields;
  bool slow = false;
  auto level = spdlog::level::debug;
  {
    MutexLock lock(&mutex_);
    bool measured = method_.kind == CallKind::kRead || method_.kind == CallKind::kChange;
    slow = measured && took > kSlow + hold_;
    level = LevelOf(method_.kind, status.code(), slow);
    if (!LogEnabled(level)) return;
    fields = {{"method", std::string(method_.name)},
              {"code", absl::StatusCodeToString(status.code())},
              {"ms", fmt::format("{:.1f}", absl::ToDoubleMilliseconds(took))},
              {"peer", peer_}};
    fields.insert(fields.end(), notes_.begin(), notes_.end());
  }
  if (!status.ok()) {
    fields.emplace_back("reason", ReasonText(status));
    fields.emplace_back("error", Describe(status));
  }
  LogEvent(level, slow ? "slow call" : "call", fields);
}

absl::Status CallTable::Add(const std::shared_ptr<Call>& call) {
  MutexLock lock(&mutex_);
  if (auto refused = refused_.find(call->kind()); refused != refused_.end()) return refused->second;
  if (static_cast<int>(calls_.size()) >= limits_.calls_max) {
    return Error(Reason::kTooManyCalls, fmt::format("the server has {} calls in hand and takes no "
                                                    "more",
                                                    limits_.calls_max));
  }
  Entry entry{.call = call, .lasts = Lasts(call->kind()), .transfers = Transfers(call->kind())};
  if (entry.transfers) RETURN_IF_ERROR(CheckTransfers(call->peer()));
  if (entry.lasts && !RoomForLasting()) {
    return Error(Reason::kTooManyCalls,
                 fmt::format("the server has {} calls in hand that wait, watch or transfer, and "
                             "takes no more of them",
                             lasting_));
  }
  lasting_ += entry.lasts;
  if (entry.transfers) {
    ++transfers_;
    ++transfers_by_peer_[call->peer()];
  }
  call->table_ = this;
  calls_[call.get()] = std::move(entry);
  return absl::OkStatus();
}

absl::Status CallTable::CheckTransfers(const std::string& peer) const {
  if (transfers_ >= limits_.transfers_max) {
    return Error(Reason::kTooManyCalls,
                 fmt::format("the server has {} downloads and uploads in hand and takes no more",
                             transfers_));
  }
  // Connections over UNIX sockets cannot be told apart.
  auto of_peer = transfers_by_peer_.find(peer);
  if (of_peer == transfers_by_peer_.end() || peer.starts_with("unix:") ||
      of_peer->second < std::max(1, limits_.transfers_max / 4)) {
    return absl::OkStatus();
  }
  return Error(Reason::kTooManyCalls,
               fmt::format("this connection has {} downloads and uploads and gets no more",
                           of_peer->second));
}

bool CallTable::RoomForLasting() const {
  return lasting_ < std::max(1, limits_.calls_max - limits_.calls_max / 4);
}

bool CallTable::Hold(const Call* call) {
  MutexLock lock(&mutex_);
  auto found = calls_.find(call);
  if (found == calls_.end() || found->second.lasts) return true;
  if (!RoomForLasting()) return false;
  found->second.lasts = true;
  ++lasting_;
  return true;
}

void CallTable::Remove(const Call* call) {
  MutexLock lock(&mutex_);
  auto found = calls_.find(call);
  if (found == calls_.end()) return;
  lasting_ -= found->second.lasts;
  if (found->second.transfers) {
    --transfers_;
    auto of_peer = transfers_by_peer_.find(call->peer());
    if (--of_peer->second == 0) transfers_by_peer_.erase(of_peer);
  }
  calls_.erase(found);
}

void CallTable::AbortStalled(absl::Duration limit) {
  const MonotonicTime before = MonotonicTime::Now() - limit;
  std::vector<std::shared_ptr<Call>> stalled;
  {
    MutexLock lock(&mutex_);
    for (const auto& [key, entry] : calls_) {
      std::shared_ptr<Call> call = entry.call.lock();
      if (call == nullptr) continue;
      MutexLock call_lock(&call->mutex_);
      if (call->caller_awaited_since_ <= before) stalled.push_back(std::move(call));
    }
  }
  for (const auto& call : stalled) {
    call->Abort(call->kind() == CallKind::kWatch
                    ? Error(Reason::kWatchTooSlow, "the reader has taken nothing for too long")
                    : Error(Reason::kDeadline,
                            "the call was given up: the caller has taken or sent nothing for too "
                            "long"));
  }
}

void CallTable::Abort(const absl::Status& status, const std::vector<CallKind>& kinds) {
  std::vector<std::shared_ptr<Call>> ended;
  {
    MutexLock lock(&mutex_);
    for (CallKind kind : kinds) refused_.emplace(kind, status);
    for (const auto& [key, entry] : calls_) {
      std::shared_ptr<Call> call = entry.call.lock();
      if (call == nullptr) continue;
      if (std::find(kinds.begin(), kinds.end(), call->kind()) != kinds.end()) {
        ended.push_back(std::move(call));
      }
    }
  }
  for (const auto& call : ended) call->Abort(status);
}

int CallTable::size() const {
  MutexLock lock(&mutex_);
  return static_cast<int>(calls_.size());
}

}  // namespace cairn
