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
  return kind == CallKind::kChange ? spdlog::level::info : spdlog::level::debug;
}

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

void Call::AllowHold(absl::Duration hold) {
  MutexLock lock(&mutex_);
  hold_ = hold;
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
  if (static_cast<int>(calls_.size()) >= calls_max_) {
    return Error(Reason::kTooManyCalls,
                 fmt::format("the server has {} calls in hand and takes no more", calls_max_));
  }
  call->table_ = this;
  calls_[call.get()] = call;
  return absl::OkStatus();
}

void CallTable::Remove(const Call* call) {
  MutexLock lock(&mutex_);
  calls_.erase(call);
}

void CallTable::Abort(const absl::Status& status, const std::vector<CallKind>& kinds) {
  std::vector<std::shared_ptr<Call>> ended;
  {
    MutexLock lock(&mutex_);
    for (CallKind kind : kinds) refused_.emplace(kind, status);
    for (const auto& [key, weak] : calls_) {
      std::shared_ptr<Call> call = weak.lock();
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
