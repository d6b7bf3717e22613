// The files on each share that look like a volume's and that no record names ("strays"): remembered
// from one listing of the directory, so that a deletion that must know those of its volume does not
// cost more the more volumes lie beside it.
//
// How fresh: a share is listed again when the last listing is older than twenty times what it took,
// and 100 ms at the least. Listing thus takes at most 5 % of the time of a share however large it
// is: 2 s of freshness where it takes 100 ms. While one thread lists, others go by what is known up
// to twice that age. The first to ask after the start lists in any case. A stray is made by other
// hands than Cairn's, so nothing tells of it earlier. Thread-safe.
#ifndef CAIRN_LIB_ENGINE_STRAY_FILES_H_
#define CAIRN_LIB_ENGINE_STRAY_FILES_H_

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/catalog/catalog.h"
#include "lib/os/file_system.h"

namespace cairn {

class StrayFiles {
 public:
  // Nothing is owned; all must outlive this.
  StrayFiles(FileSystem* files, const Catalog* catalog, const Clock* clock)
      : files_(files), catalog_(catalog), clock_(clock) {}

  // The strays of one volume on the share of that address, whose files are in `directory`, as of
  // the last listing: some may be gone, or be in the volume's chain by now. Blocks when it lists.
  absl::StatusOr<std::vector<std::string>> Of(const std::string& address,
                                              const std::string& directory,
                                              const std::string& volume_id);
  // Takes over a listing (all names in the directory) that was made for another purpose. `began`:
  // before the directory was read.
  void Learn(const std::string& address, const std::vector<std::string>& names,
             MonotonicTime began);

 private:
  using ByVolume = std::unordered_map<std::string, std::vector<std::string>>;
  struct Known {
    ByVolume strays;
    MonotonicTime listed;
    absl::Duration took;
    bool asked = false;    // there was a listing for a deletion since the start
    bool listing = false;  // somebody is at it
  };

  bool IsFresh(const Known& known) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ByVolume Sort(const std::string& address, const std::vector<std::string>& names) const;

  FileSystem* const files_;
  const Catalog* const catalog_;
  const Clock* const clock_;
  mutable Mutex mutex_;  // not held while a share is read
  std::map<std::string, Known> shares_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_STRAY_FILES_H_
