// grpc.health.v1.Health: what the server says about itself and about each pool.
//
//   ""                        SERVING once the engine has started, until the server stops
//   "cairn.v1.VolumeService"  the same while changes can be made, and so for each service; who waits for
//                             a start asks for one of these, as gRPC calls "" SERVING between its own
//                             start and our first word. "" stays SERVING while the catalog cannot be
//                             written: to end a server for that would end its repair and its reads
//   "catalog"                 SERVING while the server's records can be written
//   "state_disk"              SERVING while there is room on the disk of the server's records; while there is
//                             none, what takes room is refused, and deletions are not
//   "connections"             SERVING while new connections are taken, NOT_SERVING when some were
//                             refused just now; there may be too many, or no descriptors
//   "pool/<name>"             SERVING while at least one of the pool's shares can be used
//   "share/<address>"         SERVING while that share can be used
#ifndef CAIRN_SERVER_HEALTH_H_
#define CAIRN_SERVER_HEALTH_H_

#include <grpcpp/health_check_service_interface.h>

#include <set>
#include <string>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/engine/engine.h"

namespace cairn {

// Thread-safe.
class Health {
 public:
  // `service`: gRPC's, of a running server. Everything is NOT_SERVING at first. `pools`: the names.
  Health(grpc::HealthCheckServiceInterface* service, const std::vector<std::string>& pools);

  // Looks at the engine's pools; null: it has not started.
  void Update(Engine* engine);
  // Whether connections are taken.
  void UpdateConnections(bool taken);
  // NOT_SERVING for good.
  void Stop();

 private:
  enum class Can { kNothing, kRead, kWrite };
  void SetServices(Can can) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  grpc::HealthCheckServiceInterface* const service_;
  const std::vector<std::string> pools_;
  Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::string> shares_ ABSL_GUARDED_BY(mutex_);  // of which something was said
};

}  // namespace cairn

#endif  // CAIRN_SERVER_HEALTH_H_
