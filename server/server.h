// The server: listens, starts the engine, serves, stops.
//
// It listens before the engine has started, so that probes and clients see what goes on: health
// says NOT_SERVING and calls are answered with STARTING until then.
//
//   ASSIGN_OR_RETURN(auto server, Server::Listen(config, StartEngine));
//   RETURN_IF_ERROR(server->AwaitStart());
//   ... server->Stop();
#ifndef CAIRN_SERVER_SERVER_H_
#define CAIRN_SERVER_SERVER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/engine/engine.h"
#include "server/config.h"

namespace cairn {

class UnreadAnswers;

// Makes the engine; blocks. Engine::Start, or a test's own.
using EngineFactory = std::function<absl::StatusOr<std::unique_ptr<Engine>>(EngineOptions)>;

class Server {
 public:
  // Binds every address, then starts the engine on a thread of its own. The error names the address
  // and what is in the way.
  static absl::StatusOr<std::unique_ptr<Server>> Listen(const ServerConfig& config,
                                                        EngineFactory make_engine);
  ~Server();  // Stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // In the order of the configuration, with the port that was chosen for port 0.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // How the start of the engine ended; nothing while it goes on.
  std::optional<absl::Status> start_status() const;
  // Waits for it.
  absl::Status AwaitStart() const;

  // Calls that are not answered yet.
  int calls_in_hand() const;
  // Answers that their callers do not read.
  UnreadAnswers& unread_answers();

  // Reads the shares files again, in the background.
  void Rescan();

  // Takes no new work, gives running operations the configured time, then ends every call. Returns
  // when nothing runs any more; a thread that is stuck in the kernel can make that never.
  // Idempotent; one caller at a time.
  void Stop();

 private:
  struct Parts;  // what needs gRPC's headers

  explicit Server(const ServerConfig& config);
  absl::Status Bind();
  void StartEngine(const EngineFactory& make_engine);

  const ServerConfig config_;
  std::unique_ptr<Parts> parts_;
  std::vector<std::string> addresses_;
  std::thread starter_;
  bool stopped_ = false;
  mutable Mutex mutex_;
  mutable CondVar start_ended_;
  std::optional<absl::Status> start_status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_SERVER_SERVER_H_
