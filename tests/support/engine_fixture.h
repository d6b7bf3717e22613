// A real engine on directory shares in a temporary directory, with calls that wait: what most tests
// of the engine begin with.
//
// On NFS shares instead when the environment names them, separated by blanks; the engine mounts them
// itself, and they are emptied and unmounted at the end of the test:
//   CAIRN_TEST_SHARES="127.0.0.1:/a 127.0.0.1:/b" CAIRN_TEST_MOUNT_OPTIONS="vers=4.2"
#ifndef CAIRN_TESTS_SUPPORT_ENGINE_FIXTURE_H_
#define CAIRN_TESTS_SUPPORT_ENGINE_FIXTURE_H_

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "lib/base/size.h"
#include "lib/engine/engine.h"
#include "lib/share/shares_file.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {

struct TestEngineSetup {
  int shares = 2;
  std::vector<std::string> directories;  // instead of made ones
  std::string state_path;                // the same
  PoolOptions pool;                      // names and paths are filled in
  EngineOptions engine;
};

class TestEngine {
 public:
  using Setup = TestEngineSetup;
  explicit TestEngine(Setup setup = {}) : setup_(std::move(setup)) {
    setup_.pool.nfs_shares_config = dir_.File("shares");
    setup_.pool.nfs_mount_point_base = dir_.File("mnt");
    if (setup_.directories.empty() && getenv("CAIRN_TEST_SHARES") != nullptr) {
      UseMountedShares();
    } else {
      UseDirectories();
    }
    std::string list;
    for (const std::string& address : addresses_) list += address + "\n";
    WriteFile(dir_.File("shares"), list);
    setup_.pool.image_directories = {dir_.File("images")};
    std::filesystem::create_directory(dir_.File("images"));
    setup_.engine.state_path = setup_.state_path.empty() ? dir_.File("state") : setup_.state_path;
    setup_.engine.pools = {setup_.pool};
    setup_.engine.retry_pause = absl::Milliseconds(5);
    setup_.engine.retry_pause_max = absl::Milliseconds(100);
    setup_.engine.merge_pause = absl::Milliseconds(20);
    Start();
  }
  ~TestEngine() {
    Stop();
    if (is_mounted_) LeaveShares();
  }
  TestEngine(const TestEngine&) = delete;
  TestEngine& operator=(const TestEngine&) = delete;

  // As the server does at its start and end; Restart goes through both.
  void Start() {
    auto engine = Engine::Start(setup_.engine);
    ASSERT_OK(engine);
    engine_ = *std::move(engine);
  }
  void Stop() { engine_.reset(); }
  void Restart() {
    Stop();
    Start();
  }

  Engine& operator*() { return *engine_; }
  Engine* operator->() { return engine_.get(); }
  const TempDir& dir() const { return dir_; }
  std::string directory(size_t share = 0) const { return setup_.directories.at(share); }
  const std::vector<std::string>& directories() const { return setup_.directories; }
  const std::string& address(size_t share = 0) const { return addresses_.at(share); }
  // Where the files of the share of an address are.
  std::string DirectoryOf(const std::string& address) const {
    return MountPointOf(setup_.pool.nfs_mount_point_base,
                        {.address = address, .mount_options = {}});
  }
  std::string state_path() const { return setup_.engine.state_path; }

  // The journalled operation, or the refusal.
  absl::StatusOr<OperationPtr> Submit(Request request, Caller caller = {}) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<OperationPtr>>>();
    engine_->Submit(std::move(request), std::move(caller),
                    [promise](absl::StatusOr<OperationPtr> op) { promise->set_value(op); });
    return promise->get_future().get();
  }
  absl::StatusOr<OperationPtr> Wait(const std::string& id,
                                    absl::Duration timeout = absl::Minutes(2)) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<OperationPtr>>>();
    engine_->Wait(id, MonotonicTime::Now() + timeout,
                  [promise](absl::StatusOr<OperationPtr> op) { promise->set_value(op); });
    return promise->get_future().get();
  }
  // Submits and waits for the end; a failed operation is its error.
  absl::Status Do(Request request, Caller caller = {}) {
    auto op = Submit(std::move(request), std::move(caller));
    if (!op.ok()) return op.status();
    if (*op == nullptr) return absl::OkStatus();  // validate_only
    op = Wait((*op)->id);
    if (!op.ok()) return op.status();
    if (!Ended((*op)->state)) return absl::DeadlineExceededError("the operation did not end");
    return (*op)->error;
  }

  // A volume of the given format; its id.
  absl::StatusOr<std::string> Create(VolumeFormat format, int64_t size_bytes,
                                     const std::string& share = {}) {
    auto op = Submit(CreateVolumeRequest{.volume_id = {},
                                         .name = {},
                                         .pool = {},
                                         .share = share,
                                         .size_bytes = size_bytes,
                                         .format = format,
                                         .labels = {},
                                         .source = {}});
    if (!op.ok()) return op.status();
    op = Wait((*op)->id);
    if (!op.ok()) return op.status();
    if (!(*op)->error.ok()) return (*op)->error;
    return (*op)->volume_id;
  }
  // A snapshot; its id.
  absl::StatusOr<std::string> Snapshot(const std::string& volume_id) {
    auto op = Submit(CreateSnapshotRequest{
        .volume_id = volume_id, .snapshot_id = {}, .name = {}, .labels = {}, .group_id = {}});
    if (!op.ok()) return op.status();
    op = Wait((*op)->id);
    if (!op.ok()) return op.status();
    if (!(*op)->error.ok()) return (*op)->error;
    return (*op)->target;
  }
  VolumePtr Volume(const std::string& id) { return engine_->records().FindVolume(id); }
  SnapshotPtr FindSnapshot(const std::string& id) { return engine_->records().FindSnapshot(id); }

  // Where the volume's active file is.
  std::string ActivePath(const std::string& volume_id) {
    VolumePtr volume = Volume(volume_id);
    return DirectoryOf(volume->share) + "/" + volume->active_file;
  }

 private:
  void UseDirectories() {
    if (setup_.directories.empty()) {
      for (int i = 0; i < setup_.shares; ++i) {
        setup_.directories.push_back(dir_.File("share" + std::to_string(i)));
        std::filesystem::create_directory(setup_.directories.back());
      }
    }
    for (const std::string& directory : setup_.directories) {
      addresses_.push_back("file://" + directory);
    }
  }
  void UseMountedShares() {
    is_mounted_ = true;
    addresses_ = absl::StrSplit(getenv("CAIRN_TEST_SHARES"), ' ', absl::SkipEmpty());
    for (const std::string& address : addresses_) {
      setup_.directories.push_back(DirectoryOf(address));
    }
    const char* options = getenv("CAIRN_TEST_MOUNT_OPTIONS");
    if (options != nullptr) setup_.pool.nfs_mount_options = options;
  }
  void LeaveShares() {
    for (const std::string& directory : setup_.directories) {
      std::error_code error;
      for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
        std::filesystem::remove_all(entry.path(), error);
      }
      EXPECT_EQ(umount(directory.c_str()), 0) << directory << ": " << strerror(errno);
    }
  }

  Setup setup_;
  TempDir dir_;
  bool is_mounted_ = false;
  std::vector<std::string> addresses_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SUPPORT_ENGINE_FIXTURE_H_
