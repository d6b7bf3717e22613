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
constexpr std::array<std::string_view, 10> kReadingCalls = {
    "Open", "ReadAt",           "Stat",           "ReadLink",      "NextData",
    "List", "RefreshDirectory", "StatFileSystem", "TryLockShared", "IsLockedByOthers"};
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
  std::string fired_at ABSL_GUARDED_BY(mutex);
  std::string stalled ABSL_GUARDED_BY(mutex);  // what their paths begin with; empty: none
  CondVar resumed;

  void AwaitResume(const std::string& path) {
    MutexLock lock(&mutex);
    while (!stalled.empty() && path.starts_with(stalled)) resumed.Wait(&mutex);
  }

  // Counts the call. The fault that it meets, if any.
  std::optional<Fault> Count(std::string_view call, const std::string& path) {
    MutexLock lock(&mutex);
    ++calls.try_emplace(std::string(call), 0).first->second;
    if (!fault.has_value() || !Matches(fault->call, call)) return std::nullopt;
    ++matched;
    const bool meets = matched == fault->nth || (matched > fault->nth && fault->from_then_on) ||
                       (fault->again_after > 0 && matched == fault->nth + fault->again_after);
    if (!meets) return std::nullopt;
    if (!fired) fired_at = std::string(call) + " " + path;
    fired = true;
    return fault;
  }

  // What the caller is told: what `carry_out` says or, where the call meets the fault, an error.
  template <typename CarryOut>
  auto Do(std::string_view call, const std::string& path, CarryOut carry_out)
      -> decltype(carry_out()) {
    AwaitResume(path);
    std::optional<Fault> met = Count(call, path);
    if (!met.has_value()) return carry_out();
    if (met->carried_out) {
      auto done = carry_out();
      if (!done.ok()) return done;
    }
    return Contains(kOptionalCalls, call) ? OptionalCallError(met->error_number, call, path)
                                          : FileError(met->error_number, call, path);
  }
};

class FaultyFileSystem::FaultyFile : public File {
 public:
  FaultyFile(std::unique_ptr<File> base, std::string path, std::shared_ptr<State> state)
      : base_(std::move(base)), path_(std::move(path)), state_(std::move(state)) {}

  absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) override {
    return state_->Do("ReadAt", path_, [&] { return base_->ReadAt(offset, length); });
  }
  absl::Status WriteAt(int64_t offset, std::string_view data) override {
    state_->AwaitResume(path_);
    std::optional<Fault> met = state_->Count("WriteAt", path_);
    if (!met.has_value()) return base_->WriteAt(offset, data);
    size_t written = static_cast<size_t>(std::max<int64_t>(met->short_write_bytes, 0));
    if (met->carried_out) written = data.size();
    RETURN_IF_ERROR(base_->WriteAt(offset, data.substr(0, written)));
    return FileError(met->error_number, "WriteAt", path_);
  }
  absl::Status Truncate(int64_t size_bytes) override {
    return state_->Do("Truncate", path_, [&] { return base_->Truncate(size_bytes); });
  }
  absl::Status Allocate(int64_t offset, int64_t length) override {
    return state_->Do("Allocate", path_, [&] { return base_->Allocate(offset, length); });
  }
  absl::Status CloneFrom(File& source) override {
    return state_->Do("CloneFrom", path_, [&] { return base_->CloneFrom(Unwrap(source)); });
  }
  absl::StatusOr<int64_t> CopyRangeFrom(File& source, int64_t offset, int64_t length) override {
    return state_->Do("CopyRangeFrom", path_,
                      [&] { return base_->CopyRangeFrom(Unwrap(source), offset, length); });
  }
  absl::StatusOr<DataExtent> NextData(int64_t offset) override {
    return state_->Do("NextData", path_, [&] { return base_->NextData(offset); });
  }
  absl::StatusOr<FileStat> Stat() override {
    return state_->Do("Stat", path_, [&] { return base_->Stat(); });
  }
  absl::Status SetOwnerAndMode(uid_t uid, gid_t gid, mode_t mode) override {
    return state_->Do("SetOwnerAndMode", path_,
                      [&] { return base_->SetOwnerAndMode(uid, gid, mode); });
  }
  void StartSync(int64_t offset, int64_t length) override { base_->StartSync(offset, length); }
  absl::Status Sync() override {
    return state_->Do("Sync", path_, [&] { return base_->Sync(); });
  }
  absl::StatusOr<bool> TryLockShared(int64_t offset, int64_t length) override {
    return state_->Do("TryLockShared", path_, [&] { return base_->TryLockShared(offset, length); });
  }
  absl::StatusOr<bool> IsLockedByOthers(int64_t offset, int64_t length) override {
    return state_->Do("IsLockedByOthers", path_,
                      [&] { return base_->IsLockedByOthers(offset, length); });
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
  state_->fired_at.clear();
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

std::string FaultyFileSystem::fired_at() const {
  MutexLock lock(&state_->mutex);
  return state_->fired_at;
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
  ASSIGN_OR_RETURN(auto file, state_->Do(creates ? "Create" : "Open", path,
                                         [&] { return base_->Open(path, mode); }));
  return std::make_unique<FaultyFile>(std::move(file), path, state_);
}

absl::StatusOr<FileStat> FaultyFileSystem::Stat(const std::string& path) {
  return state_->Do("Stat", path, [&] { return base_->Stat(path); });
}

absl::Status FaultyFileSystem::Rename(const std::string& from, const std::string& to) {
  return state_->Do("Rename", from, [&] { return base_->Rename(from, to); });
}

// By the same name: which of the two it is matters to nobody who makes one fail.
absl::Status FaultyFileSystem::RenameNew(const std::string& from, const std::string& to) {
  return state_->Do("Rename", from, [&] { return base_->RenameNew(from, to); });
}

absl::StatusOr<std::string> FaultyFileSystem::ReadLink(const std::string& path) {
  return state_->Do("ReadLink", path, [&] { return base_->ReadLink(path); });
}

absl::Status FaultyFileSystem::Remove(const std::string& path) {
  absl::Status removed = state_->Do("Remove", path, [&] { return base_->Remove(path); });
  return absl::IsNotFound(removed) ? base_->Remove(path) : removed;
}

absl::Status FaultyFileSystem::SyncDirectory(const std::string& path) {
  return state_->Do("SyncDirectory", path, [&] { return base_->SyncDirectory(path); });
}

absl::Status FaultyFileSystem::RefreshDirectory(const std::string& path) {
  return state_->Do("RefreshDirectory", path, [&] { return base_->RefreshDirectory(path); });
}

absl::Status FaultyFileSystem::MakeDirectories(const std::string& path) {
  return state_->Do("MakeDirectories", path, [&] { return base_->MakeDirectories(path); });
}

absl::StatusOr<std::vector<std::string>> FaultyFileSystem::List(const std::string& path) {
  return state_->Do("List", path, [&] { return base_->List(path); });
}

absl::StatusOr<FileSystemStat> FaultyFileSystem::StatFileSystem(const std::string& path) {
  return state_->Do("StatFileSystem", path, [&] { return base_->StatFileSystem(path); });
}

}  // namespace cairn
