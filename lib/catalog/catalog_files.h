// The files of a catalog, and how a database that was written anew takes the place of the old one.
//
//   <path>        the database, <path>-wal its log, <path>-shm the log's index (SQLite's)
//   <path>.lock   process_lock.h
//   <path>.mark   catalog_mark.h
//   <path>.reserve  disk_room.h
//   <path>.new    a database that is being written; means nothing
//   <path>.next   one that is whole, durable, and holds instead of the old one
//
// A log says nothing of the database that it is for, and a database that met the log of another would
// be destroyed. So the new one first gets a name of its own: whatever is found beside it is old, and
// goes before it takes the name. A crash at any instant leaves the one or the other.
#ifndef CAIRN_LIB_CATALOG_CATALOG_FILES_H_
#define CAIRN_LIB_CATALOG_CATALOG_FILES_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cairn {

// "." for a bare name.
std::string DirectoryOf(const std::string& path);

class CatalogFiles {
 public:
  explicit CatalogFiles(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string log() const { return path_ + "-wal"; }
  std::string mark() const { return path_ + ".mark"; }
  std::string reserve() const { return path_ + ".reserve"; }
  std::string fresh() const { return path_ + ".new"; }
  std::string next() const { return path_ + ".next"; }

  // What is there of a catalog. kIncomplete: a log with commits, or an empty file, is not one.
  enum class Presence { kNone, kIncomplete, kThere };
  absl::StatusOr<Presence> Look() const;

  // Nobody may have <path>.new open. After OK the new database holds, also after a power failure;
  // after an error either may hold at the next start, and nothing may be written to the old one: it
  // is to be tried again, from the beginning.
  absl::Status Replace() const;
  // At a start, before the database is opened: what Replace has begun.
  absl::Status FinishReplacement() const;
  // Writes what is there once more, and brings it to the disk: after a sync that failed the system shows
  // what the disk does not have, and says of the next sync that it has succeeded.
  absl::Status WriteBack() const;
  // What a database leaves that was not written to its end.
  absl::Status RemoveFresh() const;

 private:
  absl::Status TakeName() const;

  const std::string path_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_CATALOG_FILES_H_
