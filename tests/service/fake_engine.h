// An engine that does what a test says, for what a real one cannot be made to do at will: never
// answer, answer late, be slow to start. Each method calls the function of its name, or answers
// that there is nothing.
#ifndef CAIRN_TESTS_SERVICE_FAKE_ENGINE_H_
#define CAIRN_TESTS_SERVICE_FAKE_ENGINE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/catalog/catalog.h"
#include "lib/engine/engine.h"

namespace cairn::testing {

class FakeEngine : public Engine {
 public:
  explicit FakeEngine(std::unique_ptr<Catalog> catalog) : catalog_(std::move(catalog)) {}

  std::function<void(Request, Caller, OperationCallback)> submit;
  std::function<Subscription(const std::string&, MonotonicTime, OperationCallback)> wait;
  std::function<Subscription(const std::string&, OperationCallback)> watch;
  std::function<void(std::function<void(absl::StatusOr<std::unique_ptr<ImportSession>>)>)> import_;
  std::function<void(std::function<void(absl::StatusOr<std::unique_ptr<ExportSession>>)>)> export_;
  std::function<void(absl::Duration)> stop;
  std::atomic<bool> usable{true};
  std::atomic<int> stopped_waiting{0};

  Catalog& catalog() { return *catalog_; }

  void Submit(Request request, Caller caller, OperationCallback done) override {
    if (submit) return submit(std::move(request), std::move(caller), std::move(done));
    done(Nothing());
  }
  void Cancel(const std::string&, OperationCallback done) override { done(Nothing()); }
  void Abandon(const std::string&, std::string, OperationCallback done) override {
    done(Nothing());
  }
  void Report(const std::string&, ConsumerReport, OperationCallback done) override {
    done(Nothing());
  }
  absl::StatusOr<OperationPtr> GetOperation(const std::string&) const override { return Nothing(); }
  Subscription Wait(const std::string& id, MonotonicTime until, OperationCallback done) override {
    if (wait) return wait(id, until, std::move(done));
    done(Nothing());
    return 0;
  }
  Subscription Watch(const std::string& id, OperationCallback changed) override {
    if (watch) return watch(id, std::move(changed));
    changed(Nothing());
    return 0;
  }
  void StopWaiting(Subscription) override { ++stopped_waiting; }
  const Catalog& records() const override { return *catalog_; }
  uint64_t AddCatalogListener(std::function<void()> listener) override {
    return catalog_->AddListener(std::move(listener));
  }
  void RemoveCatalogListener(uint64_t id) override { catalog_->RemoveListener(id); }
  void DescribeChain(const std::string&,
                     std::function<void(absl::StatusOr<std::vector<ChainFile>>)> done) override {
    done(Nothing());
  }
  absl::StatusOr<ConnectionInfo> ConnectionOf(const std::string&, const std::string&,
                                              const std::string&) const override {
    return Nothing();
  }
  std::vector<std::string> PoolNames() const override { return {"default"}; }
  absl::StatusOr<PoolStatus> GetPool(const std::string& name) const override {
    PoolStatus pool;
    pool.name = name;
    pool.usable = usable;
    PoolStatus::ShareEntry& share = pool.shares.emplace_back();
    share.share.address = "host:/export";
    share.share.status.state = usable ? ShareState::kOnline : ShareState::kUnreachable;
    return pool;
  }
  void RescanPool(const std::string&, std::function<void(absl::Status)> done) override {
    done(Nothing());
  }
  void AcceptShare(const std::string&, const std::string&,
                   std::function<void(absl::Status)> done) override {
    done(Nothing());
  }
  void StartImport(
      ImportVolumeRequest, Caller,
      std::function<void(absl::StatusOr<std::unique_ptr<ImportSession>>)> done) override {
    if (import_) return import_(std::move(done));
    done(Nothing());
  }
  void StartExport(
      ExportRequest,
      std::function<void(absl::StatusOr<std::unique_ptr<ExportSession>>)> done) override {
    if (export_) return export_(std::move(done));
    done(Nothing());
  }
  bool Stop(absl::Duration grace) override {
    if (stop) stop(grace);
    return true;
  }

 private:
  static absl::Status Nothing() { return Error(Reason::kOperationNotFound, "nothing"); }

  std::unique_ptr<Catalog> catalog_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SERVICE_FAKE_ENGINE_H_
