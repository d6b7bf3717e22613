// The files on each share that no record names ("foreign"), and the files of volumes that they stand on:
// nothing may be removed or changed under them. Remembered from one listing of the directory, so that a
// deletion does not cost more the more volumes lie beside it.
//
// A foreign file stands on a volume's file when its header names it as QEMU would open it, under whatever
// path: the last component decides, because another host may have the share mounted elsewhere. A link in
// the share's directory is followed within it, and no path is looked up outside of it: a header must not
// lead to a mount that hangs. Files in directories below are not looked at.
//
// How fresh: a share is listed again when the last listing is older than twenty times what it took,
// and 100 ms at the least. Listing thus takes at most 5 % of the time of a share however large it
// is: 2 s of freshness where it takes 100 ms. While one thread lists, others go by what is known up
// to twice that age. The first to ask after the start lists in any case. A header is read again when the
// file has changed. A foreign file is made by other hands than Cairn's, so nothing tells of it earlier.
// Thread-safe.
#ifndef CAIRN_LIB_ENGINE_FOREIGN_FILES_H_
#define CAIRN_LIB_ENGINE_FOREIGN_FILES_H_

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/catalog/catalog.h"
#include "lib/os/file_system.h"

namespace cairn {

class ForeignFiles {
 public:
  // Nothing is owned; all must outlive this.
  ForeignFiles(FileSystem* files, const Catalog* catalog, const Clock* clock)
      : files_(files), catalog_(catalog), clock_(clock) {}

  struct Place {
    std::string address;    // of the share
    std::string directory;  // where its files are
    std::string volume_id;
  };
  // OK when no foreign file stands on one of `chain_files`, bare names of the volume's files, as of the
  // last listing. BACKING_FILE_SHARED names one that does; IMAGE_UNSAFE one that cannot be read, so that
  // it is not known. Blocks when it lists.
  absl::Status CheckNoneStandsOn(const Place& place, const std::vector<std::string>& chain_files);
  // Takes over a listing (all names in the directory) that was made for another purpose, and reads the
  // headers that are not known. `began`: before the directory was read. Blocks.
  void Learn(const std::string& address, const std::string& directory,
             const std::vector<std::string>& names, MonotonicTime began);

 private:
  // What was read of one file. It is the same file while inode and time of change are.
  struct Header {
    uint64_t inode = 0;
    absl::Time change_time;
    std::vector<std::string> stands_on;
  };
  using Headers = std::unordered_map<std::string, Header>;
  struct Known {
    Headers headers;  // of all foreign files, by their names
    std::unordered_map<std::string, std::vector<std::string>> users;  // by what they stand on
    std::vector<std::string> unreadable;
    MonotonicTime listed;
    absl::Duration took;
    bool asked = false;    // there was a listing for a deletion since the start
    bool listing = false;  // somebody is at it
  };

  bool IsFresh(const Known& known) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Refresh(const Place& place);
  bool IsForeign(const std::string& address, const std::string& name) const;
  absl::StatusOr<std::vector<std::string>> StandsOn(const std::string& directory,
                                                    const std::string& name) const;
  void FollowLinks(const std::string& directory, const std::string& path,
                   std::vector<std::string>& stands_on) const;

  FileSystem* const files_;
  const Catalog* const catalog_;
  const Clock* const clock_;
  mutable Mutex mutex_;  // not held while a share is read
  std::map<std::string, Known> shares_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_FOREIGN_FILES_H_
