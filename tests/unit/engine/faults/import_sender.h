// Sends the content of an import without a thread of its own, so that one that is never answered can be
// given up. The engine must outlive it.
#ifndef CAIRN_TESTS_UNIT_ENGINE_FAULTS_IMPORT_SENDER_H_
#define CAIRN_TESTS_UNIT_ENGINE_FAULTS_IMPORT_SENDER_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "lib/base/mutex.h"
#include "tests/unit/engine/sessions_of_tests.h"

namespace cairn::testing {

class ImportSender {
 public:
  ImportSender(Engine& engine, const ImportVolumeRequest& request, std::string content)
      : state_(std::make_shared<State>()) {
    state_->content = std::move(content);
    engine.StartImport(request, {},
                       [state = state_](absl::StatusOr<std::unique_ptr<ImportSession>> session) {
                         Opened(state, std::move(session));
                       });
  }
  // As a caller whose connection breaks.
  ~ImportSender() {
    std::unique_ptr<ImportSession> session;
    MutexLock lock(&state_->mutex);
    session.swap(state_->session);
  }
  ImportSender(const ImportSender&) = delete;
  ImportSender& operator=(const ImportSender&) = delete;

  // What it was told at last; nothing: it still waits.
  std::optional<absl::Status> told() const {
    MutexLock lock(&state_->mutex);
    return state_->told;
  }

 private:
  struct State {
    Mutex mutex;
    std::string content;  // never changes
    std::unique_ptr<ImportSession> session ABSL_GUARDED_BY(mutex);
    std::optional<absl::Status> told ABSL_GUARDED_BY(mutex);
  };
  using StatePtr = std::shared_ptr<State>;

  static void Tell(const StatePtr& state, const absl::Status& status) {
    MutexLock lock(&state->mutex);
    state->told = status;
  }
  static void Opened(const StatePtr& state, absl::StatusOr<std::unique_ptr<ImportSession>> opened) {
    if (!opened.ok()) return Tell(state, opened.status());
    ImportSession& session = **opened;
    {
      MutexLock lock(&state->mutex);
      state->session = *std::move(opened);
    }
    session.Write(DataChunk(0, state->content), [state, &session](const absl::Status& written) {
      if (!written.ok()) return Tell(state, written);
      const auto bytes = static_cast<int64_t>(state->content.size());
      session.Finish({.bytes = bytes, .crc32c = Crc32c(0, state->content)},
                     [state](const absl::StatusOr<OperationPtr>& ended) {
                       Tell(state, ended.ok() ? (*ended)->error : ended.status());
                     });
    });
  }

  const StatePtr state_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_FAULTS_IMPORT_SENDER_H_
