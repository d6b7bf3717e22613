// In place of an operation whose journal cannot be read.
#include <utility>

#include "lib/base/status.h"
#include "lib/engine/work.h"

namespace cairn {
namespace {

class Unreadable : public WorkOn<DeleteVolumeRequest> {
 public:
  Unreadable(Core& core, const std::string& operation_id, const std::string& volume_id,
             absl::Status why)
      : WorkOn(core, DeleteVolumeRequest{.volume_id = volume_id}, operation_id),
        why_(std::move(why)) {}

  absl::StatusOr<Admission> Admit() override { return why_; }
  absl::StatusOr<Plan> MakePlan() override { return why_; }
  void Succeeded(const Plan&, Transaction&) override {}
  void Abandoned(const absl::Status& error, Transaction& records) override {
    ChangeVolume(r().volume_id, records,
                 [&](VolumeRecord& v) { Disable(v, "a change of it", error); });
  }

 private:
  const absl::Status why_;
};

}  // namespace

std::unique_ptr<Work> MakeUnreadable(Core& core, const std::string& operation_id,
                                     const std::string& volume_id, const absl::Status& why) {
  return std::make_unique<Unreadable>(core, operation_id, volume_id, why);
}

}  // namespace cairn
