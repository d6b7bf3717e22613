// The catalog over SQLite: one thread writes at a time, whoever commits meanwhile shares its next
// fsync.
#include <sys/resource.h>

#include <atomic>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/catalog/catalog.h"
#include "lib/catalog/listing.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/operations.h"
#include "lib/catalog/sqlite_store.h"
#include "lib/catalog/staging.h"
#include "lib/catalog/stored_operations.h"

namespace cairn {
namespace {

// Bounds how long the first of a batch waits for the last.
constexpr size_t kBatchMax = 1000;
constexpr int kWriterNice = -10;

class SqliteCatalog : public Catalog {
 public:
  SqliteCatalog(std::unique_ptr<SqliteStore> store, std::unique_ptr<MemoryIndex> index,
                std::unique_ptr<StoredOperations> look_ups, std::unique_ptr<StoredOperations> lists)
      : store_(std::move(store)),
        index_(std::move(index)),
        look_ups_(std::move(look_ups)),
        lists_(std::move(lists)),
        operations_(index_.get(), look_ups_.get(), lists_.get()),
        durable_revision_(store_->loaded_revision()),
        writer_([this] { Run(); }) {}

  // What was handed to Commit before is still committed.
  ~SqliteCatalog() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      wake_.NotifyOne();
    }
    writer_.join();
  }

  const std::string& id() const override { return store_->id(); }

  void Commit(Transaction transaction, std::function<void(absl::Status)> done) override {
    bool wake;
    {
      MutexLock lock(&mutex_);
      queue_.push_back({std::move(transaction), std::move(done), absl::OkStatus()});
      wake = !writing_;
    }
    if (wake) wake_.NotifyOne();  // who wakes does not find the mutex taken
  }

  // Who is alone writes by himself: to wake another thread and be woken by it takes longer than all
  // that a commit does besides its sync.
  absl::Status CommitAndWait(Transaction transaction) override {
    bool alone;
    {
      MutexLock lock(&mutex_);
      alone = !writing_ && queue_.empty();
      if (alone) writing_ = true;
    }
    if (!alone) return Catalog::CommitAndWait(std::move(transaction));
    std::vector<Pending> batch(1);
    batch[0].transaction = std::move(transaction);
    Carry(&batch);
    MutexLock lock(&mutex_);
    writing_ = false;
    if (!queue_.empty() || stopping_) wake_.NotifyOne();
    return std::move(batch[0].outcome);
  }

  VolumePtr FindVolume(const std::string& id) const override { return index_->FindVolume(id); }
  SnapshotPtr FindSnapshot(const std::string& id) const override {
    return index_->FindSnapshot(id);
  }
  absl::StatusOr<OperationPtr> FindOperation(const std::string& id) const override {
    return operations_.Find(id);
  }
  absl::StatusOr<OperationPtr> FindOperationByRequest(
      const std::string& request_id) const override {
    return operations_.FindByRequest(request_id);
  }
  SharePtr FindShare(const std::string& address) const override {
    return index_->FindShare(address);
  }
  std::vector<SharePtr> Shares() const override { return index_->Shares(); }
  std::vector<SnapshotPtr> SnapshotsOf(const std::string& volume_id) const override {
    return index_->SnapshotsOf(volume_id);
  }
  std::vector<OperationPtr> UnfinishedOperations() const override {
    return index_->UnfinishedOperations();
  }
  absl::StatusOr<Page<VolumePtr>> ListVolumes(const ListQuery& query) const override {
    return cairn::ListVolumes(*index_, query);
  }
  absl::StatusOr<Page<SnapshotPtr>> ListSnapshots(const ListQuery& query,
                                                  const std::string& volume_id) const override {
    return cairn::ListSnapshots(*index_, query, volume_id);
  }
  absl::StatusOr<Page<OperationPtr>> ListOperations(const ListQuery& query) const override {
    return cairn::ListOperations(operations_, query);
  }
  ShareTotals TotalsOf(const std::string& share) const override { return index_->TotalsOf(share); }
  std::vector<std::string> VolumesOn(const std::string& share) const override {
    return index_->VolumesOn(share);
  }
  int64_t revision() const override { return index_->revision(); }
  int64_t loaded_revision() const override { return store_->loaded_revision(); }
  int64_t durable_revision() const override { return durable_revision_; }
  absl::StatusOr<std::vector<VolumeChange>> ChangesAfter(int64_t revision,
                                                         int count_max) const override {
    return index_->ChangesAfter(revision, count_max);
  }

  uint64_t AddListener(std::function<void()> listener) override {
    MutexLock lock(&listeners_mutex_);
    uint64_t id = ++last_listener_;
    listeners_[id] = std::make_shared<const std::function<void()>>(std::move(listener));
    return id;
  }

  // After it returns the listener is not running and is not called again; except that a listener
  // may remove itself.
  void RemoveListener(uint64_t id) override {
    MutexLock lock(&listeners_mutex_);
    listeners_.erase(id);
    if (std::this_thread::get_id() == listeners_thread_) return;
    while (running_listener_ == id) listener_ended_.Wait(&listeners_mutex_);
  }

 private:
  struct Pending {
    Transaction transaction;
    std::function<void(absl::Status)> done;
    absl::Status outcome;
  };

  void Run() {
    // Under load everybody waits for this thread: it comes first, where that is allowed
    // (CAP_SYS_NICE). In Linux that is of the calling thread alone.
    setpriority(PRIO_PROCESS, 0, kWriterNice);
    for (;;) {
      std::vector<Pending> batch = TakeBatch();
      if (batch.empty()) return;
      Carry(&batch);
      MutexLock lock(&mutex_);
      writing_ = false;
    }
  }

  // For the thread that has set writing_.
  void Carry(std::vector<Pending>* batch) {
    const bool changed = CommitBatch(batch);
    for (Pending& pending : *batch) {
      if (pending.done) pending.done(std::move(pending.outcome));
    }
    if (changed) CallListeners();
  }

  // Empty only when the catalog is being closed.
  std::vector<Pending> TakeBatch() {
    MutexLock lock(&mutex_);
    while (writing_ || (queue_.empty() && !stopping_)) wake_.Wait(&mutex_);
    std::vector<Pending> batch;
    writing_ = !queue_.empty();
    while (!queue_.empty() && batch.size() < kBatchMax) {
      batch.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    return batch;
  }

  // Sets each one's outcome. True when something was changed.
  bool CommitBatch(std::vector<Pending>* batch) {
    // On the writer's own connection, whose pages are at hand.
    const Operations operations(index_.get(), store_->operations(), store_->operations());
    Staging staging(index_.get(), &operations);
    std::vector<Changes> accepted;
    std::vector<Pending*> owners;
    for (Pending& pending : *batch) {
      auto changes = staging.Stage(std::move(pending.transaction));
      pending.outcome = changes.status();
      if (!changes.ok() || changes->empty()) continue;
      accepted.push_back(*std::move(changes));
      owners.push_back(&pending);
    }
    if (accepted.empty()) return false;
    absl::Status written = store_->Write(accepted);
    if (!written.ok()) {
      for (Pending* pending : owners) pending->outcome = written;
      return false;
    }
    durable_revision_ = store_->synced_revision();
    for (const Changes& changes : accepted) index_->Publish(changes);
    return true;
  }

  void CallListeners() {
    uint64_t after = 0;
    for (;;) {
      std::shared_ptr<const std::function<void()>> listener;
      {
        MutexLock lock(&listeners_mutex_);
        running_listener_ = 0;
        listeners_thread_ = std::this_thread::get_id();
        listener_ended_.NotifyAll();
        auto next = listeners_.upper_bound(after);
        if (next == listeners_.end()) return;
        running_listener_ = after = next->first;
        listener = next->second;
      }
      (*listener)();
    }
  }

  const std::unique_ptr<SqliteStore> store_;  // used by whoever has set writing_
  const std::unique_ptr<MemoryIndex> index_;
  const std::unique_ptr<StoredOperations> look_ups_, lists_;
  const Operations operations_;
  std::atomic<int64_t> durable_revision_;

  Mutex mutex_;
  CondVar wake_;
  std::deque<Pending> queue_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;  // some thread is at it
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  Mutex listeners_mutex_;
  CondVar listener_ended_;
  std::map<uint64_t, std::shared_ptr<const std::function<void()>>> listeners_
      ABSL_GUARDED_BY(listeners_mutex_);
  uint64_t last_listener_ ABSL_GUARDED_BY(listeners_mutex_) = 0;
  uint64_t running_listener_ ABSL_GUARDED_BY(listeners_mutex_) = 0;     // 0: none
  std::thread::id listeners_thread_ ABSL_GUARDED_BY(listeners_mutex_);  // that calls them, or did

  std::thread writer_;  // last, so that what it uses is there when it starts
};

}  // namespace

absl::StatusOr<std::unique_ptr<Catalog>> OpenSqliteCatalog(const SqliteCatalogOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteStore> store, SqliteStore::Open(options.path));
  auto index = std::make_unique<MemoryIndex>(options.changes_kept);
  RETURN_IF_ERROR(store->LoadInto(index.get()));
  ASSIGN_OR_RETURN(auto look_ups, StoredOperations::Open(options.path, store->requests()));
  ASSIGN_OR_RETURN(auto lists, StoredOperations::Open(options.path, store->requests()));
  return std::make_unique<SqliteCatalog>(std::move(store), std::move(index), std::move(look_ups),
                                         std::move(lists));
}

}  // namespace cairn
