#include "lib/catalog/catalog_files.h"

#include <memory>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/os/file_system.h"

namespace cairn {
namespace {

FileSystem& Files() { return *FileSystem::Posix(); }

// -1 when there is none.
absl::StatusOr<int64_t> SizeOf(const std::string& path) {
  auto stat = Files().Stat(path);
  if (absl::IsNotFound(stat.status())) return -1;
  RETURN_IF_ERROR(stat.status());
  return stat->size_bytes;
}

}  // namespace

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

absl::StatusOr<CatalogFiles::Presence> CatalogFiles::Look() const {
  ASSIGN_OR_RETURN(const int64_t database, SizeOf(path_));
  if (database > 0) return Presence::kThere;
  ASSIGN_OR_RETURN(const int64_t log, SizeOf(this->log()));
  return database == 0 || log > 0 ? Presence::kIncomplete : Presence::kNone;
}

absl::Status CatalogFiles::Replace() const {
  {
    ASSIGN_OR_RETURN(auto file, Files().Open(fresh(), OpenMode::kReadWrite));
    RETURN_IF_ERROR(file->Sync());
  }
  RETURN_IF_ERROR(Files().Rename(fresh(), next()));
  RETURN_IF_ERROR(Files().SyncDirectory(DirectoryOf(path_)));
  return TakeName();
}

absl::Status CatalogFiles::FinishReplacement() const {
  RETURN_IF_ERROR(RemoveFresh());
  ASSIGN_OR_RETURN(const int64_t next_bytes, SizeOf(next()));
  if (next_bytes < 0) return absl::OkStatus();
  // The process may have ended before the name was durable.
  RETURN_IF_ERROR(Files().SyncDirectory(DirectoryOf(path_)));
  return TakeName();
}

absl::Status CatalogFiles::TakeName() const {
  RETURN_IF_ERROR(Files().Remove(log()));
  RETURN_IF_ERROR(Files().Remove(path_ + "-shm"));
  RETURN_IF_ERROR(Files().Remove(path_ + "-journal"));
  RETURN_IF_ERROR(Files().SyncDirectory(DirectoryOf(path_)));
  RETURN_IF_ERROR(Files().Rename(next(), path_));
  return Files().SyncDirectory(DirectoryOf(path_));
}

absl::Status CatalogFiles::WriteBack() const {
  for (const std::string& path : {path_, log()}) {
    ASSIGN_OR_RETURN(const int64_t bytes, SizeOf(path));
    if (bytes < 0) continue;
    ASSIGN_OR_RETURN(auto file, Files().Open(path, OpenMode::kReadWrite));
    for (int64_t at = 0; at < bytes; at += kMiB) {
      ASSIGN_OR_RETURN(const std::string piece, file->ReadAt(at, kMiB));
      RETURN_IF_ERROR(file->WriteAt(at, piece));
    }
    RETURN_IF_ERROR(file->Sync());
  }
  return absl::OkStatus();
}

absl::Status CatalogFiles::RemoveFresh() const {
  for (const char* suffix : {"", "-journal", "-wal", "-shm"}) {
    RETURN_IF_ERROR(Files().Remove(fresh() + suffix));
  }
  return absl::OkStatus();
}

}  // namespace cairn
