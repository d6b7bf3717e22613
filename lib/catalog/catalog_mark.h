// A small file beside the catalog that tells which commit was the last that is durable there: a
// catalog that is found older, or is missing, lost something, and is not used.
//
// It is written in place after each commit, without a sync of its own: after a power failure it may
// be older than the catalog, never newer. Whoever removes it accepts the catalog as it is.
#ifndef CAIRN_LIB_CATALOG_CATALOG_MARK_H_
#define CAIRN_LIB_CATALOG_CATALOG_MARK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/catalog/seal.h"
#include "lib/os/file_system.h"

namespace cairn {

struct MarkContent {
  // kOpen: a server uses the catalog, or has not ended in order. What the system shows of the files may
  // then not be what the disk has, since a sync can have failed.
  enum class State { kClosed, kOpen };

  std::string id;
  std::string timeline;
  int64_t commits = 0;
  uint64_t chain = 0;
  State state = State::kOpen;
};

// Nothing when there is none; IO_ERROR (DATA_LOSS) for one that is not as it was written.
absl::StatusOr<std::optional<MarkContent>> ReadMark(const std::string& path);

// Whether `seal` is of what the mark speaks of, and not older; else FAILED_PRECONDITION saying what
// is the matter and what can be done. `path` is the catalog's.
absl::Status CheckAgainstMark(const std::string& path, const Seal& seal, const MarkContent& mark);

// Thread-safe.
class CatalogMark {
 public:
  // Of that catalog, which is open from here on; `path` is the mark's, which is made when it is not
  // there.
  static absl::StatusOr<std::unique_ptr<CatalogMark>> Begin(const std::string& path,
                                                            const Seal& seal);

  // That commit is durable. What it says never goes back.
  void Durable(int64_t commits, uint64_t chain);
  // Everything is durable.
  void Close();

 private:
  CatalogMark(std::unique_ptr<File> file, MarkContent content)
      : file_(std::move(file)), content_(std::move(content)) {}
  void Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<File> file_;  // null when it could not be made
  Mutex mutex_;
  MarkContent content_ ABSL_GUARDED_BY(mutex_);
  bool told_ ABSL_GUARDED_BY(mutex_) = false;  // that it cannot be written
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_CATALOG_MARK_H_
