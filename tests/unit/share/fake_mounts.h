// A mount table and a mount(8) that exist in memory only, for what a test cannot have done for
// real: servers that refuse, mounts that vanish. Mount points are real directories.
#ifndef CAIRN_TESTS_UNIT_SHARE_FAKE_MOUNTS_H_
#define CAIRN_TESTS_UNIT_SHARE_FAKE_MOUNTS_H_

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/os/faulty_file_system.h"
#include "lib/os/mount_table.h"
#include "lib/os/process.h"

namespace cairn::testing {

class FakeMountTable : public MountTable {
 public:
  absl::StatusOr<std::vector<MountEntry>> Read() override {
    MutexLock lock(&mutex_);
    ++reads_;
    return entries_;
  }
  void Add(const std::string& source, const std::string& directory,
           const std::string& type = "nfs4",
           const std::string& options = "rw,relatime,vers=4.2,proto=tcp") {
    MutexLock lock(&mutex_);
    entries_.push_back({directory, source, type, options});
  }
  void Clear() {
    MutexLock lock(&mutex_);
    entries_.clear();
  }
  int reads() const {
    MutexLock lock(&mutex_);
    return reads_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<MountEntry> entries_ ABSL_GUARDED_BY(mutex_);
  int reads_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Records what it is asked to run and answers with `behaviour`.
class FakeMountProgram : public ProcessRunner {
 public:
  using Behaviour = std::function<absl::StatusOr<ProcessResult>(const ProcessSpec&)>;

  // Mounts, as the real one does.
  explicit FakeMountProgram(FakeMountTable* table) {
    behaviour_ = [table](const ProcessSpec& spec) {
      table->Add(spec.argv[spec.argv.size() - 2], spec.argv.back());
      return Exit(0);
    };
  }

  static absl::StatusOr<ProcessResult> Exit(int code, std::string stderr_text = "") {
    ProcessResult result;
    result.exit_code = code;
    result.stderr_text = std::move(stderr_text);
    return result;
  }

  void SetBehaviour(Behaviour behaviour) {
    MutexLock lock(&mutex_);
    behaviour_ = std::move(behaviour);
  }

  absl::StatusOr<ProcessResult> Run(const ProcessSpec& spec) override {
    Behaviour behaviour;
    {
      MutexLock lock(&mutex_);
      calls_.push_back(spec);
      behaviour = behaviour_;
    }
    return behaviour(spec);
  }
  absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessSpec&) override {
    return absl::UnimplementedError("mount is run, not started");
  }

  std::vector<ProcessSpec> calls() const {
    MutexLock lock(&mutex_);
    return calls_;
  }

 private:
  mutable Mutex mutex_;
  Behaviour behaviour_ ABSL_GUARDED_BY(mutex_);
  std::vector<ProcessSpec> calls_ ABSL_GUARDED_BY(mutex_);
};

// The real file system, but with chosen figures of space, of file systems of their own, and a root that
// can seem to be on another device, as when a mount is lost.
class FakeSpace : public FaultyFileSystem {
 public:
  FakeSpace() : FaultyFileSystem(FileSystem::Posix()) {}

  // `file_system`: a number for one that several directories share; 0: one of its own.
  void SetSpace(const std::string& directory, FileSystemStat space, uint64_t file_system = 0) {
    MutexLock lock(&mutex_);
    std::erase_if(spaces_, [&](const auto& entry) { return entry.first == directory; });
    spaces_.emplace_back(directory, space);
    devices_[directory] = file_system != 0 ? file_system : std::hash<std::string>()(directory);
  }
  void SetDeviceShift(uint64_t shift) {
    MutexLock lock(&mutex_);
    device_shift_ = shift;
  }

  absl::StatusOr<FileSystemStat> StatFileSystem(const std::string& path) override {
    {
      MutexLock lock(&mutex_);
      for (const auto& [directory, space] : spaces_) {
        if (directory == path) return space;
      }
    }
    return FaultyFileSystem::StatFileSystem(path);
  }
  absl::StatusOr<FileStat> Stat(const std::string& path) override {
    auto stat = FaultyFileSystem::Stat(path);
    MutexLock lock(&mutex_);
    if (!stat.ok()) return stat;
    for (const auto& [directory, device] : devices_) {
      if (path == directory + "/.") stat->device = device;
    }
    stat->device += device_shift_;
    return stat;
  }

 private:
  Mutex mutex_;
  std::vector<std::pair<std::string, FileSystemStat>> spaces_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> devices_ ABSL_GUARDED_BY(mutex_);
  uint64_t device_shift_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_SHARE_FAKE_MOUNTS_H_
