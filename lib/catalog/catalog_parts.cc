#include "lib/catalog/catalog_parts.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "lib/base/status.h"
#include "lib/catalog/catalog_files.h"
#include "lib/catalog/write_anew.h"

namespace cairn {
namespace {

// Opens what is there, or makes an empty one where nothing was.
absl::StatusOr<std::unique_ptr<SqliteStore>> OpenStore(const CatalogFiles& files,
                                                       const std::optional<MarkContent>& mark,
                                                       const WriteAheadLog::Options& log,
                                                       KnownRequests* requests) {
  RETURN_IF_ERROR(files.FinishReplacement());
  ASSIGN_OR_RETURN(const CatalogFiles::Presence presence, files.Look());
  const bool nothing = presence == CatalogFiles::Presence::kNone && !mark.has_value();
  if (presence != CatalogFiles::Presence::kThere && !nothing) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: the catalog is missing or empty, where one was: restore the newest copy of it, or, to "
        "begin an empty one, remove it with {} and {}",
        files.path(), files.log(), files.mark()));
  }
  if (nothing) RETURN_IF_ERROR(CreateCatalog(files));
  if (!nothing && (!mark.has_value() || mark->state == MarkContent::State::kOpen)) {
    RETURN_IF_ERROR(files.WriteBack());
  }
  return SqliteStore::Open(files.path(), log, requests);
}

// Into `parts`, which has its lock and its room.
absl::Status Open(const SqliteCatalogOptions& options, CatalogParts* parts) {
  const CatalogFiles files(options.path);
  parts->requests = std::make_unique<KnownRequests>();
  ASSIGN_OR_RETURN(const std::optional<MarkContent> mark, ReadMark(files.mark()));
  ASSIGN_OR_RETURN(parts->store, OpenStore(files, mark, parts->log, parts->requests.get()));
  parts->index = std::make_unique<MemoryIndex>(options.changes_kept);
  parts->damage = std::make_unique<Damage>();
  RETURN_IF_ERROR(parts->store->LoadInto(parts->index.get(), parts->damage.get()));
  if (mark.has_value()) {
    RETURN_IF_ERROR(CheckAgainstMark(options.path, parts->store->seal(), *mark));
  } else {
    RETURN_IF_ERROR(parts->store->BeginTimeline());
  }
  ASSIGN_OR_RETURN(parts->mark, CatalogMark::Begin(files.mark(), parts->store->seal()));
  ASSIGN_OR_RETURN(parts->look_ups, StoredOperations::Open(options.path, parts->requests.get()));
  ASSIGN_OR_RETURN(parts->lists, StoredOperations::Open(options.path, parts->requests.get()));
  return absl::OkStatus();
}

// SQLite tells some failures for want of room as others.
bool MayBeFull(const absl::Status& status) {
  return HasReason(status, Reason::kNoSpace) || HasReason(status, Reason::kInternal);
}

}  // namespace

absl::StatusOr<CatalogParts> OpenCatalogParts(const SqliteCatalogOptions& options) {
  CatalogParts parts;
  // Two servers on one catalog would each trust their own memory.
  ASSIGN_OR_RETURN(ProcessLock lock, ProcessLock::Take(options.path));
  parts.lock = std::make_unique<ProcessLock>(std::move(lock));
  parts.room =
      std::make_unique<DiskRoom>(options.files == nullptr ? FileSystem::Posix() : options.files,
                                 CatalogFiles(options.path), options.log_bytes);
  parts.room->BeforeStart();
  parts.log = {absl::ToChronoNanoseconds(options.later), parts.room->sizes().log_bytes};
  absl::Status opened = Open(options, &parts);
  if (MayBeFull(opened) && parts.room->Release()) {
    parts.store.reset();  // before what it uses
    opened = Open(options, &parts);
  }
  RETURN_IF_ERROR(opened);
  return parts;
}

}  // namespace cairn
