// The catalog over SQLite: one thread writes at a time, whoever commits meanwhile shares its next
// fsync.
//
// When there is no room, what takes some is refused, and history is given up (disk_room.h). When a write
// fails otherwise, nothing more is written to the file. The thread
// that writes makes a new one out of what is in memory, with what was being committed, and puts it in
// its place; it tries until it succeeds, and refuses what is to be committed meanwhile.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/catalog/catalog.h"
#include "lib/catalog/catalog_files.h"
#include "lib/catalog/catalog_mark.h"
#include "lib/catalog/catalog_parts.h"
#include "lib/catalog/commit_listeners.h"
#include "lib/catalog/commit_outcome.h"
#include "lib/catalog/damage.h"
#include "lib/catalog/disk_room.h"
#include "lib/catalog/listing.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/operations.h"
#include "lib/catalog/sqlite_store.h"
#include "lib/catalog/staging.h"
#include "lib/catalog/stored_operations.h"
#include "lib/catalog/write_anew.h"

namespace cairn {
namespace {

// Ended operations that are given up in one commit: whoever commits meanwhile waits for as many.
constexpr size_t kForgottenAtOnce = 100;
constexpr size_t kForgottenAtOnceWithoutRoom = 20;
// These stay, even for want of room, unless they take more than the reserve.
constexpr int64_t kHistoryKept = 1000;
// Bounds how long the first of a batch waits for the last.
constexpr size_t kBatchMax = 1000;
constexpr int kWriterNice = -10;
// Between two tries to write the catalog anew, at most.
constexpr std::chrono::nanoseconds kPauseMax = std::chrono::seconds(60);
// How soon it is seen that others have made room.
constexpr std::chrono::nanoseconds kLookPeriod = std::chrono::milliseconds(500);

class SqliteCatalog : public Catalog {
 public:
  SqliteCatalog(const SqliteCatalogOptions& options, CatalogParts parts)
      : files_(options.path),
        pause_(absl::ToChronoNanoseconds(options.write_anew_after)),
        log_(parts.log),
        history_(options.history),
        lock_(std::move(parts.lock)),
        room_(std::move(parts.room)),
        requests_(std::move(parts.requests)),
        mark_(std::move(parts.mark)),
        store_(std::move(parts.store)),
        index_(std::move(parts.index)),
        damage_(std::move(parts.damage)),
        look_ups_(std::move(parts.look_ups)),
        lists_(std::move(parts.lists)),
        operations_(index_.get(), look_ups_.get(), lists_.get()),
        id_(store_->seal().id),
        loaded_revision_(store_->loaded_revision()),
        durable_revision_(loaded_revision_) {
    FollowStore();
    LookAtRoom();
    EndWriting();
    writer_ = std::thread([this] { Run(); });
  }

  // What was handed to Commit before is still committed.
  ~SqliteCatalog() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      if (trouble_.has_value()) trouble_->next_try = Steady::now();
      wake_.NotifyOne();
    }
    writer_.join();
    if (!health().ok()) store_->Abandon();
  }

  const std::string& id() const override { return id_; }

  absl::Status health() const override {
    MutexLock lock(&mutex_);
    return trouble_.has_value() ? trouble_->told : absl::OkStatus();
  }

  absl::Status room() const override { return room_->status(); }

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
      alone = !writing_ && queue_.empty() && !trouble_.has_value();
      if (alone) writing_ = true;
    }
    if (!alone) return Catalog::CommitAndWait(std::move(transaction));
    Batch batch;
    batch.pending.resize(1);
    batch.pending[0].transaction = std::move(transaction);
    Stage(&batch);
    std::shared_ptr<CommitOutcome> later;
    if (absl::Status doubt = Write(&batch); !doubt.ok()) {
      later = std::make_shared<CommitOutcome>();
      batch.pending[0].done = [later](absl::Status status) { later->Set(std::move(status)); };
      Hold(std::move(batch), doubt);
    } else if (!batch.accepted.empty()) {
      listeners_.CallAll();
    }
    EndWriting();
    return later != nullptr ? later->Wait() : std::move(batch.pending[0].outcome);
  }

  void AnswerDoubts() override {
    MutexLock lock(&mutex_);
    doubts_wait_ = false;
    wake_.NotifyOne();
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
    std::vector<OperationPtr> operations = index_->UnfinishedOperations();
    std::erase_if(operations, [this](const OperationPtr& each) { return damage_->Holds(*each); });
    return operations;
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
  int64_t loaded_revision() const override { return loaded_revision_; }
  int64_t durable_revision() const override { return durable_revision_; }
  absl::StatusOr<std::vector<VolumeChange>> ChangesAfter(int64_t revision,
                                                         int count_max) const override {
    return index_->ChangesAfter(revision, count_max);
  }

  uint64_t AddListener(std::function<void()> listener) override {
    return listeners_.Add(std::move(listener));
  }
  void RemoveListener(uint64_t id) override { listeners_.Remove(id); }

 private:
  using Steady = std::chrono::steady_clock;

  struct Pending {
    Transaction transaction;
    std::function<void(absl::Status)> done;
    absl::Status outcome;
  };
  struct Batch {
    std::vector<Pending> pending;
    std::vector<Changes> accepted;
    std::vector<size_t> owners;  // of those: their places in `pending`
  };
  // Why nothing may be written to the file, and when it is written anew.
  struct Trouble {
    absl::Status told;
    Steady::time_point next_try;
    std::chrono::nanoseconds pause;
  };
  struct Work {
    enum class Kind { kCommit, kRefuse, kForget, kLook, kWriteAnew, kAnswerDoubts, kEnd };
    Kind kind = Kind::kEnd;
    Batch batch;
  };

  void Run() {
    // Under load everybody waits for this thread: it comes first, where that is allowed
    // (CAP_SYS_NICE). In Linux that is of the calling thread alone.
    setpriority(PRIO_PROCESS, 0, kWriterNice);
    for (;;) {
      Work work = TakeWork();
      switch (work.kind) {
        case Work::Kind::kCommit:
          Stage(&work.batch);
          if (absl::Status doubt = Write(&work.batch); !doubt.ok()) {
            Hold(std::move(work.batch), doubt);
          } else {
            Answer(&work.batch);
          }
          break;
        case Work::Kind::kRefuse:
          Refuse(&work.batch);
          break;
        case Work::Kind::kForget:
          Forget();
          break;
        case Work::Kind::kLook:
          LookAtRoom();
          break;
        case Work::Kind::kWriteAnew:
          WriteFileAnew();
          break;
        case Work::Kind::kAnswerDoubts:
          Refuse(&in_doubt_);
          break;
        case Work::Kind::kEnd:
          return;
      }
      EndWriting();
    }
  }

  void EndWriting() {
    const bool forgets = ForgetsFor() != nullptr;
    const bool looks = room_->IsScarce();
    MutexLock lock(&mutex_);
    writing_ = false;
    forgets_ = forgets;
    if (!looks) next_look_.reset();
    if (looks && !next_look_.has_value()) next_look_ = Steady::now() + kLookPeriod;
    if (!queue_.empty() || forgets_ || looks || stopping_ || trouble_.has_value()) {
      wake_.NotifyOne();
    }
  }

  // Waits until there is some, and nobody else is writing.
  Work TakeWork() {
    MutexLock lock(&mutex_);
    for (;;) {
      if (writing_) {
        wake_.Wait(&mutex_);
        continue;
      }
      Work work = NextWork();
      if (work.kind != Work::Kind::kEnd) {
        writing_ = true;
        return work;
      }
      if (stopping_) return work;
      if (trouble_.has_value()) {
        wake_.WaitFor(&mutex_, absl::FromChrono(trouble_->next_try - Steady::now()));
      } else if (next_look_.has_value()) {
        wake_.WaitFor(&mutex_, absl::FromChrono(*next_look_ - Steady::now()));
      } else {
        wake_.Wait(&mutex_);
      }
    }
  }

  // kEnd: none now.
  Work NextWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Work work;
    if (trouble_.has_value() && trouble_->next_try <= Steady::now()) {
      work.kind = Work::Kind::kWriteAnew;
    } else if (trouble_.has_value() && !doubts_wait_ && !in_doubt_.pending.empty()) {
      work.kind = Work::Kind::kAnswerDoubts;
    } else if (forgets_ && !trouble_.has_value() && !stopping_ &&
               (queue_.empty() || !std::exchange(forgot_last_, true))) {
      work.kind = Work::Kind::kForget;
    } else if (!queue_.empty()) {
      forgot_last_ = false;
      work.kind = trouble_.has_value() ? Work::Kind::kRefuse : Work::Kind::kCommit;
      while (!queue_.empty() && work.batch.pending.size() < kBatchMax) {
        work.batch.pending.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    } else if (!trouble_.has_value() && next_look_.has_value() && *next_look_ <= Steady::now()) {
      next_look_.reset();
      work.kind = Work::Kind::kLook;
    }
    return work;
  }

  // Sets the outcome of those that are refused. For the thread that has set writing_, as are the next.
  void Stage(Batch* batch) {
    // On the writer's own connection, whose pages are at hand.
    const Operations operations(index_.get(), store_->operations(), store_->operations());
    Staging staging(index_.get(), &operations, damage_.get());
    const absl::Status room = room_->status();
    for (size_t i = 0; i < batch->pending.size(); ++i) {
      Pending& pending = batch->pending[i];
      if (!room.ok() && !MayUseReserve(pending)) {
        pending.outcome = room;
        continue;
      }
      auto changes = staging.Stage(std::move(pending.transaction));
      pending.outcome = changes.status();
      if (!changes.ok() || changes->empty()) continue;
      batch->accepted.push_back(*std::move(changes));
      batch->owners.push_back(i);
    }
  }

  // Not OK when whether the batch was written cannot be told, and why.
  absl::Status Write(Batch* batch) {
    if (batch->accepted.empty()) return absl::OkStatus();
    SqliteStore::Written written = store_->Write(batch->accepted);
    if (written.full()) written = WriteInReserve(*batch, std::move(written));
    switch (written.outcome) {
      case SqliteStore::Outcome::kDone:
        durable_revision_ = store_->synced_revision();
        for (const Changes& changes : batch->accepted) index_->Publish(changes);
        if (room_->IsDue(store_->log_pages())) LookAtRoom();
        break;
      case SqliteStore::Outcome::kNothing:
        for (const size_t owner : batch->owners) batch->pending[owner].outcome = written.why;
        batch->accepted.clear();
        break;
      case SqliteStore::Outcome::kInDoubt:
        return written.why;
    }
    return absl::OkStatus();
  }

  static bool MayUseReserve(const Pending& pending) {
    return pending.transaction.room == Transaction::Room::kWithReserve;
  }

  // It has found no room: after what is in the log has gone into the database, the log has some; if not,
  // it takes that of the reserve, where one of the batch may.
  SqliteStore::Written WriteInReserve(const Batch& batch, SqliteStore::Written written) {
    const bool may_use_reserve =
        std::any_of(batch.owners.begin(), batch.owners.end(),
                    [&](const size_t owner) { return MayUseReserve(batch.pending[owner]); });
    do {
      if (!store_->CopyLog().ok()) break;
      written = store_->Write(batch.accepted);
    } while (written.full() && may_use_reserve && room_->Release());
    if (!written.full()) return written;
    room_->Full();
    written.why = room_->status();
    return written;
  }

  void LookAtRoom() {
    const bool scarce = room_->IsScarce();
    absl::StatusOr<DiskRoom::Database> database = store_->Room();
    if (database.ok()) room_->Look(*database, store_->log_pages());
    if (HasReason(unforgettable_, Reason::kNoSpace)) unforgettable_ = absl::OkStatus();
    if (scarce && !room_->IsScarce()) store_->LengthenLog();
  }

  // Why history is given up; null: it is not.
  const char* ForgetsFor() const {
    if (!unforgettable_.ok()) return nullptr;
    const HistorySize& size = store_->history();
    if (!history_.Hold(size)) {
      return "more are not remembered (operation_history_max, operation_history_mib)";
    }
    if (room_->status().ok()) return nullptr;
    const HistoryBounds kept{kHistoryKept, room_->sizes().reserve_bytes};
    return kept.Hold(size) ? nullptr : "the disk has no more room";
  }

  // Gives up those that ended first, in turns with what is committed meanwhile.
  void Forget() {
    const char* const why = ForgetsFor();
    absl::StatusOr<std::vector<std::string>> oldest = store_->operations()->Oldest(
        room_->status().ok() ? kForgottenAtOnce : kForgottenAtOnceWithoutRoom);
    if (!oldest.ok()) return CannotForget(oldest.status());
    Batch batch;
    batch.pending.resize(1);
    Transaction& transaction = batch.pending[0].transaction;
    transaction.remove_operations = *std::move(oldest);
    transaction.may_be_durable_later = true;
    const HistorySize before = store_->history();
    Stage(&batch);
    if (absl::Status doubt = Write(&batch); !doubt.ok()) return Hold(std::move(batch), doubt);
    if (absl::Status status = batch.pending[0].outcome; !status.ok()) return CannotForget(status);
    if (store_->history().operations >= before.operations) {
      return CannotForget(absl::InternalError("none was found"));
    }
    listeners_.CallAll();
    if (!room_->status().ok()) LookAtRoom();
    if (std::exchange(told_forgetting_, why) == why) return;
    spdlog::warn(
        "operations that have ended are given up before their time, the oldest first, with their "
        "request ids: there are {} of about {} MiB, and {}",
        before.operations, before.bytes >> 20, why);
  }

  // For want of room: until it is looked for again. Else for good.
  void CannotForget(const absl::Status& why) {
    const auto level = HasReason(why, Reason::kNoSpace) ? spdlog::level::debug : spdlog::level::err;
    spdlog::log(level, "operations that have ended cannot be given up: {}", Describe(why));
    unforgettable_ = why;
  }

  void Answer(Batch* batch) {
    for (Pending& pending : batch->pending) {
      if (pending.done) pending.done(std::move(pending.outcome));
    }
    if (!batch->accepted.empty()) listeners_.CallAll();
  }

  // Of those in doubt each, since what was refused among them was compared with what is in doubt.
  void Refuse(Batch* batch) {
    absl::Status why = health();
    if (!batch->accepted.empty()) {
      why = Annotate(why, "whether this was done is not known before the next start");
    }
    const Batch refused = std::exchange(*batch, {});
    for (const Pending& pending : refused.pending) {
      if (pending.done) pending.done(why);
    }
  }

  void Hold(Batch batch, const absl::Status& why) {
    Stop(why);
    in_doubt_ = std::move(batch);
  }

  // On any thread.
  void Stop(const absl::Status& why) {
    MutexLock lock(&mutex_);
    if (trouble_.has_value()) return;
    spdlog::error("the catalog is read only until it was written anew: {}", Describe(why));
    const std::string since =
        absl::FormatTime(absl::RFC3339_sec, Clock::System()->Now(), absl::UTCTimeZone());
    trouble_.emplace();
    trouble_->told =
        Error(Reason::kCatalogUnavailable,
              fmt::format(
                  "the server's records are read only since {}, until they could be written anew, "
                  "which is tried again and again: {}",
                  since, ToStd(why.message())),
              {{"since", since}});
    trouble_->pause = pause_;
    trouble_->next_try = Steady::now() + pause_;
    wake_.NotifyOne();
  }

  void FollowStore() {
    store_->Follow(mark_.get(), [this](const absl::Status& why) { Stop(why); });
  }

  void WriteFileAnew() {
    if (absl::Status status = ReplaceStore(); !status.ok()) {
      MutexLock lock(&mutex_);
      spdlog::error("the catalog could not be written anew: {}", Describe(status));
      trouble_->pause = std::min(2 * trouble_->pause, kPauseMax);
      trouble_->next_try = Steady::now() + trouble_->pause;
      if (stopping_) doubts_wait_ = false;
      return;
    }
    spdlog::info("the catalog was written anew: changes are made again");
    {
      MutexLock lock(&mutex_);
      trouble_.reset();
    }
    Batch batch = std::exchange(in_doubt_, {});
    for (const Changes& changes : batch.accepted) index_->Publish(changes);
    Answer(&batch);
  }

  absl::Status ReplaceStore() {
    WholeCatalog whole;
    whole.seal = store_->seal();
    whole.records = index_->Everything();
    whole.added = in_doubt_.accepted;
    whole.damage = damage_.get();
    whole.old = store_->database();
    ASSIGN_OR_RETURN(const WrittenAnew written,
                     WriteAnewWhereItFits(files_, whole, [this] { return room_->Release(); }));
    ASSIGN_OR_RETURN(auto store, SqliteStore::Open(files_.path(), log_, requests_.get()));
    RETURN_IF_ERROR(look_ups_->Reopen());
    RETURN_IF_ERROR(lists_->Reopen());
    store->GoOnFrom(written.seal, written.history);
    store_->Abandon();
    store_ = std::move(store);
    durable_revision_ = store_->synced_revision();
    mark_->Durable(written.seal.commits, written.seal.chain);
    unforgettable_ = absl::OkStatus();
    if (written.kept == HistoryKept::kNone) index_->ForgetEnded();
    FollowStore();
    LookAtRoom();
    return absl::OkStatus();
  }

  const CatalogFiles files_;
  const std::chrono::nanoseconds pause_;
  const WriteAheadLog::Options log_;
  const HistoryBounds history_;
  const std::unique_ptr<ProcessLock> lock_;  // early, so that it is given back late
  const std::unique_ptr<DiskRoom> room_;     // as store_, but for its status
  const std::unique_ptr<KnownRequests> requests_;
  const std::unique_ptr<CatalogMark> mark_;
  std::unique_ptr<SqliteStore> store_;  // used by whoever has set writing_
  const std::unique_ptr<MemoryIndex> index_;
  const std::unique_ptr<const Damage> damage_;
  const std::unique_ptr<StoredOperations> look_ups_, lists_;
  const Operations operations_;
  const std::string id_;
  const int64_t loaded_revision_;
  std::atomic<int64_t> durable_revision_;
  Batch in_doubt_;              // as store_
  absl::Status unforgettable_;  // as store_; why the history is not bounded any more
  const char* told_forgetting_ = nullptr;

  mutable Mutex mutex_;
  CondVar wake_;
  std::deque<Pending> queue_ ABSL_GUARDED_BY(mutex_);
  std::optional<Trouble> trouble_ ABSL_GUARDED_BY(mutex_);
  std::optional<Steady::time_point> next_look_ ABSL_GUARDED_BY(mutex_);  // while room is scarce
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;                         // some thread is at it
  bool forgets_ ABSL_GUARDED_BY(mutex_) = false;      // there is too much history
  bool forgot_last_ ABSL_GUARDED_BY(mutex_) = false;  // not twice while somebody waits
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool doubts_wait_ ABSL_GUARDED_BY(mutex_) = true;  // until they are none

  CommitListeners listeners_;

  std::thread writer_;  // last, so that what it uses is there when it starts
};

}  // namespace

absl::StatusOr<std::unique_ptr<Catalog>> OpenSqliteCatalog(const SqliteCatalogOptions& options) {
  ASSIGN_OR_RETURN(CatalogParts parts, OpenCatalogParts(options));
  return std::make_unique<SqliteCatalog>(options, std::move(parts));
}

}  // namespace cairn
