#include "server/health.h"

namespace cairn {
namespace {

constexpr const char* kServices[] = {
    "catalog",
    "cairn.v1.VolumeService",
    "cairn.v1.SnapshotService",
    "cairn.v1.PoolService",
    "cairn.v1.OperationService",
};

std::string PoolService(const std::string& pool) { return "pool/" + pool; }
std::string ShareService(const std::string& address) { return "share/" + address; }

}  // namespace

Health::Health(grpc::HealthCheckServiceInterface* service, const std::vector<std::string>& pools)
    : service_(service), pools_(pools) {
  Update(nullptr);
  UpdateConnections(true);
}

void Health::SetServices(Can can) {
  service_->SetServingStatus("", can != Can::kNothing);
  for (const char* name : kServices) service_->SetServingStatus(name, can == Can::kWrite);
}

void Health::Update(Engine* engine) {
  MutexLock lock(&mutex_);
  if (stopped_) return;
  SetServices(engine == nullptr                 ? Can::kNothing
              : engine->records().health().ok() ? Can::kWrite
                                                : Can::kRead);
  service_->SetServingStatus("state_disk", engine != nullptr && engine->records().room().ok());
  std::set<std::string> usable_shares;
  for (const std::string& name : pools_) {
    absl::StatusOr<PoolStatus> pool =
        engine == nullptr ? absl::UnavailableError("") : engine->GetPool(name);
    service_->SetServingStatus(PoolService(name), pool.ok() && pool->usable);
    if (!pool.ok()) continue;
    for (const PoolStatus::ShareEntry& entry : pool->shares) {
      const PoolShareStatus& share = entry.share;
      shares_.insert(share.address);
      if (IsUsable(share.status.state)) usable_shares.insert(share.address);
    }
  }
  // gRPC's service forgets no name: a share that is gone is one that cannot be used.
  for (const std::string& address : shares_) {
    service_->SetServingStatus(ShareService(address), usable_shares.count(address) != 0);
  }
}

void Health::UpdateConnections(bool taken) {
  MutexLock lock(&mutex_);
  if (!stopped_) service_->SetServingStatus("connections", taken);
}

void Health::Stop() {
  MutexLock lock(&mutex_);
  stopped_ = true;
  service_->Shutdown();
}

}  // namespace cairn
