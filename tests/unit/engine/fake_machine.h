// A machine that fails as a test wants it to: refuses, does what it is told but loses the answer, dies
// in the middle. What it does to files it does with qemu-img. How real machines behave is shown with
// real ones, in tests/unit/hypervisor and tests/live.
#ifndef CAIRN_TESTS_UNIT_ENGINE_FAKE_MACHINE_H_
#define CAIRN_TESTS_UNIT_ENGINE_FAKE_MACHINE_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/hypervisor/hypervisor.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"

namespace cairn::testing {

class FakeMachine {
 public:
  // What happens to a change: all is well, it is refused, it is made and the answer lost, it is never
  // done.
  enum class Fault { kNone, kRefuse, kLoseAnswer, kGoOn };
  // Asked before each change: "switch", "merge", "mirror", "finish", "resize".
  std::function<Fault(const std::string& change)> fault;

  void Boot(const std::string& directory, std::vector<std::string> files, int64_t size_bytes) {
    MutexLock lock(&mutex_);
    disk_ = {directory, std::move(files), size_bytes};
    is_up_ = true;
  }
  void SetUp(bool is_up) {
    MutexLock lock(&mutex_);
    is_up_ = is_up;
  }
  DiskState disk() const {
    MutexLock lock(&mutex_);
    return disk_;
  }
  // What it was told, in order.
  std::vector<std::string> told() const {
    MutexLock lock(&mutex_);
    return told_;
  }
  bool HasBeenTold(const std::string& change) const {
    auto all = told();
    return std::find(all.begin(), all.end(), change) != all.end();
  }

  absl::StatusOr<std::unique_ptr<Hypervisor>> Connect();

 private:
  class Connection;

  static absl::Status Unavailable() {
    return Error(Reason::kHypervisorUnavailable, "the machine does not answer",
                 {{"address", "unix:/fake"}});
  }
  // Counts the change, and says what becomes of it.
  Fault Tell(const std::string& change) {
    {
      MutexLock lock(&mutex_);
      told_.push_back(change);
    }
    return fault ? fault(change) : Fault::kNone;
  }
  absl::Status Apply(const std::string& change, const std::function<void(DiskState&)>& apply) {
    switch (Tell(change)) {
      case Fault::kRefuse:
        return Error(Reason::kHypervisorFailed, "no: " + change);
      case Fault::kLoseAnswer: {
        MutexLock lock(&mutex_);
        apply(disk_);
        is_up_ = false;
        return Unavailable();
      }
      case Fault::kGoOn:
        return absl::OkStatus();
      case Fault::kNone:
        break;
    }
    MutexLock lock(&mutex_);
    apply(disk_);
    return absl::OkStatus();
  }

  mutable Mutex mutex_;
  DiskState disk_ ABSL_GUARDED_BY(mutex_);
  bool is_up_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> told_ ABSL_GUARDED_BY(mutex_);
};

class FakeMachine::Connection : public Hypervisor {
 public:
  explicit Connection(FakeMachine* machine) : machine_(machine) {}

  absl::StatusOr<DiskState> Look(const DiskRef&) override {
    MutexLock lock(&machine_->mutex_);
    if (!machine_->is_up_) return Unavailable();
    return machine_->disk_;
  }

  absl::Status SwitchToLayers(const std::vector<DiskSwitch>& switches) override {
    ASSIGN_OR_RETURN(DiskState open, Look({}));
    const LayerSwitch& change = switches[0].change;
    if (open.files[0] == change.file) return absl::OkStatus();
    return machine_->Apply(
        "switch", [&](DiskState& disk) { disk.files.insert(disk.files.begin(), change.file); });
  }

  absl::StatusOr<JobState> Merge(const DiskRef&, const LayerMerge& merge, const std::string&,
                                 absl::Duration) override {
    ASSIGN_OR_RETURN(DiskState open, Look({}));
    const bool down = merge.direction == MergeDirection::kCommit;
    const std::string& gone = down ? merge.top : merge.base;
    if (std::find(open.files.begin(), open.files.end(), gone) == open.files.end()) {
      return JobState{.phase = JobState::Phase::kDone};
    }
    bool goes_on = true;
    RETURN_IF_ERROR(machine_->Apply("merge", [&](DiskState& disk) {
      DoMerge(disk.directory, merge);
      std::erase(disk.files, gone);
      goes_on = false;
    }));
    return JobState{.phase = goes_on ? JobState::Phase::kRunning : JobState::Phase::kDone,
                    .done_bytes = 1,
                    .total_bytes = 2};
  }

  absl::StatusOr<JobState> Mirror(const DiskRef&, const DiskMove& move, const std::string& target,
                                  const std::string&, absl::Duration) override {
    ASSIGN_OR_RETURN(DiskState open, Look({}));
    RETURN_IF_ERROR(machine_->Apply("mirror", [&](DiskState& disk) {
      RunTool({"cp", disk.directory + "/" + move.file, target + "/" + move.file});
    }));
    return JobState{.phase = JobState::Phase::kReady};
  }

  absl::Status FinishMirror(const DiskRef&, const DiskMove&, const std::string& target,
                            const std::string&) override {
    ASSIGN_OR_RETURN(DiskState open, Look({}));
    if (open.directory == target) return absl::OkStatus();
    return machine_->Apply("finish", [&](DiskState& disk) { disk.directory = target; });
  }

  absl::Status CancelJob(const DiskRef&, const std::string&) override {
    RETURN_IF_ERROR(Look({}).status());
    machine_->Tell("cancel");
    return absl::OkStatus();
  }

  absl::Status Resize(const DiskRef&, const DiskResize& resize) override {
    RETURN_IF_ERROR(Look({}).status());
    return machine_->Apply("resize", [&](DiskState& disk) {
      disk.size_bytes = resize.size_bytes;
      const std::string path = disk.directory + "/" + resize.file;
      const bool qcow2 = ReadFile(path).starts_with("QFI\xfb");
      RunTool({"qemu-img", "resize", "-f", qcow2 ? "qcow2" : "raw", path,
               std::to_string(resize.size_bytes)});
    });
  }

 private:
  static void DoMerge(const std::string& directory, const LayerMerge& merge) {
    const std::string rebased = directory + "/" + merge.rebased;
    const std::string format(FileFormatName(merge.backing_format_after));
    if (merge.direction == MergeDirection::kCommit) {
      RunTool({"qemu-img", "commit", "-d", "-f", "qcow2", directory + "/" + merge.top});
      RunTool({"qemu-img", "rebase", "-u", "-f", "qcow2", "-b", merge.backing_after, "-F", format,
               rebased});
      return;
    }
    std::vector<std::string> argv{"qemu-img", "rebase", "-f", "qcow2", "-b", merge.backing_after};
    if (!merge.backing_after.empty()) argv.insert(argv.end(), {"-F", format});
    argv.push_back(rebased);
    RunTool(std::move(argv));
  }

  FakeMachine* const machine_;
};

inline absl::StatusOr<std::unique_ptr<Hypervisor>> FakeMachine::Connect() {
  {
    MutexLock lock(&mutex_);
    if (!is_up_) return Unavailable();
  }
  return std::make_unique<Connection>(this);
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_FAKE_MACHINE_H_
