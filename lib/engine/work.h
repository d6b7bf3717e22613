// What one kind of operation does: its checks, its plan, and what it changes in the records. The
// conductor does the rest: order, journal, steps, undo, recovery. One class a kind, in work/.
//
// After a restart the object is made anew from the journalled request, so everything that must
// survive is in the request (whose ids Admit fills in), in the records or in the plan.
#ifndef CAIRN_LIB_ENGINE_WORK_H_
#define CAIRN_LIB_ENGINE_WORK_H_

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/catalog/catalog.h"
#include "lib/chain/plan.h"
#include "lib/engine/core.h"
#include "lib/engine/requests.h"
#include "lib/exec/lock_queue.h"

namespace cairn {

struct Admission {
  std::string volume_id;       // the volume that it works on
  std::string target;          // what it is about: the volume's, snapshot's or attachment's id
  std::vector<LockKey> locks;  // volume ids
  Transaction records;         // appear together with the operation
  // Nothing to do on the share: the operation is recorded as ended, with `records`.
  bool immediate = false;
  // Another operation does, or has done, this very thing: its id. It is the answer while it is
  // kept.
  std::string same_operation;
};

class Work {
 public:
  virtual ~Work() = default;

  virtual const Request& request() const = 0;

  // Checks fields and states from memory and fills in what the caller left open. Changes nothing.
  virtual absl::StatusOr<Admission> Admit() = 0;

  // The share on whose lane it is planned; empty: none is needed.
  virtual std::string HomeShare() const { return {}; }
  // Others that it also works on. Such work has threads of its own, so that an outage of one does
  // not hold up the others'.
  virtual std::set<std::string> OtherShares() const { return {}; }
  // With the locks held, on the lane: looks at the files, checks states again (what was ahead in
  // the queue may have changed them), and says what to do.
  virtual absl::StatusOr<Plan> MakePlan() { return Plan{}; }

  // For a request that is only to be checked, where it names what no record knows: files that others
  // have made. On the lane, without locks, after Admit; MakePlan looks at them again.
  virtual bool NamesFiles() const { return false; }
  virtual absl::Status CheckFiles() { return absl::OkStatus(); }

  // Whether MakePlan only looks at a few files of the home share. When nothing is ahead of such work
  // in the queue, it is journalled once, with its plan. Its admitted records are not in the catalog
  // then while it is planned: they are in the `records` that Began is given.
  virtual bool PlansAtOnce() const { return false; }

  // What changes in the records: with the journalled plan; at the point of no return; at the end.
  virtual void Began(Transaction&) {}
  // When machines have changed disks the conductor records it, as it happens.
  virtual void Crossed(const Plan&, Transaction&) {}
  virtual void Succeeded(const Plan& plan, Transaction& records) = 0;
  // It could not be done, and nothing has changed: the records are as before Began.
  virtual void Failed(const absl::Status& /*error*/, Transaction&) {}
  // An administrator gave it up past its point of no return, or while it could not be undone: the
  // records say that nobody knows what the files hold. Touches no file.
  virtual void Abandoned(const absl::Status& error, Transaction& records) {
    Failed(error, records);
  }
};

// `operation_id`: for current_operation of the records.
std::unique_ptr<Work> MakeWork(Core& core, Request request, const std::string& operation_id);

// What stands in for an operation whose journal cannot be read: it cannot be planned, for the reason
// `why`, and when it is abandoned its volume is disabled.
std::unique_ptr<Work> MakeUnreadable(Core& core, const std::string& operation_id,
                                     const std::string& volume_id, const absl::Status& why);

// Each kind's constructor, in work/<kind>.cc.
std::unique_ptr<Work> MakeCreateVolume(Core&, CreateVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeUpdateVolume(Core&, UpdateVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeDeleteVolume(Core&, DeleteVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeExtendVolume(Core&, ExtendVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeMigrateVolume(Core&, MigrateVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeAttachVolume(Core&, AttachVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeDetachVolume(Core&, DetachVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeAdoptVolume(Core&, AdoptVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeImportVolume(Core&, ImportVolumeRequest, const std::string&);
std::unique_ptr<Work> MakeCreateSnapshot(Core&, CreateSnapshotRequest, const std::string&);
std::unique_ptr<Work> MakeUpdateSnapshot(Core&, UpdateSnapshotRequest, const std::string&);
std::unique_ptr<Work> MakeDeleteSnapshot(Core&, DeleteSnapshotRequest, const std::string&);
std::unique_ptr<Work> MakeRevertToSnapshot(Core&, RevertToSnapshotRequest, const std::string&);
std::unique_ptr<Work> MakeMergeLayers(Core&, MergeLayersRequest, const std::string&);

// What most kinds share: the core, the request with its ids, and changes of a record by id.
template <typename R>
class WorkOn : public Work {
 public:
  WorkOn(Core& core, R request, std::string operation_id)
      : core_(core), operation_id_(std::move(operation_id)), request_(std::move(request)) {}
  const Request& request() const final { return request_; }

 protected:
  R& r() { return std::get<R>(request_); }
  const R& r() const { return std::get<R>(request_); }

  // Where the volume is; empty when there is none.
  std::string ShareOf(const std::string& volume_id) const {
    const VolumePtr volume = core_.catalog().FindVolume(volume_id);
    return volume == nullptr ? std::string() : volume->share;
  }

  // Puts a changed copy of the record, if it is there; or changes the one that is put already.
  template <typename F>
  void ChangeVolume(const std::string& id, Transaction& records, F&& change) const {
    Change(
        id, records.put_volumes, [&] { return core_.catalog().FindVolume(id); }, change);
  }
  template <typename F>
  void ChangeSnapshot(const std::string& id, Transaction& records, F&& change) const {
    Change(
        id, records.put_snapshots, [&] { return core_.catalog().FindSnapshot(id); }, change);
  }
  // While the operation runs the volume says so, and at its end it is as `state` says.
  void Enter(const std::string& id, VolumeState state, Transaction& records) const {
    ChangeVolume(id, records, [&](VolumeRecord& v) {
      v.state = state;
      v.current_operation = operation_id_;
    });
  }
  void Settle(VolumeRecord& volume) const {
    volume.state = SettledState(volume);
    volume.state_reason.clear();
    if (volume.current_operation == operation_id_) volume.current_operation.clear();
  }
  void Leave(const std::string& id, Transaction& records) const {
    ChangeVolume(id, records, [&](VolumeRecord& v) { Settle(v); });
  }
  // The files that the plan has removed leave the chain, and what each snapshot holds follows: it is the
  // file below its layer. The chain tells, not the plan: an earlier try may have merged already.
  void TakeOutRemoved(const Plan& plan, VolumeRecord& volume, Transaction& records) const {
    std::set<std::string> removed;
    for (const Step& step : plan.steps) {
      if (const auto* remove = std::get_if<RemoveFilesStep>(&step)) {
        removed.insert(remove->files.begin(), remove->files.end());
      }
    }
    std::vector<std::string>& chain = volume.chain;
    std::erase_if(chain, [&](const std::string& file) { return removed.count(file) != 0; });
    if (!chain.empty()) volume.active_file = chain.back();
    const std::set<std::string> gone(records.remove_snapshots.begin(),
                                     records.remove_snapshots.end());
    for (const SnapshotPtr& snapshot : core_.catalog().SnapshotsOf(volume.id)) {
      if (gone.count(snapshot->id) != 0) continue;
      const auto layer = std::find(chain.begin(), chain.end(), snapshot->layer);
      if (layer == chain.begin() || layer == chain.end()) continue;
      const std::string& file = *std::prev(layer);
      if (file == snapshot->file) continue;
      ChangeSnapshot(snapshot->id, records, [&](SnapshotRecord& s) { s.file = file; });
    }
  }
  // After an abandoned change (`what`: "its revert") nobody knows what the volume's files hold.
  void Disable(VolumeRecord& volume, std::string_view what, const absl::Status& error) const {
    Settle(volume);
    volume.state = VolumeState::kError;
    volume.state_reason = fmt::format("{} was abandoned half-way: {}", what, Describe(error));
  }

  Core& core_;
  const std::string operation_id_;

 private:
  template <typename Record, typename Find, typename F>
  void Change(const std::string& id, std::vector<Record>& puts, Find&& find, F&& change) const {
    auto put = std::find_if(puts.begin(), puts.end(), [&](const Record& r) { return r.id == id; });
    if (put == puts.end()) {
      auto present = find();
      if (present == nullptr) return;
      put = puts.insert(put, *present);
    }
    change(*put);
    put->update_time = core_.clock().Now();
  }

  Request request_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_WORK_H_
