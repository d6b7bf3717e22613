#include "lib/catalog/write_ahead_log.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/catalog/catalog_files.h"

namespace cairn {
namespace {

// Of a log of full length, of 4 KiB each.
constexpr int kPages = 3000;
constexpr int kPagesTooMany = 12000;
// What must be left beside the log.
constexpr int64_t kScarceBytes = 256 * kKiB;

int PagesOf(int64_t bytes) {
  if (bytes == 0 || bytes >= WriteAheadLog::kFullBytes) return kPages;
  return static_cast<int>(std::max<int64_t>(bytes * kPages / WriteAheadLog::kFullBytes, 8));
}

std::string LogOf(const std::string& database) { return database + "-wal"; }

absl::Status FillWithZeros(File& file, int64_t from, int64_t to) {
  const std::string zeros(kMiB, '\0');
  for (int64_t at = from; at < to; at += kMiB) {
    const auto length = static_cast<size_t>(std::min(kMiB, to - at));
    RETURN_IF_ERROR(file.WriteAt(at, std::string_view(zeros).substr(0, length)));
  }
  return file.Sync();
}

// SQLite takes a log to end at the first frame that is none of its own, which zeros are not.
absl::Status LengthenLog(const std::string& path, int64_t bytes) {
  ASSIGN_OR_RETURN(const FileSystemStat stat, FileSystem::Posix()->StatFileSystem(path));
  ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(LogOf(path), OpenMode::kReadWrite));
  ASSIGN_OR_RETURN(const FileStat present, file->Stat());
  if (present.size_bytes >= bytes) return absl::OkStatus();
  // The database needs some, too; and what the log does not take now, others may.
  if (stat.available_bytes < bytes - present.size_bytes + kScarceBytes) {
    bytes = std::min(bytes, present.size_bytes + stat.available_bytes / 2);
  }
  absl::Status filled = FillWithZeros(*file, present.size_bytes, bytes);
  if (!filled.ok()) file->Truncate(present.size_bytes).IgnoreError();
  return filled;
}

}  // namespace

absl::StatusOr<std::unique_ptr<WriteAheadLog>> WriteAheadLog::Of(SqliteDatabase* database,
                                                                 const std::string& path,
                                                                 const Options& options) {
  if (absl::Status status = LengthenLog(path, options.bytes); !status.ok()) {
    spdlog::debug("{} is slower at first: {}", path, Describe(status));
  }
  ASSIGN_OR_RETURN(SqliteDatabase own, SqliteDatabase::Open(path, SqliteDatabase::File::kOld));
  own.CloseAsItIs();
  ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(LogOf(path), OpenMode::kReadWrite));
  // What a server that was killed has left there, on the disk or not, is seen from here on.
  RETURN_IF_ERROR(file->Sync());
  // That it has a name, too: SQLite does so when it makes one, but overlooks a failure.
  RETURN_IF_ERROR(FileSystem::Posix()->SyncDirectory(DirectoryOf(path)));
  return std::unique_ptr<WriteAheadLog>(
      new WriteAheadLog(database, std::move(own), std::move(file), options, path));
}

WriteAheadLog::WriteAheadLog(SqliteDatabase* database, SqliteDatabase own,
                             std::unique_ptr<File> file, const Options& options, std::string path)
    : database_(*database),
      own_(std::move(own)),
      file_(std::move(file)),
      options_(options),
      path_(std::move(path)),
      pages_(PagesOf(options.bytes)),
      pages_too_many_(pages_ < kPages ? pages_ : kPagesTooMany) {
  database_.TakeOverCheckpoints();
  thread_ = std::thread([this] { Run(); });
}

WriteAheadLog::~WriteAheadLog() {
  {
    MutexLock lock(&mutex_);
    state_ = State::kStopping;
  }
  wanted_.NotifyOne();
  thread_.join();
}

void WriteAheadLog::Follow(std::function<void(const Place&)> durable,
                           std::function<void(absl::Status)> failed) {
  MutexLock lock(&mutex_);
  durable_ = std::move(durable);
  failed_ = std::move(failed);
}

absl::Status WriteAheadLog::Committed(const Place& place, bool synced) {
  bool wake = false;
  {
    MutexLock lock(&mutex_);
    while (synced && syncing_) sync_ended_.Wait(&mutex_);
    if (!failure_.ok()) return failure_;
    last_ = place;
    if (synced) {
      unsynced_since_.reset();
    } else if (!unsynced_since_.has_value()) {
      unsynced_since_ = MonotonicTime::Now();
      wake = !looks_again_;
    }
  }
  if (wake) wanted_.NotifyOne();
  if (synced && durable_) durable_(place);
  CopyWhenLong();
  return absl::OkStatus();
}

void WriteAheadLog::CopyWhenLong() {
  const int pages = database_.log_pages();
  if (pages < pages_) return;
  bool begin = false;
  bool help = pages >= pages_too_many_;
  {
    MutexLock lock(&mutex_);
    begin = state_ == State::kIdle;
    if (begin) state_ = State::kWanted;
    if (state_ == State::kCopied) {
      state_ = State::kIdle;
      help = true;
    }
  }
  if (begin) wanted_.NotifyOne();
  if (help) CopyPages(database_);
}

absl::Status WriteAheadLog::CopyNow() {
  CopyPages(database_);
  MutexLock lock(&mutex_);
  return failure_;
}

void WriteAheadLog::Lengthen() {
  if (absl::Status status = LengthenLog(path_, options_.bytes); !status.ok()) {
    spdlog::debug("{} is slower for now: {}", path_, Describe(status));
  }
}

void WriteAheadLog::Run() {
  pthread_setname_np(pthread_self(), "catalog-log");
  for (;;) {
    Place place;
    bool sync = false;
    {
      MutexLock lock(&mutex_);
      sync = Await();
      if (state_ == State::kStopping) return;
      syncing_ = sync;
      place = last_;
      if (sync) unsynced_since_.reset();  // what comes from now on is another one's
    }
    if (sync) {
      Sync(place);
      continue;
    }
    CopyPages(own_);
    MutexLock lock(&mutex_);
    if (state_ == State::kWanted) state_ = State::kCopied;
  }
}

// True: for a sync; else for pages, or because it is to end.
bool WriteAheadLog::Await() {
  while (state_ != State::kWanted && state_ != State::kStopping) {
    if (!unsynced_since_.has_value()) {
      wanted_.Wait(&mutex_);
      continue;
    }
    const absl::Duration left =
        *unsynced_since_ + absl::FromChrono(options_.unsynced_max) - MonotonicTime::Now();
    if (left <= absl::ZeroDuration()) return true;
    looks_again_ = true;
    wanted_.WaitFor(&mutex_, left);
    looks_again_ = false;
  }
  return false;
}

// Where there is no room in the database, or a reader is in the way, the log has everything. It grows
// until it works again.
void WriteAheadLog::CopyPages(SqliteDatabase& connection) {
  absl::Status status = connection.Checkpoint();
  if (status.ok()) return;
  if (!HasReason(status, Reason::kNoSpace) && !absl::IsFailedPrecondition(status)) {
    return Fail(Annotate(status, "the catalog's log could not be copied into its database"));
  }
  spdlog::debug("the catalog's log stays as long as it is: {}", Describe(status));
}

void WriteAheadLog::Sync(const Place& place) {
  absl::Status status = file_->Sync();
  if (!status.ok()) Fail(Annotate(status, "the catalog's log could not be brought to the disk"));
  {
    MutexLock lock(&mutex_);
    syncing_ = false;
    sync_ended_.NotifyAll();
  }
  if (status.ok() && durable_) durable_(place);
}

void WriteAheadLog::Fail(const absl::Status& why) {
  {
    MutexLock lock(&mutex_);
    if (!failure_.ok()) return;
    failure_ = why;
  }
  if (failed_) failed_(why);
}

}  // namespace cairn
