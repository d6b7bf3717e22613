// A file system for tests that forwards to another one and makes chosen calls fail.
//
//   FaultyFileSystem files(FileSystem::Posix());
//   files.Inject({.call = "Sync", .nth = 2, .error_number = EIO});
//
// or, to see that an operation survives a failure of each of its steps:
//
//   files.EnumerateFaults({.error_number = ENOSPC}, [&](int64_t nth) {
//     absl::Status status = Operation(files);
//     EXPECT_EQ(status.ok(), !files.fired());   // and whatever must hold in both cases
//   });
//
// Calls are counted by name: the names of the methods of File and FileSystem, but "Create" for an
// Open that creates, and "Rename" for RenameNew. ENOENT makes no Remove fail: the file goes, as when a server is asked twice
// because its first answer was lost. Thread-safe. Files that it opened may outlive it.
#ifndef CAIRN_LIB_OS_FAULTY_FILE_SYSTEM_H_
#define CAIRN_LIB_OS_FAULTY_FILE_SYSTEM_H_

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/os/file_system.h"

namespace cairn {

class FaultyFileSystem : public FileSystem {
 public:
  struct Fault {
    std::string call{};  // a name; "" for any call that changes something, "*" for any call at all
    int64_t nth = 1;     // counted among those calls from Inject on
    int error_number = EIO;
    bool from_then_on = false;      // each such call from the nth on, not only that one
    int64_t again_after = 0;        // > 0: also the one that is so many calls after the nth
    int64_t short_write_bytes = 0;  // a failing WriteAt writes this much of its data first
    bool carried_out = false;       // it is done all the same, as when only the answer was lost
  };

  // `base` is not owned and must outlive this and all files.
  explicit FaultyFileSystem(FileSystem* base);
  ~FaultyFileSystem() override;

  // Instead of the fault before. Sets fired() to false.
  void Inject(Fault fault);
  // No fault any more; fired() stays.
  void Clear();
  // Whether a call failed because of the fault that was injected last.
  bool fired() const;
  // The first call that did: "Rename /share/.volume-1.tmp-2".
  std::string fired_at() const;
  // How many calls of that name ("" and "*" as in Fault) were made since the construction.
  int64_t calls(std::string_view name) const;

  // From now on every call on a path that begins with `prefix` hangs, as on a dead NFS server, until
  // Resume; then it is carried out. Again with a shorter one: so do more.
  void Stall(const std::string& prefix);
  void Resume();

  // Calls `run` with `fault` at nth = 1, 2, 3 ... up to the first run that meets no fault (which it
  // still makes), and returns how many runs met one.
  int64_t EnumerateFaults(Fault fault, const std::function<void(int64_t nth)>& run);

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status RenameNew(const std::string& from, const std::string& to) override;
  absl::StatusOr<std::string> ReadLink(const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status RefreshDirectory(const std::string& path) override;
  absl::Status MakeDirectories(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::StatusOr<FileSystemStat> StatFileSystem(const std::string& path) override;

 private:
  class FaultyFile;
  struct State;

  FileSystem* const base_;
  const std::shared_ptr<State> state_;  // shared with the files
};

}  // namespace cairn

#endif  // CAIRN_LIB_OS_FAULTY_FILE_SYSTEM_H_
