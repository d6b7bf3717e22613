// What every service stands on. Not owned by the services; outlives them.
#ifndef CAIRN_SERVER_SERVICE_CONTEXT_H_
#define CAIRN_SERVER_SERVICE_CONTEXT_H_

#include <atomic>

#include "absl/status/statusor.h"
#include "lib/base/status.h"
#include "lib/engine/engine.h"
#include "server/background.h"
#include "server/call.h"
#include "server/unread_answers.h"

namespace cairn {

struct ServiceContext {
  explicit ServiceContext(const CallLimits& limits) : calls(limits) {}

  CallTable calls;
  UnreadAnswers unread;
  Background background;
  Background pages;  // large ones; see paging.h
  // Null until the engine has started.
  std::atomic<Engine*> engine{nullptr};

  // STARTING while there is none.
  absl::StatusOr<Engine*> RunningEngine() const {
    Engine* running = engine.load();
    if (running == nullptr) {
      return Error(Reason::kStarting, "the server is starting and takes up what was interrupted");
    }
    return running;
  }
};

}  // namespace cairn

#endif  // CAIRN_SERVER_SERVICE_CONTEXT_H_
