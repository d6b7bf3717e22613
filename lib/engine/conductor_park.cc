// The conductor's patience: operations that can neither go on nor be undone now, and those that an
// administrator abandons.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/engine/conductor.h"
#include "lib/engine/fields.h"

namespace cairn {
namespace {

// A share that comes back is noticed soon; to ask costs nothing.
constexpr absl::Duration kOutagePauseMax = absl::Seconds(2);

// What an operation leaves undone when it is abandoned, in words.
std::string WhatIsLeft(const LiveOperation& op) {
  std::vector<std::string> left;
  if (op.undoing) {
    for (const Step& step : op.settled ? op.plan.undo_settled : op.plan.undo) {
      left.push_back(DescribeStep(step));
    }
  } else {
    for (size_t i = op.next_step; i < op.plan.steps.size(); ++i) {
      left.push_back(DescribeStep(op.plan.steps[i]));
    }
  }
  if (left.empty()) return "nothing is known of what is left to do";
  return fmt::format("left to {}: {}", op.undoing ? "undo" : "do", fmt::join(left, "; "));
}

}  // namespace

absl::Duration Conductor::NextPause(LiveOperation& op, const absl::Status& why) const {
  constexpr int kDoublingsMax = 16;
  const EngineOptions& options = core_->options();
  const absl::Duration longest = IsOutage(op, why)
                                     ? std::min(kOutagePauseMax, options.retry_pause_max)
                                     : options.retry_pause_max;
  return std::min(longest, options.retry_pause * (1 << std::min(op.tries++, kDoublingsMax)));
}

void Conductor::Park(const LivePtr& op, const absl::Status& why) {
  const bool first = op->Seen()->parked.ok();
  op->parked = true;
  op->looks = op->begins = 0;
  const absl::Duration pause = NextPause(*op, why);
  if (first) {
    spdlog::warn("operation={} kind={} volume={} cannot {} now and is tried again: {}", op->id,
                 OperationKindName(op->kind), op->volume_id, op->undoing ? "be undone" : "go on",
                 Describe(why));
  }
  const bool machine = HasReason(why, Reason::kHypervisorUnavailable);
  Show(*op, [&](OperationRecord& record) {
    record.parked = why;
    record.step = fmt::format("waiting to {}: {}{}", op->undoing ? "be undone" : "go on",
                              ToStd(why.message()),
                              machine ? "; detach the volume if its machine is gone" : "");
  });
  AnswerReport(*op);
  if (AbandonIfAsked(op)) return;
  op->taken = false;
  // What was asked between the look and here did not see it as waiting.
  bool asked = false;
  {
    MutexLock lock(&mutex_);
    asked = op->abandon_reason.has_value();
  }
  if (asked && !op->taken.exchange(true)) {
    AbandonIfAsked(op);
    return;
  }
  timer_->RunAfter(pause, [this, op] {
    if (!op->taken.exchange(true)) Resume(op);
  });
}

void Conductor::Unpark(LiveOperation& op) {
  if (std::exchange(op.tries, 0) == 0) return;
  spdlog::info("operation={} volume={} goes on", op.id, op.volume_id);
  Show(op, [](OperationRecord& record) { record.parked = absl::OkStatus(); });
}

void Conductor::Abandon(const std::string& operation_id, std::string reason,
                        OperationCallback done) {
  if (absl::Status checked = CheckText("reason", reason); !checked.ok()) return done(checked);
  if (reason.empty()) return done(InvalidField("reason", "is required: it is logged"));
  const auto refused = [&](std::string_view why) {
    return Error(Reason::kOperationNotParked, fmt::format("operation {} {}", operation_id, why),
                 {{"operation", operation_id}});
  };
  LivePtr op = FindLive(operation_id);
  if (op == nullptr) {
    auto ended = Get(operation_id);
    if (!ended.ok() || (*ended)->state == OperationState::kAbandoned) return done(ended);
    return done(refused(fmt::format("has ended: it is {}", OperationStateName((*ended)->state))));
  }
  const OperationPtr seen = op->Seen();
  if (seen->parked.ok()) return done(refused("is not held up; wait for it, or cancel it"));
  if (seen->cancellable) {
    return done(refused("can still be cancelled, which leaves nothing behind; cancel it"));
  }
  spdlog::warn("operation={} kind={} volume={} is to be abandoned: {}", op->id,
               OperationKindName(op->kind), op->volume_id, reason);
  {
    MutexLock lock(&mutex_);
    op->abandon_reason = std::move(reason);
    op->end_answers.push_back(std::move(done));
  }
  // Else it is being tried at this moment: it succeeds, or sees this when it is parked again.
  if (!op->taken.exchange(true)) AbandonIfAsked(op);
}

// By the thread that has it.
bool Conductor::AbandonIfAsked(const LivePtr& op) {
  std::string reason;
  {
    MutexLock lock(&mutex_);
    if (!op->abandon_reason.has_value()) return false;
    reason = *op->abandon_reason;
  }
  const OperationPtr seen = op->Seen();
  op->verdict =
      Error(Reason::kAbandoned,
            fmt::format("abandoned ({}) while it was {}; {}", reason, seen->step, WhatIsLeft(*op)),
            {{"operation", op->id}, {"volume", op->volume_id}});
  op->abandoned = true;
  op->undoing = false;
  Resume(op);
  return true;
}

}  // namespace cairn
