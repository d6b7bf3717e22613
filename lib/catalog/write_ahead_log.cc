#include "lib/catalog/write_ahead_log.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/base/size.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

constexpr int kPages = 3000;          // when copying begins; of 4 KiB each
constexpr int kPagesTooMany = 12000;  // the thread does not keep up: who commits has to help
constexpr int64_t kFileBytes = 14 * kMiB;
constexpr int64_t kScarceBytes = 128 * kMiB;
constexpr absl::Duration kUnsyncedMax = absl::Milliseconds(100);

std::string LogOf(const std::string& database) { return database + "-wal"; }

absl::Status FillWithZeros(File& file, int64_t from) {
  const std::string zeros(kMiB, '\0');
  for (int64_t at = from; at < kFileBytes; at += kMiB) {
    const auto length = static_cast<size_t>(std::min(kMiB, kFileBytes - at));
    RETURN_IF_ERROR(file.WriteAt(at, std::string_view(zeros).substr(0, length)));
  }
  return file.Sync();
}

// SQLite takes a log to end at the first frame that is none of its own, which zeros are not.
absl::Status Lengthen(const std::string& path) {
  ASSIGN_OR_RETURN(const FileSystemStat stat, FileSystem::Posix()->StatFileSystem(path));
  if (stat.available_bytes < kScarceBytes) return absl::OkStatus();
  ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(LogOf(path), OpenMode::kReadWrite));
  ASSIGN_OR_RETURN(const FileStat present, file->Stat());
  absl::Status filled = FillWithZeros(*file, present.size_bytes);
  if (!filled.ok()) file->Truncate(present.size_bytes).IgnoreError();
  return filled;
}

}  // namespace

absl::StatusOr<std::unique_ptr<WriteAheadLog>> WriteAheadLog::Of(SqliteDatabase* database,
                                                                 const std::string& path) {
  if (absl::Status status = Lengthen(path); !status.ok()) {
    spdlog::debug("{} is slower at first: {}", path, Describe(status));
  }
  ASSIGN_OR_RETURN(SqliteDatabase own, SqliteDatabase::Open(path));
  ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(LogOf(path), OpenMode::kReadWrite));
  return std::unique_ptr<WriteAheadLog>(
      new WriteAheadLog(database, std::move(own), std::move(file)));
}

WriteAheadLog::WriteAheadLog(SqliteDatabase* database, SqliteDatabase own,
                             std::unique_ptr<File> file)
    : database_(*database), own_(std::move(own)), file_(std::move(file)) {
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

void WriteAheadLog::Committed(bool synced) {
  bool wake = false;
  {
    MutexLock lock(&mutex_);
    if (synced) {
      unsynced_since_ = MonotonicTime::InfiniteFuture();
    } else if (unsynced_since_ == MonotonicTime::InfiniteFuture()) {
      unsynced_since_ = MonotonicTime::Now();
      wake = !looks_again_;
    }
  }
  if (wake) wanted_.NotifyOne();
  CopyWhenLong();
}

void WriteAheadLog::CopyWhenLong() {
  const int pages = database_.log_pages();
  if (pages < kPages) return;
  bool begin = false;
  bool help = pages >= kPagesTooMany;
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

void WriteAheadLog::Run() {
  pthread_setname_np(pthread_self(), "catalog-log");
  for (;;) {
    bool sync = false;
    {
      MutexLock lock(&mutex_);
      sync = Await();
      if (state_ == State::kStopping) return;
      if (sync)
        unsynced_since_ =
            MonotonicTime::InfiniteFuture();  // what comes from now on is another one's
    }
    if (sync) {
      Sync();
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
    const absl::Duration left = unsynced_since_ + kUnsyncedMax - MonotonicTime::Now();
    if (left <= absl::ZeroDuration()) return true;
    looks_again_ = left != absl::InfiniteDuration();
    if (looks_again_) {
      wanted_.WaitFor(&mutex_, left);
      looks_again_ = false;
    } else {
      wanted_.Wait(&mutex_);
    }
  }
  return false;
}

// Not a failure of the commit before it: the log has everything. It grows until it works again.
void WriteAheadLog::CopyPages(SqliteDatabase& connection) {
  if (absl::Status status = connection.Checkpoint(); !status.ok()) {
    spdlog::debug("the catalog's log stays as long as it is: {}", Describe(status));
  }
}

// After a failure it is for the next commit that waits for the disk to say so to somebody.
void WriteAheadLog::Sync() {
  if (absl::Status status = file_->Sync(); !status.ok()) {
    spdlog::error("the catalog's log could not be brought to the disk: {}", Describe(status));
  }
}

}  // namespace cairn
