// Which ended operations are old enough to be forgotten, with their request ids.
//
// Age is counted in time during which the server has run, by the monotonic clock, since an operation
// ended. The wall clock may be set at any time, also while the server is down, and time when nobody
// could repeat a request counts for nothing. So what is asked for is the least: the time for which
// something is remembered is longer by the time when the server was down, and by what a server that
// was killed had not yet written down.
//
// From time to time a mark says how far the catalog had come when the server had run for so long; what
// ended at or before the newest mark that is old enough may go. The marks lie in a small file beside the
// catalog. Should it be lost, counting begins anew. Thread-safe.
#ifndef CAIRN_LIB_ENGINE_RETENTION_H_
#define CAIRN_LIB_ENGINE_RETENTION_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/os/file_system.h"

namespace cairn {

struct RetentionMark {
  absl::Duration run;    // how long the server had run, in all
  int64_t revision = 0;  // what has a higher one came later
  absl::Time created;    // so did what was created after it
};

class Retention {
 public:
  // Reads the marks in `directory`. Those of a catalog that was further than `revision` are of no use:
  // an older one has taken its place. `files` and `clock` are not owned.
  Retention(FileSystem* files, std::string directory, const Clock* clock, absl::Duration retention,
            int64_t revision);

  // To be called from time to time with what was true a moment ago: the catalog's revision and,
  // read after it, the latest time of a record. The mark up to which operations may be forgotten.
  std::optional<RetentionMark> Advance(int64_t revision, absl::Time created);

 private:
  absl::Status Read(int64_t revision) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Write(absl::Duration run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FileSystem* const files_;
  const std::string directory_;
  const Clock* const clock_;
  const absl::Duration retention_;
  const MonotonicTime started_;
  Mutex mutex_;
  absl::Duration run_before_ ABSL_GUARDED_BY(mutex_);        // by earlier processes
  std::deque<RetentionMark> marks_ ABSL_GUARDED_BY(mutex_);  // oldest first
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_RETENTION_H_
