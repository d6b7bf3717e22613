// Runs children, but lets a chosen one be killed, or find its image locked by somebody.
#ifndef CAIRN_TESTS_UNIT_ENGINE_FAULTS_FAULTY_PROCESSES_H_
#define CAIRN_TESTS_UNIT_ENGINE_FAULTS_FAULTY_PROCESSES_H_

#include <signal.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/mutex.h"
#include "lib/os/process.h"

namespace cairn::testing {

class FaultyProcesses : public ProcessRunner {
 public:
  enum class Kind {
    kKilled,      // before it has done anything
    kKilledLate,  // after it has done all
    kFindsALock,  // this one and all that follow
  };
  struct Fault {
    int64_t nth = 1;  // counted among the calls of Run from Inject on
    Kind kind = Kind::kKilled;
  };

  void Inject(Fault fault) {
    MutexLock lock(&mutex_);
    fault_ = fault;
    since_ = 0;
    fired_at_.clear();
  }
  void Clear() {
    MutexLock lock(&mutex_);
    fault_.reset();
  }
  // What the first one was to do that met the fault: "qemu-img commit".
  std::string fired_at() const {
    MutexLock lock(&mutex_);
    return fired_at_;
  }
  int64_t runs() const {
    MutexLock lock(&mutex_);
    return runs_;
  }

  absl::StatusOr<ProcessResult> Run(const ProcessSpec& spec) override {
    const std::optional<Kind> met = Count(spec);
    if (!met.has_value()) return base_->Run(spec);
    ProcessResult result;
    if (*met == Kind::kFindsALock) {
      result.exit_code = 1;
      result.stderr_text = spec.argv[0] + ": Failed to get \"write\" lock\n" +
                           "Is another process using the image?\n";
      return result;
    }
    if (*met == Kind::kKilledLate) {
      if (auto done = base_->Run(spec); !done.ok()) return done;
    }
    result.signal = SIGKILL;
    return result;
  }
  absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessSpec& spec) override {
    return base_->Start(spec);
  }

 private:
  std::optional<Kind> Count(const ProcessSpec& spec) {
    MutexLock lock(&mutex_);
    ++runs_;
    if (!fault_.has_value()) return std::nullopt;
    ++since_;
    const bool lasts = fault_->kind == Kind::kFindsALock;
    if (since_ < fault_->nth || (since_ > fault_->nth && !lasts)) return std::nullopt;
    if (fired_at_.empty()) fired_at_ = spec.argv[0] + " " + spec.argv[1];
    return fault_->kind;
  }

  ProcessRunner* const base_ = ProcessRunner::Posix();
  mutable Mutex mutex_;
  std::optional<Fault> fault_ ABSL_GUARDED_BY(mutex_);
  int64_t since_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t runs_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string fired_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_FAULTS_FAULTY_PROCESSES_H_
