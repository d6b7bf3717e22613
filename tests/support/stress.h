// Many callers doing mixed work on many volumes at once, through any interface to a server or an
// engine: no refusal but those that the work explains, no update lost, every chain whole.
#ifndef CAIRN_TESTS_SUPPORT_STRESS_H_
#define CAIRN_TESTS_SUPPORT_STRESS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/format.h"
#include "lib/base/mutex.h"

namespace cairn::testing {

// A volume as the interface under test shows it.
struct SeenVolume {
  bool settled = false;  // AVAILABLE, and no operation is at work on it
  int64_t size_bytes = 0;
  int64_t revision = 0;
  std::map<std::string, std::string> labels;
  std::string directory;  // of its share
  FileFormat active_format = FileFormat::kRaw;
  std::vector<std::string> chain;                // oldest first
  std::map<std::string, std::string> snapshots;  // the layer that was made for each
};

// One caller's way to the system under test. Changes wait for their operation's end. Used by one
// thread.
class StressTarget {
 public:
  virtual ~StressTarget() = default;
  virtual absl::Status Create(const std::string& volume_id, VolumeFormat format,
                              int64_t size_bytes) = 0;
  virtual absl::Status Delete(const std::string& volume_id) = 0;
  virtual absl::Status Extend(const std::string& volume_id, int64_t size_bytes) = 0;
  // Fails when the volume is no longer of that revision.
  virtual absl::Status SetLabels(const std::string& volume_id, int64_t revision,
                                 const std::map<std::string, std::string>& labels) = 0;
  virtual absl::StatusOr<std::string> Snapshot(const std::string& volume_id) = 0;
  virtual absl::Status DeleteSnapshot(const std::string& snapshot_id) = 0;
  virtual absl::Status Revert(const std::string& snapshot_id) = 0;
  virtual absl::StatusOr<std::string> NewestSnapshot(const std::string& volume_id) = 0;
  virtual absl::Status ListAvailable() = 0;
  virtual absl::StatusOr<SeenVolume> Look(const std::string& volume_id) = 0;
};

class Stress {
 public:
  // `make_target` gives each caller its own.
  using MakeTarget = std::function<std::unique_ptr<StressTarget>()>;
  Stress(uint64_t seed, MakeTarget make_target);

  // Works for that long, or until something fails; then looks at every volume, at its files too.
  void Run(absl::Duration time);

 private:
  static constexpr int kCallers = 64;
  static constexpr int kVolumes = 200;
  // The last ones come and go; the others stay, so that everything done to them can be counted.
  static constexpr int kComeAndGo = 20;

  // What the callers know of one volume that stays.
  struct Known {
    std::string id;
    Mutex mutex;
    int updates ABSL_GUARDED_BY(mutex) = 0;
    std::set<std::string> snapshots ABSL_GUARDED_BY(mutex);
  };

  void Expect(const absl::Status& status);
  void Work(StressTarget& target, std::mt19937_64& dice);
  absl::Status Create(StressTarget& target, const std::string& id);
  void Snapshot(StressTarget& target, Known& volume, bool stays);
  void DeleteSnapshot(StressTarget& target, Known& volume, std::mt19937_64& dice);
  void CountUp(StressTarget& target, Known& volume, bool stays);
  void Check(StressTarget& target, Known& known);

  const uint64_t seed_;
  const MakeTarget make_target_;
  Known volumes_[kVolumes];
  std::atomic<int64_t> done_{0};
};

// CAIRN_STRESS_SECONDS, or `otherwise`.
absl::Duration StressTime(int otherwise);

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SUPPORT_STRESS_H_
