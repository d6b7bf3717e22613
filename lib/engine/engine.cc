#include "lib/engine/engine.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "lib/base/status.h"
#include "lib/engine/conductor.h"
#include "lib/engine/connection.h"
#include "lib/engine/core.h"
#include "lib/engine/describe_chain.h"
#include "lib/engine/export_session.h"
#include "lib/engine/import_session.h"
#include "lib/engine/share_scan.h"
#include "lib/exec/timer.h"
#include "lib/share/mount_advice.h"

namespace cairn {
namespace {

// How long start-up waits for shares to mount and answer before it goes on without them: any of them,
// and the rest once one has.
constexpr absl::Duration kFirstProbeTime = absl::Seconds(10);
constexpr absl::Duration kOtherProbesTime = absl::Seconds(2);
// How soon a probe that does not come back is found out, beyond its limit.
constexpr absl::Duration kTendPeriod = absl::Milliseconds(250);
constexpr absl::Duration kFollowPeriod = absl::Seconds(2);

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
  void Abandon(const std::string& operation_id, std::string reason,
               OperationCallback done) override {
    conductor_.Abandon(operation_id, std::move(reason), std::move(done));
  }
  void Report(const std::string& operation_id, ConsumerReport report,
              OperationCallback done) override {
    conductor_.Report(operation_id, std::move(report), std::move(done));
  }
  absl::StatusOr<OperationPtr> GetOperation(const std::string& id) const override {
    return conductor_.Get(id);
  }
  Subscription Wait(const std::string& id, MonotonicTime until, OperationCallback done) override {
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
                                              const std::string& attachment_id,
                                              const std::string& share) const override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_->Volume(volume_id));
    if (share.empty()) return DescribeConnection(*core_, *volume, attachment_id);
    VolumeRecord there = *volume;
    there.share = share;
    return DescribeConnection(*core_, there, attachment_id);
  }
  std::vector<std::string> PoolNames() const override;
  absl::StatusOr<PoolStatus> GetPool(const std::string& name) const override;
  void RescanPool(const std::string& name, std::function<void(absl::Status)> done) override;
  void AcceptShare(const std::string& name, const std::string& address,
                   std::function<void(absl::Status)> done) override {
    auto pool = core_->PoolNamed(name);
    if (!pool.ok()) return done(pool.status());
    Share* share = (*pool)->FindShare(address);
    if (share != nullptr) return share->Accept(std::move(done));
    const std::string shown = address.substr(0, 80);
    done(Error(Reason::kShareNotFound, fmt::format("the pool has no share \"{}\"", shown),
               {{"share", shown}, {"pool", (*pool)->options().name}}));
  }

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

  bool Stop(absl::Duration grace) override;

 private:
  void CheckTools() const;
  absl::Status Reload(Pool& pool);
  bool IsUnused(const std::string& address) const;
  void FollowSharesFiles();
  void TendShares();
  enum class SnapshotsLeft { kByAnEarlierRun, kSinceTheLastSweep };
  void RemoveTemporarySnapshots(SnapshotsLeft left) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sweep_mutex_);
  void Sweep();
  std::optional<RetentionMark> MarkRetention();
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
  Mutex sweep_mutex_;                                              // one sweep at a time
  std::set<std::string> temporary_ ABSL_GUARDED_BY(sweep_mutex_);  // snapshots of the last sweep
  std::set<const Share*> surveyed_;  // since they came up; used by the timer's thread
  std::atomic<bool> stopped_{false};
  bool stuck_ = false;
};

absl::Status EngineImpl::Reload(Pool& pool) {
  auto problems = pool.Reload();
  if (!problems.ok()) {
    spdlog::error("pool={} shares file: {}", pool.options().name, Describe(problems.status()));
    return problems.status();
  }
  for (const std::string& problem : *problems) {
    spdlog::warn("pool={} {}: {}", pool.options().name, pool.options().nfs_shares_config, problem);
  }
  return absl::OkStatus();
}

// No volume lies on it, and no operation is at work on it: one that moves the last volume away has the
// old files still to remove when the record has followed.
bool EngineImpl::IsUnused(const std::string& address) const {
  if (core_->catalog().TotalsOf(address).volumes > 0) return false;
  const std::vector<OperationPtr> unfinished = core_->catalog().UnfinishedOperations();
  return std::none_of(unfinished.begin(), unfinished.end(), [&](const OperationPtr& operation) {
    absl::StatusOr<Plan> plan = Plan{};
    if (!operation->plan.empty()) plan = PlanFromJson(operation->plan);
    return !plan.ok() || SharesOf(*plan).count(address) != 0;
  });
}

// Shares files are read again when they change; shares that are no longer listed go when nothing
// lies on them any more.
void EngineImpl::FollowSharesFiles() {
  for (const auto& [name, pool] : core_->pools()) {
    // It logs what is wrong, and the pool stays as it was.
    if (pool->SharesFileChanged()) Reload(*pool).IgnoreError();
    pool->RetireDrained([this](const std::string& address) { return IsUnused(address); });
  }
}

// A share that comes up is measured and compared with the catalog at once.
void EngineImpl::TendShares() {
  for (Share* share : core_->Shares()) {
    share->Tend();
    const bool usable = share->CheckUsable().ok();
    if (usable && surveyed_.insert(share).second) Survey(share, {});
    if (!usable) surveyed_.erase(share);
  }
}

// What is missing is said at once, not with the first volume that needs it.
void EngineImpl::CheckTools() const {
  if (auto version = core_->tool().Version(); version.ok()) {
    spdlog::info("qemu-img {}", *version);
  } else {
    spdlog::error("{}", Describe(version.status()));
  }
  const std::vector<Share*> shares = core_->Shares();
  const bool mounts = std::any_of(shares.begin(), shares.end(),
                                  [](const Share* share) { return !share->spec().is_directory(); });
  if (!mounts) return;
  if (absl::Status tool = CheckMountTool(); !tool.ok()) spdlog::error("{}", Describe(tool));
  if (std::string lack = WhatMountingLacks(); !lack.empty()) spdlog::warn("{}", lack);
}

absl::Status EngineImpl::Begin() {
  for (const auto& [name, pool] : core_->pools()) {
    Reload(*pool).IgnoreError();  // it logs what is wrong; the file is followed
  }
  CheckTools();
  FirstProbes();
  conductor_.TakeUpUnfinished();
  {
    MutexLock lock(&sweep_mutex_);
    RemoveTemporarySnapshots(SnapshotsLeft::kByAnEarlierRun);
  }
  TendShares();
  const EngineOptions& options = core_->options();
  timer_.RunEvery(kTendPeriod, [this] {
    TendShares();
    conductor_.QueueSlowPlans();
  });
  timer_.RunEvery(options.rescan_period, [this] {
    for (Share* share : core_->Shares()) Survey(share, {});
  });
  timer_.RunEvery(kFollowPeriod, [this] {
    auto follow = [this](const absl::Status& admitted) {
      if (admitted.ok()) FollowSharesFiles();
    };
    conductor_.control()
        .Submit({.run = follow})
        .IgnoreError();  // the next period does it otherwise
  });
  const auto sweep = [this] {
    auto work = [this](const absl::Status& admitted) {
      if (admitted.ok()) Sweep();
    };
    conductor_.control().Submit({.run = work}).IgnoreError();  // the next period does it otherwise
  };
  sweep();
  timer_.RunEvery(options.sweep_period, sweep);
  return absl::OkStatus();
}

// Those of exports that a crash, or a machine that did not answer, has left behind. One that is still
// being read holds its volume, so its deletion waits; one that is about to be read has been there for
// less than the time between two sweeps.
void EngineImpl::RemoveTemporarySnapshots(SnapshotsLeft left) {
  std::set<std::string> seen;
  ListQuery query{.filter = {}, .order_by = {}, .page_size = 1000, .page_token = {}};
  do {
    auto page = core_->catalog().ListSnapshots(query, "");
    if (!page.ok()) return;
    for (const SnapshotPtr& snapshot : page->items) {
      if (!snapshot->temporary) continue;
      if (left == SnapshotsLeft::kByAnEarlierRun || temporary_.count(snapshot->id) != 0) {
        RemoveTemporarySnapshot(conductor_, snapshot->id);
      }
      seen.insert(snapshot->id);
    }
    query.page_token = page->next_page_token;
  } while (!query.page_token.empty());
  temporary_.swap(seen);
}

void EngineImpl::Sweep() {
  MutexLock lock(&sweep_mutex_);
  if (auto mark = MarkRetention(); mark.has_value()) conductor_.SweepEnded(*mark);
  RemoveTemporarySnapshots(SnapshotsLeft::kSinceTheLastSweep);
}

std::optional<RetentionMark> EngineImpl::MarkRetention() {
  const int64_t revision = core_->catalog().revision();  // first; see Retention
  return core_->retention().Advance(revision, core_->clock().last());
}

// All shares at once, and not for ever: a dead server must not keep the others from serving.
void EngineImpl::FirstProbes() {
  struct Countdown {
    Mutex mutex;
    CondVar changed;
    size_t left ABSL_GUARDED_BY(mutex) = 0;
    MonotonicTime until ABSL_GUARDED_BY(mutex) = MonotonicTime::Now() + kFirstProbeTime;
  };
  auto countdown = std::make_shared<Countdown>();
  const std::vector<Share*> shares = core_->Shares();
  {
    MutexLock lock(&countdown->mutex);
    countdown->left = shares.size();
  }
  for (Share* share : shares) {
    share->StartProbe([countdown](const absl::Status& probed) {  // it keeps its own state
      MutexLock lock(&countdown->mutex);
      --countdown->left;
      if (probed.ok())
        countdown->until = std::min(countdown->until, MonotonicTime::Now() + kOtherProbesTime);
      countdown->changed.NotifyAll();
    });
  }
  MutexLock lock(&countdown->mutex);
  while (countdown->left > 0 && MonotonicTime::Now() < countdown->until) {
    countdown->changed.WaitFor(&countdown->mutex, countdown->until - MonotonicTime::Now());
  }
}

void EngineImpl::Survey(Share* share, std::function<void(absl::Status)> done) {
  if (!done) done = [](const absl::Status&) {};
  const auto answer = OnlyOnce<absl::Status>(std::move(done));
  Task task;
  task.run = [this, share, answer](const absl::Status& admitted) {
    absl::Status status = admitted;
    if (status.ok()) status = share->MeasureAllocated();
    if (status.ok()) {
      status =
          ScanShare(*core_, *share, [this](const std::string& id) { return Running(id); }).status();
    }
    if (!status.ok()) spdlog::warn("share={} survey: {}", share->address(), Describe(status));
    if (status.ok()) {
      for (const std::string& id : core_->catalog().VolumesOn(share->address())) {
        conductor_.MergeSurplus(id);
      }
    }
    answer(status);
  };
  task.abandoned = answer;
  absl::Status submitted = share->Submit(Lane::kQuiet, std::move(task));
  if (!submitted.ok()) answer(submitted);
}

void EngineImpl::DescribeChain(const std::string& volume_id,
                               std::function<void(absl::StatusOr<std::vector<ChainFile>>)> done) {
  auto volume = core_->Volume(volume_id);
  if (!volume.ok()) return done(volume.status());
  auto share = core_->ShareOf(**volume);
  if (!share.ok()) return done(share.status());
  auto answer = OnlyOnce<absl::StatusOr<std::vector<ChainFile>>>(std::move(done));
  Task task;
  task.run = [this, volume_id, answer](const absl::Status& admitted) {
    if (!admitted.ok()) return answer(admitted);
    answer(DescribeChainNow(*core_, volume_id));
  };
  task.abandoned = answer;
  absl::Status submitted = (*share)->Submit(Lane::kFast, std::move(task));
  if (!submitted.ok()) answer(submitted);
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
  const ShareCapacity capacity = pool->capacity();
  status.total_bytes = capacity.total_bytes;
  status.available_bytes = capacity.available_bytes;
  status.allocated_bytes = capacity.allocated_bytes;
  for (const PoolShareStatus& share : pool->Statuses()) {
    Catalog::ShareTotals totals = core_->catalog().TotalsOf(share.address);
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
    if (absl::Status read = Reload(*pool); !read.ok()) return done(read);
    auto shares = pool->shares();
    auto left = std::make_shared<std::atomic<size_t>>(shares.size());
    auto one_done = [left, done](const absl::Status&) {
      if (left->fetch_sub(1) == 1) done(absl::OkStatus());
    };
    if (shares.empty()) return done(absl::OkStatus());
    for (Share* share : shares) {
      // A share that is down has nothing to be measured, and is not waited for.
      if (!share->CheckUsable().ok()) {
        share->StartProbe({});
        one_done({});
        continue;
      }
      share->StartProbe([this, share, one_done](const absl::Status& probed) {
        if (!probed.ok()) return one_done(probed);
        Survey(share, one_done);
      });
    }
  };
  absl::Status submitted = conductor_.control().Submit({.run = rescan});
  if (!submitted.ok()) done(submitted);
}

bool EngineImpl::Stop(absl::Duration grace) {
  if (stopped_.exchange(true)) return !stuck_;
  if (!conductor_.Stop(grace)) stuck_ = true;
  timer_.Stop();
  MarkRetention();
  constexpr absl::Duration kLaneGrace = absl::Seconds(2);
  if (!core_->ShutdownBetween(kLaneGrace)) stuck_ = true;
  for (const auto& [name, pool] : core_->pools()) {
    if (!pool->Stop(kLaneGrace)) stuck_ = true;
  }
  return !stuck_;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Start(EngineOptions options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Core> core, Core::Create(std::move(options)));
  auto engine = std::make_unique<EngineImpl>(std::move(core));
  RETURN_IF_ERROR(engine->Begin());
  return engine;
}

}  // namespace cairn
