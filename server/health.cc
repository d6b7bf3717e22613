#include "server/health.h"

namespace cairn {
namespace {

constexpr const char* kServices[] = {
    "",
    "cairn.v1.VolumeService",
    "cairn.v1.SnapshotService",
    "cairn.v1.PoolService",
    "cairn.v1.OperationService",
};

std::string PoolService(const std::string& pool) { return "pool/" + pool; }

}  // namespace

Health::Health(grpc::HealthCheckServiceInterface* service, const std::vector<std::string>& pools)
    : service_(service), pools_(pools) {
  Update(nullptr);
}

void Health::SetServices(bool serving) {
  for (const char* name : kServices) service_->SetServingStatus(name, serving);
}

void Health::Update(Engine* engine) {
  MutexLock lock(&mutex_);
  if (stopped_) return;
  SetServices(engine != nullptr);
  for (const std::string& name : pools_) {
    bool usable = false;
    if (engine != nullptr) {
      absl::StatusOr<PoolStatus> pool = engine->GetPool(name);
      usable = pool.ok() && pool->usable;
    }
    service_->SetServingStatus(PoolService(name), usable);
  }
}

void Health::Stop() {
  MutexLock lock(&mutex_);
  stopped_ = true;
  service_->Shutdown();
}

}  // namespace cairn
