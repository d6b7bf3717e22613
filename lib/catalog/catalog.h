// The durable records. Volumes, snapshots, shares and what operations have not ended are in memory,
// too: reading them never touches the disk. Of the ended operations memory holds the newest; older
// ones are read from the disk, without waiting for anybody who writes.
//
// A change is a Transaction: puts and removals that become durable together or not at all. Each put
// names the revision that it replaces (compare and swap), so that two writers cannot overwrite each
// other; another store that offers such transactions (etcd) can stand behind the same interface.
// Commits of several callers share one fsync. Thread-safe.
#ifndef CAIRN_LIB_CATALOG_CATALOG_H_
#define CAIRN_LIB_CATALOG_CATALOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/catalog/history.h"
#include "lib/catalog/query.h"
#include "lib/catalog/records.h"
#include "lib/os/file_system.h"

namespace cairn {

// Puts carry the record's own `revision` as the one they replace; 0: the id must not exist yet.
struct Transaction {
  std::vector<VolumeRecord> put_volumes;
  std::vector<SnapshotRecord> put_snapshots;
  std::vector<OperationRecord> put_operations;
  std::vector<ShareRecord> put_shares;
  std::vector<std::string> remove_volumes;
  std::vector<std::string> remove_snapshots;
  std::vector<std::string> remove_operations;
  std::vector<std::string> remove_shares;  // addresses
  // It says nothing that would not be found out again after a power failure: it need not wait for the
  // disk. It is visible when it is told, and survives the process, as any other, and becomes durable
  // after what was committed before it: with the next that waits, or within a moment.
  bool may_be_durable_later = false;
  // On a disk that is full but for a reserve: this one is refused (NO_SPACE), or may use that. What makes
  // room, and what brings to its end what has begun, may.
  enum class Room { kWithReserve, kWithoutReserve };
  Room room = Room::kWithReserve;
};

// One change, as watchers see it. `volume` is null for a removal.
struct VolumeChange {
  int64_t revision = 0;
  std::string volume_id;
  VolumePtr volume;
};

template <typename Ptr>
struct Page {
  std::vector<Ptr> items;
  std::string next_page_token;  // empty on the last page
  // The token of what follows one of the items: for who cannot use the whole page.
  std::function<std::string(const Ptr& item)> token_after;
};

class Catalog {
 public:
  virtual ~Catalog() = default;

  // A UUID, of this catalog alone; given once, when it was made.
  virtual const std::string& id() const = 0;

  // OK while changes can be made. Else CATALOG_UNAVAILABLE, saying since when and why: a write has
  // failed, after which what the system shows of the files may not be what the disk has. Changes are
  // refused with it, reads go on, and the catalog is written anew, which is tried until it succeeds.
  virtual absl::Status health() const = 0;

  // OK while there is room on its disk; else NO_SPACE, saying what can be done: changes without the right
  // to use the reserve are refused with it, and operations that have ended are given up, until there is.
  virtual absl::Status room() const = 0;

  // Makes the transaction durable, unless it may be later, then visible, then calls `done` (on the
  // catalog's own thread: be quick). In the order of the calls. REVISION_MISMATCH (ABORTED) when a
  // put's revision is not the present one: nothing changed. When whether it is durable cannot be
  // told, since the disk failed meanwhile, it is told once that is known: when the catalog was written
  // anew, with it.
  virtual void Commit(Transaction transaction, std::function<void(absl::Status)> done) = 0;
  // The same, waiting. Not from a thread that must not block. It may be this thread that writes.
  virtual absl::Status CommitAndWait(Transaction transaction);
  // Before an end: nobody waits any longer for what is not known, now or later. It is answered with
  // CATALOG_UNAVAILABLE, and is there at the next start, or is not.
  virtual void AnswerDoubts() = 0;

  // Null when there is none.
  virtual VolumePtr FindVolume(const std::string& id) const = 0;
  virtual SnapshotPtr FindSnapshot(const std::string& id) const = 0;
  // IO_ERROR (DATA_LOSS) when it is there but cannot be read.
  virtual absl::StatusOr<OperationPtr> FindOperation(const std::string& id) const = 0;
  virtual absl::StatusOr<OperationPtr> FindOperationByRequest(
      const std::string& request_id) const = 0;
  virtual SharePtr FindShare(const std::string& address) const = 0;
  // Every one, by address.
  virtual std::vector<SharePtr> Shares() const = 0;
  // The snapshots of a volume, oldest first.
  virtual std::vector<SnapshotPtr> SnapshotsOf(const std::string& volume_id) const = 0;
  // Operations that have not ended, oldest first: what start-up takes up. Not those of a volume that is
  // stopped, as a record of it cannot be read (damage.h).
  virtual std::vector<OperationPtr> UnfinishedOperations() const = 0;

  // Pages keyed on the last item, so that they survive changes in between: what stays is seen
  // exactly once.
  virtual absl::StatusOr<Page<VolumePtr>> ListVolumes(const ListQuery& query) const = 0;
  virtual absl::StatusOr<Page<SnapshotPtr>> ListSnapshots(const ListQuery& query,
                                                          const std::string& volume_id) const = 0;
  virtual absl::StatusOr<Page<OperationPtr>> ListOperations(const ListQuery& query) const = 0;

  // Sum of size_bytes and of file_bytes, and count by state, of the volumes of a share; kept up to
  // date by commits, so the cost does not grow with the number of volumes.
  struct ShareTotals {
    int64_t volumes = 0;
    int64_t provisioned_bytes = 0;  // sum of size_bytes
    int64_t file_bytes = 0;
    std::map<VolumeState, int64_t> by_state;
  };
  virtual ShareTotals TotalsOf(const std::string& share) const = 0;
  virtual std::vector<std::string> VolumesOn(const std::string& share) const = 0;

  // The highest revision so far. None is given out twice: after a crash some are left out.
  virtual int64_t revision() const = 0;
  // The last revision that was found on the disk when this was opened: what a crash may have given out
  // and lost is not in it.
  virtual int64_t loaded_revision() const = 0;
  // A power failure takes back nothing up to this one; it may be behind what is on the disk.
  virtual int64_t durable_revision() const = 0;
  // Changes after `revision`, in order, at most `count_max`. OUT_OF_RANGE (WATCH_REVISION_TOO_OLD)
  // when they are no longer kept.
  virtual absl::StatusOr<std::vector<VolumeChange>> ChangesAfter(int64_t revision,
                                                                 int count_max) const = 0;
  // `listener` is called after each commit, quickly and on the catalog's thread, until removed.
  virtual uint64_t AddListener(std::function<void()> listener) = 0;
  virtual void RemoveListener(uint64_t id) = 0;
};

struct SqliteCatalogOptions {
  std::string path;           // never on NFS: SQLite's locks do not hold there
  int changes_kept = 10'000;  // for watchers
  // When what may be durable later is brought to the disk, if nothing else has been.
  absl::Duration later = absl::Milliseconds(100);
  // How long after a failed write the catalog is written anew for the first time; the pauses grow. Not
  // at once: a disk that has no room behind its file system, as a thin one, is easily lost by more.
  absl::Duration write_anew_after = absl::Seconds(1);
  // The log's length from the first, where there is room (write_ahead_log.h); less on a small disk.
  int64_t log_bytes = 14 << 20;
  // Tells how much room there is, and has the reserve. Not owned; null: the real one. SQLite does not
  // use it.
  FileSystem* files = nullptr;
  // Operations that have ended are given up, oldest first, when there are more.
  HistoryBounds history = {};
};
// Opens or creates the database (with a write-ahead log that is synced at each commit) and loads what
// is to be in memory. An older schema is brought up to date; a newer one is FAILED_PRECONDITION.
// Not of a catalog that lacks what was durable: IO_ERROR (DATA_LOSS) when it is damaged,
// FAILED_PRECONDITION when it is missing, or older than the mark beside it (catalog_mark.h). A record
// that cannot be read stops its volume alone.
absl::StatusOr<std::unique_ptr<Catalog>> OpenSqliteCatalog(const SqliteCatalogOptions& options);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_CATALOG_H_
