#include "lib/catalog/write_ahead_log.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/os/file_system.h"

namespace cairn {
namespace {

constexpr int kPages = 3000;          // when copying begins; of 4 KiB each
constexpr int kPagesTooMany = 12000;  // the thread does not keep up: who commits has to help
constexpr int64_t kFileBytes = 14 * kMiB;
constexpr int64_t kScarceBytes = 128 * kMiB;

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
  ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(path + "-wal", OpenMode::kReadWrite));
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
  return std::unique_ptr<WriteAheadLog>(new WriteAheadLog(database, std::move(own)));
}

WriteAheadLog::WriteAheadLog(SqliteDatabase* database, SqliteDatabase own)
    : database_(*database), own_(std::move(own)) {
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

void WriteAheadLog::Committed() {
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
    {
      MutexLock lock(&mutex_);
      while (state_ != State::kWanted && state_ != State::kStopping) wanted_.Wait(&mutex_);
      if (state_ == State::kStopping) return;
    }
    CopyPages(own_);
    MutexLock lock(&mutex_);
    if (state_ == State::kWanted) state_ = State::kCopied;
  }
}

// Not a failure of the commit before it: the log has everything. It grows until it works again.
void WriteAheadLog::CopyPages(SqliteDatabase& connection) {
  if (absl::Status status = connection.Checkpoint(); !status.ok()) {
    spdlog::debug("the catalog's log stays as long as it is: {}", Describe(status));
  }
}

}  // namespace cairn
