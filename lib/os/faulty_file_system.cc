#include "lib/os/faulty_file_system.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/os/file_error.h"

namespace cairn {
namespace {

// Those that leave the files as they are; any other counts as a change.
constexpr std::array<std::string_view, 9> kReadingCalls = {
    "Open",           "ReadAt",        "Stat",
    "NextData",       "List",          "RefreshDirectory",
    "StatFileSystem", "TryLockShared", "IsLockedByOthers"};
// Those whose error may be UNIMPLEMENTED.
constexpr std::array<std::string_view, 5> kOptionalCalls = {
    "Allocate", "CloneFrom", "CopyRangeFrom", "TryLockShared", "IsLockedByOthers"};

template <typename Names>
bool Contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool Matches(std::string_view pattern, std::string_view call) {
  if (pattern == "*") return true;
  return pattern.empty() ? !Contains(kReadingCalls, call) : pattern == call;
}

}  // namespace

struct FaultyFileSystem::State {
  Mutex mutex;
  std::map<std::string, int64_t, std::less<>> calls ABSL_GUARDED_BY(mutex);
  std::optional<Fault> fault ABSL_GUARDED_BY(mutex);
  int64_t matched ABSL_GUARDED_BY(mutex) = 0;
  bool fired ABSL_GUARDED_BY(mutex) = false;
  std::string stalled ABSL_GUARDED_BY(mutex);  // what their paths begin with; empty: none
  CondVar resumed;

  void AwaitResume(const std::string& path) {
    MutexLock lock(&mutex);
    while (!stalled.empty() && path.starts_with(stalled)) resumed.Wait(&mutex);
  }

  // Counts the call. The fault that it meets, if any.
  std::optional<Fault> Count(std::string_view call) {
    MutexLock lock(&mutex);
    ++calls.try_emplace(std::string(call), 0).first->second;
    if (!fault.has_value() || !Matches(fault->call, call)) return std::nullopt;
    ++matched;
    if (matched < fault->nth || (matched > fault->nth && !fault->from_then_on)) {
      return std::nullopt;
    }
    fired = true;
    return fault;
  }

  absl::Status Check(std::string_view call, const std::string& path) {
    AwaitResume(path);
    std::optional<Fault> met = Count(call);
    if (!met.has_value()) return absl::OkStatus();
    return Contains(kOptionalCalls, call) ? OptionalCallError(met->error_number, call, path)
                                          : FileError(met->error_number, call, path);
  }
};

class FaultyFileSystem::FaultyFile : public File {
 public:
  FaultyFile(std::unique_ptr<File> base, std::string path, std::shared_ptr<State> state)
      : base_(std::move(base)), path_(std::move(path)), state_(std::move(state)) {}

  absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(state_->Check("ReadAt", path_));
    return base_->ReadAt(offset, length);
  }
  absl::Status WriteAt(int64_t offset, std::string_view data) override {
    state_->AwaitResume(path_);
    std::optional<Fault> met = state_->Count("WriteAt");
    if (!met.has_value()) return base_->WriteAt(offset, data);
    size_t written = static_cast<size_t>(std::max<int64_t>(met->short_write_bytes, 0));
    RETURN_IF_ERROR(base_->WriteAt(offset, data.substr(0, written)));
    return FileError(met->error_number, "WriteAt", path_);
  }
  absl::Status Truncate(int64_t size_bytes) override {
    RETURN_IF_ERROR(state_->Check("Truncate", path_));
    return base_->Truncate(size_bytes);
  }
  absl::Status Allocate(int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(state_->Check("Allocate", path_));
    return base_->Allocate(offset, length);
  }
  absl::Status CloneFrom(File& source) override {
    RETURN_IF_ERROR(state_->Check("CloneFrom", path_));
    return base_->CloneFrom(Unwrap(source));
  }
  absl::StatusOr<int64_t> CopyRangeFrom(File& source, int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(state_->Check("CopyRangeFrom", path_));
    return base_->CopyRangeFrom(Unwrap(source), offset, length);
  }
  absl::StatusOr<DataExtent> NextData(int64_t offset) override {
    RETURN_IF_ERROR(state_->Check("NextData", path_));
    return base_->NextData(offset);
  }
  absl::StatusOr<FileStat> Stat() override {
    RETURN_IF_ERROR(state_->Check("Stat", path_));
    return base_->Stat();
  }
  absl::Status SetOwnerAndMode(uid_t uid, gid_t gid, mode_t mode) override {
    RETURN_IF_ERROR(state_->Check("SetOwnerAndMode", path_));
    return base_->SetOwnerAndMode(uid, gid, mode);
  }
  void StartSync(int64_t offset, int64_t length) override { base_->StartSync(offset, length); }
  absl::Status Sync() override {
    RETURN_IF_ERROR(state_->Check("Sync", path_));
    return base_->Sync();
  }
  absl::StatusOr<bool> TryLockShared(int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(state_->Check("TryLockShared", path_));
    return base_->TryLockShared(offset, length);
  }
  absl::StatusOr<bool> IsLockedByOthers(int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(state_->Check("IsLockedByOthers", path_));
    return base_->IsLockedByOthers(offset, length);
  }

 private:
  // The base knows files of its own only.
  static File& Unwrap(File& file) {
    auto* faulty = dynamic_cast<FaultyFile*>(&file);
    return faulty != nullptr ? *faulty->base_ : file;
  }

  const std::unique_ptr<File> base_;
  const std::string path_;
  const std::shared_ptr<State> state_;
};

FaultyFileSystem::FaultyFileSystem(FileSystem* base)
    : base_(base), state_(std::make_shared<State>()) {}

FaultyFileSystem::~FaultyFileSystem() = default;

void FaultyFileSystem::Inject(Fault fault) {
  MutexLock lock(&state_->mutex);
  state_->fault = std::move(fault);
  state_->matched = 0;
  state_->fired = false;
}

void FaultyFileSystem::Clear() {
  MutexLock lock(&state_->mutex);
  state_->fault.reset();
}

void FaultyFileSystem::Stall(const std::string& prefix) {
  MutexLock lock(&state_->mutex);
  state_->stalled = prefix;
}

void FaultyFileSystem::Resume() {
  MutexLock lock(&state_->mutex);
  state_->stalled.clear();
  state_->resumed.NotifyAll();
}

bool FaultyFileSystem::fired() const {
  MutexLock lock(&state_->mutex);
  return state_->fired;
}

int64_t FaultyFileSystem::calls(std::string_view name) const {
  MutexLock lock(&state_->mutex);
  int64_t sum = 0;
  for (const auto& [call, count] : state_->calls) {
    if (Matches(name, call)) sum += count;
  }
  return sum;
}

int64_t FaultyFileSystem::EnumerateFaults(Fault fault,
                                          const std::function<void(int64_t nth)>& run) {
  for (int64_t nth = 1;; ++nth) {
    fault.nth = nth;
    Inject(fault);
    run(nth);
    Clear();
    if (!fired()) return nth - 1;
  }
}

absl::StatusOr<std::unique_ptr<File>> FaultyFileSystem::Open(const std::string& path,
                                                             OpenMode mode) {
  bool creates = mode == OpenMode::kCreate || mode == OpenMode::kCreateNew;
  RETURN_IF_ERROR(state_->Check(creates ? "Create" : "Open", path));
  ASSIGN_OR_RETURN(auto file, base_->Open(path, mode));
  return std::make_unique<FaultyFile>(std::move(file), path, state_);
}

absl::StatusOr<FileStat> FaultyFileSystem::Stat(const std::string& path) {
  RETURN_IF_ERROR(state_->Check("Stat", path));
  return base_->Stat(path);
}

absl::Status FaultyFileSystem::Rename(const std::string& from, const std::string& to) {
  RETURN_IF_ERROR(state_->Check("Rename", from));
  return base_->Rename(from, to);
}

absl::Status FaultyFileSystem::Remove(const std::string& path) {
  RETURN_IF_ERROR(state_->Check("Remove", path));
  return base_->Remove(path);
}

absl::Status FaultyFileSystem::SyncDirectory(const std::string& path) {
  RETURN_IF_ERROR(state_->Check("SyncDirectory", path));
  return base_->SyncDirectory(path);
}

absl::Status FaultyFileSystem::RefreshDirectory(const std::string& path) {
  RETURN_IF_ERROR(state_->Check("RefreshDirectory", path));
  return base_->RefreshDirectory(path);
}

absl::Status FaultyFileSystem::MakeDirectories(const std::string& path) {
  RETURN_IF_ERROR(state_->Check("MakeDirectories", path));
  return base_->MakeDirectories(path);
}

absl::StatusOr<std::vector<std::string>> FaultyFileSystem::List(const std::string& path) {
  RETURN_IF_ERROR(state_->Check("List", path));
  return base_->List(path);
}

absl::StatusOr<FileSystemStat> FaultyFileSystem::StatFileSystem(const std::string& path) {
  RETURN_IF_ERROR(state_->Check("StatFileSystem", path));
  return base_->StatFileSystem(path);
}

}  // namespace cairn
