// Wrappers of the system below the engine that write down what changes files, and run a test's own
// code at chosen calls.
#ifndef CAIRN_TESTS_UNIT_ENGINE_WATCHED_SYSTEM_H_
#define CAIRN_TESTS_UNIT_ENGINE_WATCHED_SYSTEM_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/os/file_system.h"
#include "lib/os/process.h"

namespace cairn::testing {

// What was done, in order; shared by a file system and a process runner. Thread-safe.
class EventLog {
 public:
  void Add(std::string event) {
    MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
  }
  void Clear() {
    MutexLock lock(&mutex_);
    events_.clear();
  }
  std::vector<std::string> events() const {
    MutexLock lock(&mutex_);
    return events_;
  }
  int Count(const std::string& event) const {
    auto all = events();
    return static_cast<int>(std::count(all.begin(), all.end(), event));
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
};

// Writes down "change <name>" (an existing file opened for writing), "rename to <name>", "remove
// <name>".
class WatchedFileSystem : public FileSystem {
 public:
  explicit WatchedFileSystem(EventLog* log) : log_(log) {}

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    if (mode == OpenMode::kReadWrite) log_->Add("change " + NameOf(path));
    return base_->Open(path, mode);
  }
  absl::StatusOr<FileStat> Stat(const std::string& path) override { return base_->Stat(path); }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    absl::Status status = base_->Rename(from, to);
    if (status.ok()) log_->Add("rename to " + NameOf(to));
    return status;
  }
  absl::Status RenameNew(const std::string& from, const std::string& to) override {
    absl::Status status = base_->RenameNew(from, to);
    if (status.ok()) log_->Add("rename to " + NameOf(to));
    return status;
  }
  absl::StatusOr<std::string> ReadLink(const std::string& path) override {
    return base_->ReadLink(path);
  }
  absl::Status Remove(const std::string& path) override {
    absl::Status status = base_->Remove(path);
    if (status.ok()) log_->Add("remove " + NameOf(path));
    return status;
  }
  absl::Status SyncDirectory(const std::string& path) override {
    return base_->SyncDirectory(path);
  }
  absl::Status RefreshDirectory(const std::string& path) override {
    return base_->RefreshDirectory(path);
  }
  absl::Status MakeDirectories(const std::string& path) override {
    return base_->MakeDirectories(path);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    return base_->List(path);
  }
  absl::StatusOr<FileSystemStat> StatFileSystem(const std::string& path) override {
    return base_->StatFileSystem(path);
  }

 private:
  static std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }
  FileSystem* const base_ = FileSystem::Posix();
  EventLog* const log_;
};

// Writes down "<tool> <first argument>", such as "qemu-img commit". `before` runs before each child
// and may stop it with an error.
class WatchedProcesses : public ProcessRunner {
 public:
  using BeforeFn = std::function<absl::Status(const ProcessSpec& spec)>;
  explicit WatchedProcesses(EventLog* log, BeforeFn before = {})
      : log_(log), before_(std::move(before)) {}

  absl::StatusOr<ProcessResult> Run(const ProcessSpec& spec) override {
    if (absl::Status status = Note(spec); !status.ok()) return status;
    return base_->Run(spec);
  }
  absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessSpec& spec) override {
    if (absl::Status status = Note(spec); !status.ok()) return status;
    return base_->Start(spec);
  }

 private:
  absl::Status Note(const ProcessSpec& spec) {
    log_->Add(spec.argv[0] + (spec.argv.size() > 1 ? " " + spec.argv[1] : ""));
    return before_ ? before_(spec) : absl::OkStatus();
  }
  ProcessRunner* const base_ = ProcessRunner::Posix();
  EventLog* const log_;
  const BeforeFn before_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_WATCHED_SYSTEM_H_
