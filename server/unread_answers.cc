#include "server/unread_answers.h"

#include <fmt/format.h>
#include <grpc/grpc.h>

#include <optional>
#include <utility>

#include "lib/base/status.h"

namespace cairn {
namespace {

// Smaller answers are not counted for their connection: the number of its calls bounds them.
constexpr int64_t kSmall = 64 << 10;

void Cancel(const std::vector<grpc_call*>& calls) {
  for (grpc_call* call : calls) {
    grpc_call_cancel(call, nullptr);
    grpc_call_unref(call);
  }
}

}  // namespace

// Knows its place among the answers.
class UnreadAnswers::Context : public grpc::CallbackServerContext {
 public:
  std::optional<Answers::iterator> answer;  // guarded by the mutex of the answers
};

class UnreadAnswers::Allocator : public grpc::ContextAllocator {
 public:
  explicit Allocator(UnreadAnswers* answers) : answers_(answers) {}
  grpc::CallbackServerContext* NewCallbackServerContext() override { return new Context(); }
  void Release(grpc::CallbackServerContext* context) override {
    auto* ours = static_cast<Context*>(context);
    answers_->Release(ours);
    delete ours;
  }

 private:
  UnreadAnswers* const answers_;
};

std::unique_ptr<grpc::ContextAllocator> UnreadAnswers::NewAllocator() {
  return std::make_unique<Allocator>(this);
}

absl::Status UnreadAnswers::MayAnswer(const std::string& peer) const {
  MutexLock lock(&mutex_);
  auto found = bytes_by_peer_.find(peer);
  if (found == bytes_by_peer_.end() || found->second < limits_.bytes_of_connection) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kTooManyCalls,
      fmt::format("this connection has {} bytes of answers that it does not read", found->second));
}

void UnreadAnswers::Answered(grpc::CallbackServerContext* context, const std::string& peer,
                             int64_t bytes) {
  std::vector<grpc_call*> dropped;
  {
    MutexLock lock(&mutex_);
    const bool counted = bytes >= kSmall && !peer.starts_with("unix:");
    auto* ours = static_cast<Context*>(context);
    answers_.push_back({ours, counted ? peer : std::string(), bytes, MonotonicTime::Now()});
    ours->answer = std::prev(answers_.end());
    bytes_ += bytes;
    if (counted) bytes_by_peer_[peer] += bytes;
    while (answers_.size() > 1 &&
           (bytes_ > limits_.bytes_max || answers_.size() > limits_.answers_max)) {
      dropped.push_back(TakeOldest());
    }
  }
  Cancel(dropped);
}

void UnreadAnswers::DropOlderThan(absl::Duration limit) {
  std::vector<grpc_call*> dropped;
  {
    MutexLock lock(&mutex_);
    const MonotonicTime before = MonotonicTime::Now() - limit;
    while (!answers_.empty() && answers_.front().since <= before) dropped.push_back(TakeOldest());
  }
  Cancel(dropped);
}

grpc_call* UnreadAnswers::TakeOldest() {
  // gRPC gives its own reference up after Release, so here it has one.
  grpc_call* call = answers_.front().context->c_call();
  grpc_call_ref(call);
  Forget(answers_.begin());
  return call;
}

void UnreadAnswers::Forget(Answers::iterator answer) {
  bytes_ -= answer->bytes;
  if (!answer->peer.empty()) {
    auto of_peer = bytes_by_peer_.find(answer->peer);
    of_peer->second -= answer->bytes;
    if (of_peer->second <= 0) bytes_by_peer_.erase(of_peer);
  }
  answer->context->answer.reset();
  answers_.erase(answer);
}

void UnreadAnswers::Release(Context* context) {
  MutexLock lock(&mutex_);
  if (context->answer.has_value()) Forget(*context->answer);
}

UnreadAnswers::Totals UnreadAnswers::totals() const {
  MutexLock lock(&mutex_);
  return {answers_.size(), bytes_};
}

}  // namespace cairn
