#include "lib/engine/engine.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "lib/base/status.h"
#include "lib/engine/conductor.h"
#include "lib/engine/connection.h"
#include "lib/engine/core.h"
#include "lib/engine/describe_chain.h"
#include "lib/engine/export_session.h"
#include "lib/engine/import_session.h"
#include "lib/engine/share_scan.h"
#include "lib/exec/timer.h"

namespace cairn {
namespace {

constexpr absl::Duration kSweepPeriod = absl::Minutes(10);
// How long start-up waits for shares to mount and answer before it goes on without them.
constexpr absl::Duration kFirstProbeTime = absl::Seconds(10);

class EngineImpl : public Engine {
 public:
  explicit EngineImpl(std::unique_ptr<Core> core)
      : core_(std::move(core)), conductor_(core_.get(), &timer_) {}
  ~EngineImpl() override { Stop(absl::ZeroDuration()); }

  absl::Status Begin();

  void Submit(Request request, Caller caller, OperationCallback done) override {
    if (KindOf(request) == OperationKind::kImportVolume) {
      return done(Error(Reason::kInternal, "an import begins with StartImport"));
    }
    conductor_.Submit(std::move(request), std::move(caller), std::move(done));
  }
  void Cancel(const std::string& operation_id, OperationCallback done) override {
    conductor_.Cancel(operation_id, std::move(done));
  }
  absl::StatusOr<OperationPtr> GetOperation(const std::string& id) const override {
    return conductor_.Get(id);
  }
  Subscription Wait(const std::string& id, absl::Time until, OperationCallback done) override {
    return conductor_.watchers().Wait(id, until, std::move(done));
  }
  Subscription Watch(const std::string& id, OperationCallback changed) override {
    return conductor_.watchers().Watch(id, std::move(changed));
  }
  void StopWaiting(Subscription subscription) override { conductor_.watchers().Stop(subscription); }

  const Catalog& records() const override { return core_->catalog(); }
  uint64_t AddCatalogListener(std::function<void()> listener) override {
    return core_->catalog().AddListener(std::move(listener));
  }
  void RemoveCatalogListener(uint64_t id) override { core_->catalog().RemoveListener(id); }
  void DescribeChain(const std::string& volume_id,
                     std::function<void(absl::StatusOr<std::vector<ChainFile>>)> done) override;
  absl::StatusOr<ConnectionInfo> ConnectionOf(const std::string& volume_id,
                                              const std::string& attachment_id) const override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_->Volume(volume_id));
    return DescribeConnection(*core_, *volume, attachment_id);
  }
  std::vector<std::string> PoolNames() const override;
  absl::StatusOr<PoolStatus> GetPool(const std::string& name) const override;
  void RescanPool(const std::string& name, std::function<void(absl::Status)> done) override;

  void StartImport(
      ImportVolumeRequest request, Caller caller,
      std::function<void(absl::StatusOr<std::unique_ptr<ImportSession>>)> done) override {
    OpenImport(core_.get(), &conductor_, &timer_, std::move(request), std::move(caller),
               std::move(done));
  }
  void StartExport(
      ExportRequest request,
      std::function<void(absl::StatusOr<std::unique_ptr<ExportSession>>)> done) override {
    OpenExport(core_.get(), &conductor_, &timer_, std::move(request), std::move(done));
  }

  void Stop(absl::Duration grace) override;

 private:
  void ReloadShares();
  void ProbeAll();
  void FirstProbes();
  // Measures and scans one share, on its lane; `done` may be empty.
  void Survey(Share* share, std::function<void(absl::Status)> done);
  bool Running(const std::string& operation_id) const {
    auto operation = conductor_.Get(operation_id);
    return operation.ok() && !Ended((*operation)->state);
  }

  const std::unique_ptr<Core> core_;
  Timer timer_;
  Conductor conductor_;
  std::atomic<bool> stopped_{false};
};

void EngineImpl::ReloadShares() {
  for (const auto& [name, pool] : core_->pools()) {
    auto problems = pool->Reload();
    if (!problems.ok()) {
      spdlog::error("pool={} shares file: {}", name, Describe(problems.status()));
      continue;
    }
    for (const std::string& problem : *problems) {
      spdlog::warn("pool={} {}: {}", name, pool->options().nfs_shares_config, problem);
    }
  }
}

absl::Status EngineImpl::Begin() {
  if (auto version = core_->tool().Version(); version.ok()) {
    spdlog::info("qemu-img {}", *version);
  } else {
    spdlog::error("{}", Describe(version.status()));
  }
  ReloadShares();
  FirstProbes();
  RETURN_IF_ERROR(conductor_.TakeUpUnfinished());
  for (const auto& [name, pool] : core_->pools()) {
    for (Share* share : pool->shares()) Survey(share, {});
  }
  const EngineOptions& options = core_->options();
  timer_.RunEvery(options.probe_period, [this] { ProbeAll(); });
  timer_.RunEvery(options.rescan_period, [this] {
    for (const auto& [name, pool] : core_->pools()) {
      for (Share* share : pool->shares()) Survey(share, {});
    }
  });
  timer_.RunEvery(kSweepPeriod, [this] {
    auto sweep = [this](const absl::Status& admitted) {
      if (!admitted.ok()) return;
      conductor_.SweepEnded(absl::Now() - core_->options().operation_retention);
    };
    conductor_.control().Submit({.run = sweep}).IgnoreError();  // the next period does it otherwise
  });
  return absl::OkStatus();
}

void EngineImpl::ProbeAll() {
  for (const auto& [name, pool] : core_->pools()) {
    for (Share* share : pool->shares()) {
      share
          ->Submit(Lane::kFast,
                   {.run =
                        [share](const absl::Status& admitted) {
                          if (admitted.ok())
                            share->Probe().IgnoreError();  // it keeps its own state
                        }},
                   /*even_if_down=*/true)
          .IgnoreError();  // its lane is full: it shows soon enough
    }
  }
}

// All shares at once, and not for ever: a dead server must not keep the others from serving.
void EngineImpl::FirstProbes() {
  struct Countdown {
    Mutex mutex;
    CondVar changed;
    int left ABSL_GUARDED_BY(mutex) = 0;
  };
  auto countdown = std::make_shared<Countdown>();
  for (const auto& [name, pool] : core_->pools()) {
    for (Share* share : pool->shares()) {
      {
        MutexLock lock(&countdown->mutex);
        ++countdown->left;
      }
      auto probed = [share, countdown](const absl::Status& admitted) {
        if (admitted.ok()) share->Probe().IgnoreError();  // it keeps its own state
        MutexLock lock(&countdown->mutex);
        --countdown->left;
        countdown->changed.NotifyAll();
      };
      absl::Status submitted = share->Submit(Lane::kFast, {.run = probed}, /*even_if_down=*/true);
      if (!submitted.ok()) probed(submitted);
    }
  }
  const absl::Time until = absl::Now() + kFirstProbeTime;
  MutexLock lock(&countdown->mutex);
  while (countdown->left > 0 && absl::Now() < until) {
    countdown->changed.WaitFor(&countdown->mutex, until - absl::Now());
  }
}

void EngineImpl::Survey(Share* share, std::function<void(absl::Status)> done) {
  auto run = [this, share, done](const absl::Status& admitted) {
    absl::Status status = admitted;
    if (status.ok()) status = share->MeasureAllocated();
    if (status.ok()) {
      status =
          ScanShare(*core_, *share, [this](const std::string& id) { return Running(id); }).status();
    }
    if (!status.ok()) spdlog::warn("share={} survey: {}", share->address(), Describe(status));
    if (done) done(status);
  };
  absl::Status submitted = share->Submit(Lane::kFast, {.run = run});
  if (!submitted.ok() && done) done(submitted);
}

void EngineImpl::DescribeChain(const std::string& volume_id,
                               std::function<void(absl::StatusOr<std::vector<ChainFile>>)> done) {
  auto volume = core_->Volume(volume_id);
  if (!volume.ok()) return done(volume.status());
  auto share = core_->ShareOf(**volume);
  if (!share.ok()) return done(share.status());
  auto run = [this, volume_id, done](const absl::Status& admitted) {
    if (!admitted.ok()) return done(admitted);
    done(DescribeChainNow(*core_, volume_id));
  };
  absl::Status submitted = (*share)->Submit(Lane::kFast, {.run = run});
  if (!submitted.ok()) done(submitted);
}

std::vector<std::string> EngineImpl::PoolNames() const {
  std::vector<std::string> names;
  for (const PoolOptions& pool : core_->options().pools) names.push_back(pool.name);
  return names;
}

absl::StatusOr<PoolStatus> EngineImpl::GetPool(const std::string& name) const {
  ASSIGN_OR_RETURN(Pool * pool, core_->PoolNamed(name));
  PoolStatus status;
  status.name = pool->options().name;
  status.options = pool->options();
  status.usable = pool->usable();
  for (const PoolShareStatus& share : pool->Statuses()) {
    Catalog::ShareTotals totals = core_->catalog().TotalsOf(share.address);
    const ShareCapacity& capacity = share.status.capacity;
    status.total_bytes += capacity.total_bytes;
    status.available_bytes += capacity.available_bytes;
    status.allocated_bytes += capacity.allocated_bytes;
    status.provisioned_bytes += totals.provisioned_bytes;
    status.reserved_bytes += share.reserved_bytes;
    for (const auto& [state, count] : totals.by_state) status.volumes_by_state[state] += count;
    status.shares.push_back({share, totals.provisioned_bytes, totals.volumes});
  }
  return status;
}

void EngineImpl::RescanPool(const std::string& name, std::function<void(absl::Status)> done) {
  auto pool = core_->PoolNamed(name);
  if (!pool.ok()) return done(pool.status());
  // Reading the shares file blocks on the local disk only.
  auto rescan = [this, pool = *pool, done](const absl::Status& admitted) {
    if (!admitted.ok()) return done(admitted);
    auto problems = pool->Reload();
    if (!problems.ok()) return done(problems.status());
    for (const std::string& problem : *problems) {
      spdlog::warn("pool={} {}: {}", pool->options().name, pool->options().nfs_shares_config,
                   problem);
    }
    auto shares = pool->shares();
    auto left = std::make_shared<std::atomic<size_t>>(shares.size());
    auto one_done = [left, done](const absl::Status&) {
      if (left->fetch_sub(1) == 1) done(absl::OkStatus());
    };
    if (shares.empty()) return done(absl::OkStatus());
    for (Share* share : shares) {
      auto probe = [this, share, one_done](const absl::Status& probing) {
        if (!probing.ok() || !share->Probe().ok()) return one_done(probing);
        Survey(share, one_done);
      };
      absl::Status submitted = share->Submit(Lane::kFast, {.run = probe}, /*even_if_down=*/true);
      if (!submitted.ok()) one_done(submitted);
    }
  };
  absl::Status submitted = conductor_.control().Submit({.run = rescan});
  if (!submitted.ok()) done(submitted);
}

void EngineImpl::Stop(absl::Duration grace) {
  if (stopped_.exchange(true)) return;
  conductor_.Stop(grace);
  timer_.Stop();
  for (const auto& [name, pool] : core_->pools()) {
    for (Share* share : pool->shares()) {
      if (!share->Shutdown(absl::Seconds(2))) {
        spdlog::error("share={} a thread is stuck in it and is left behind", share->address());
      }
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Start(EngineOptions options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Core> core, Core::Create(std::move(options)));
  auto engine = std::make_unique<EngineImpl>(std::move(core));
  RETURN_IF_ERROR(engine->Begin());
  return engine;
}

}  // namespace cairn
