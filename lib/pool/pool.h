// A pool: the shares of one shares file, which of them takes a volume, and what is held for work
// that runs.
//
// Choosing looks at figures in memory only: it costs the same with 10 volumes and with 100,000.
// Thread-safe.
#ifndef CAIRN_LIB_POOL_POOL_H_
#define CAIRN_LIB_POOL_POOL_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/format.h"
#include "lib/base/mutex.h"
#include "lib/pool/placement.h"
#include "lib/share/share.h"

namespace cairn {

// The options of requirements section 1, with their names and defaults.
struct PoolOptions {
  std::string name = "default";
  std::string nfs_shares_config = "/etc/cairn/nfs_shares";
  bool nfs_sparsed_volumes = true;
  bool nfs_qcow2_volumes = false;
  bool qcow2_preallocation_metadata = true;
  std::string nfs_mount_point_base;
  std::string nfs_mount_options;
  int nfs_mount_attempts = 3;
  bool nfs_unmount_on_exit = false;
  bool nfs_snapshot_support = true;
  int reserved_percentage = 0;                // 0..100
  double max_over_subscription_ratio = 20.0;  // at least 1
  bool nas_secure_file_permissions = true;
  bool nas_secure_file_operations = false;
  PlacementPolicy placement_policy = PlacementPolicy::kLeastAllocated;
  std::vector<std::string> image_directories;  // from which image_path may come

  // What a volume is when its request does not say.
  VolumeFormat default_format() const {
    if (nfs_qcow2_volumes) return VolumeFormat::kQcow2;
    return nfs_sparsed_volumes ? VolumeFormat::kRawSparse : VolumeFormat::kRawThick;
  }
};

// Space held for an operation; given back when destroyed. The pool must outlive it.
class Reservation {
 public:
  Reservation() = default;
  ~Reservation() { Release(); }
  Reservation(Reservation&& other) noexcept { *this = std::move(other); }
  Reservation& operator=(Reservation&& other) noexcept;
  void Release();

 private:
  friend class Pool;
  class Pool* pool_ = nullptr;
  std::string share_;
  SpaceRequest request_;
};

struct PoolShareStatus {
  std::string address;
  std::string directory;  // where its files are
  ShareStatus status;
  std::vector<std::string> same_file_system;  // the pool's other shares that lie on it too
  int64_t reserved_bytes = 0;  // held for running operations: promised or physical, what is more
};

class Pool {
 public:
  Pool(PoolOptions options, Share::System system, ProbeOptions probe = {});
  ~Pool();

  const PoolOptions& options() const { return options_; }

  // Reads the shares file again (also the first time): new shares appear, those no longer listed
  // drain, those listed again take volumes again, changed options hold from the next mount on.
  // Problems of single lines are returned for the log; NOT_FOUND when the file is not there. After
  // an error the pool is what it was.
  absl::StatusOr<std::vector<std::string>> Reload();
  // Whether the file reads otherwise than at the last Reload that went well. By its content: times
  // and inodes say too much where the file is projected or synchronised. A missing file has not
  // changed: what was read last holds.
  bool SharesFileChanged() const;
  // Drops from the pool the shares that drain and that nothing needs (`unused` is asked for each
  // address), and has them unmounted, some time.
  void RetireDrained(const std::function<bool(const std::string& address)>& unused);

  // Null when the pool has none of that address. A share lives as long as the pool, also one that
  // is no longer listed, or retired.
  Share* FindShare(const std::string& address) const;
  // Those listed, in the file's order, then those that drain.
  std::vector<Share*> shares() const;

  // Chooses a share for `request` and holds the space. `pin`: only that share; `avoid`: not that
  // one. POOL_UNAVAILABLE when no share is usable, NO_ELIGIBLE_SHARE (asked, and what each has)
  // when none has room; SHARE_NOT_FOUND, SHARE_UNAVAILABLE for a pin that is not there, or is down.
  struct Choice {
    Share* share = nullptr;
    Reservation reservation;
  };
  absl::StatusOr<Choice> Place(const SpaceRequest& request, const std::string& pin,
                               const std::string& avoid);
  // Holds space on a share that is given (extend, commit, a move), if the rules allow it; NO_SPACE
  // when not. With promised_bytes 0 only the physical room counts: what promises nothing new, such
  // as the commit of a snapshot, must work on a share that is promised in full. Also on one that
  // drains.
  absl::StatusOr<Reservation> Reserve(Share* share, const SpaceRequest& request);

  // Ends the lanes of all shares, then unmounts them where that is configured. False when a thread
  // hangs in one of them.
  bool Stop(absl::Duration grace_of_each);

  std::vector<PoolShareStatus> Statuses() const;
  // Of the shares' file systems, each counted once however many shares lie on it; and of the shares.
  ShareCapacity capacity() const;
  int64_t reserved_bytes() const;
  bool usable() const;  // at least one share is

 private:
  friend class Reservation;
  void Release(const std::string& share, const SpaceRequest& request);
  Reservation Hold(const std::string& share, const SpaceRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What is allocated on, promised to and held on each file system, by its device.
  using FileSystems = std::map<uint64_t, SpaceRequest>;
  FileSystems SumByFileSystem() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  SpaceRequest HeldFor(const std::string& address) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ShareFigures FiguresOf(const Share& share, const ShareStatus& status,
                         const FileSystems& sums) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Choice> PlaceLocked(const SpaceRequest& request, const std::string& pin,
                                     const std::string& avoid)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // A share that is no longer part of the pool, but to which pointers may still be about.
  struct Retired {
    std::unique_ptr<Share> share;
    bool to_unmount = true;
  };
  void AdviseOnce(const ShareSpec& spec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(reload_mutex_);

  const PoolOptions options_;
  const Share::System system_;
  const ProbeOptions probe_;
  const PlacementRules rules_;
  mutable Mutex reload_mutex_;  // one change of the list at a time; taken before mutex_
  std::string shares_text_ ABSL_GUARDED_BY(reload_mutex_);
  std::set<std::string> advised_ ABSL_GUARDED_BY(reload_mutex_);
  std::deque<Retired> retired_ ABSL_GUARDED_BY(reload_mutex_);
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<Share>> shares_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, SpaceRequest> held_ ABSL_GUARDED_BY(mutex_);  // by share
};

}  // namespace cairn

#endif  // CAIRN_LIB_POOL_POOL_H_
