// A QEMU (or qemu-storage-daemon) that is commanded over QMP.
//
// Holds its connection until it is destroyed. Who runs the machine sees nodes named "cairn-<16 hex
// digits>", after the path of their file, and jobs with the names that they were given. Whether
// something was done is told by the block graph alone; a job only by its error.
//
//   ASSIGN_OR_RETURN(auto hypervisor, QmpHypervisor::Connect(address, {}));
#ifndef CAIRN_LIB_HYPERVISOR_QMP_HYPERVISOR_H_
#define CAIRN_LIB_HYPERVISOR_QMP_HYPERVISOR_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/hypervisor/hypervisor.h"
#include "lib/hypervisor/qmp_client.h"
#include "lib/hypervisor/qmp_graph.h"
#include "lib/hypervisor/qmp_job.h"

namespace cairn {

class QmpHypervisor final : public Hypervisor {
 public:
  static absl::StatusOr<std::unique_ptr<Hypervisor>> Connect(const HypervisorAddress& address,
                                                             const HypervisorOptions& options);

  absl::StatusOr<DiskState> Look(const DiskRef& disk) override;
  absl::Status SwitchToLayers(const std::vector<DiskSwitch>& switches) override;
  absl::StatusOr<JobState> Merge(const DiskRef& disk, const LayerMerge& merge,
                                 const std::string& job_id, absl::Duration patience) override;
  absl::StatusOr<JobState> Mirror(const DiskRef& disk, const DiskMove& move,
                                  const std::string& target_directory, const std::string& job_id,
                                  absl::Duration patience) override;
  absl::Status FinishMirror(const DiskRef& disk, const DiskMove& move,
                            const std::string& target_directory,
                            const std::string& job_id) override;
  absl::Status CancelJob(const DiskRef& disk, const std::string& job_id) override;
  absl::Status Resize(const DiskRef& disk, const DiskResize& resize) override;

 private:
  struct Overlay {
    std::string below;  // the node that is active now
    std::string node;   // what takes its place
  };

  QmpHypervisor(std::unique_ptr<QmpClient> qmp, const HypervisorOptions& options)
      : qmp_(std::move(qmp)), options_(options) {}

  // The disk as it is now, in one directory.
  absl::StatusOr<QmpDisk> FindDisk(const DiskRef& disk);
  absl::StatusOr<QmpDisk> FindDisk(const QmpGraph& graph, const DiskRef& disk);
  absl::Status Mismatch(const DiskRef& disk, std::string_view what) const;
  absl::Status Failed(const DiskRef& disk, std::string_view command, std::string_view what) const;

  // True: switched already. False: to be switched.
  absl::StatusOr<bool> IsSwitched(const QmpDisk& found, const DiskSwitch& wanted) const;
  absl::StatusOr<Overlay> AddOverlay(const QmpGraph& graph, const QmpDisk& disk,
                                     const std::string& file);
  // Adds a node with these options, named after `path`. One that an interrupted try left is
  // replaced.
  absl::StatusOr<std::string> AddNode(const QmpGraph& graph, const std::string& path,
                                      nlohmann::json options);
  void RemoveNode(const std::string& name);
  // Removes the nodes that nothing uses and that `wanted` is true of, top down. What belongs to
  // somebody else stays.
  absl::Status RemoveUnused(
      const std::function<bool(const QmpNode& node, const std::string& path)>& wanted);

  absl::StatusOr<bool> IsMerged(const DiskRef& disk, const QmpDisk& found,
                                const LayerMerge& merge) const;
  // Makes durable what was written to that file, in QEMU's own caches and beyond.
  absl::Status Flush(const DiskRef& disk, const std::string& file);
  // Lets a job that has moved all data change the chain: nothing of the data can be lost any more.
  absl::Status FinalizeMerge(const DiskRef& disk, const LayerMerge& merge,
                             const std::string& job_id);
  // Closes what is left open of the file that left the chain.
  absl::Status CloseMerged(const LayerMerge& merge);
  absl::Status StartMerge(const DiskRef& disk, const QmpDisk& found, const LayerMerge& merge,
                          const std::string& job_id);
  absl::Status StartMirror(const DiskRef& disk, const DiskMove& move,
                           const std::string& target_directory, const std::string& job_id);
  // Brings a mirror that is ready to where it waits to be finalized.
  absl::StatusOr<std::optional<QmpJob>> Complete(const std::string& job_id, const QmpJob& job);
  // True when the disk is in `target_directory`; what was left behind is closed then.
  absl::StatusOr<bool> HasMoved(const DiskRef& disk, const DiskMove& move,
                                const std::string& target_directory);
  // Of the mirror that ended: OK when the disk has moved.
  absl::Status MirrorEnded(const DiskRef& disk, const DiskMove& move,
                           const std::string& target_directory, const std::optional<QmpJob>& job);
  // Closes what was opened for a disk and is not part of it.
  absl::Status RemoveLeftovers(const DiskRef& disk);

  const std::unique_ptr<QmpClient> qmp_;
  const HypervisorOptions options_;
};

// A name for the node of a file: the same each time, within QEMU's 31 characters.
std::string QmpNodeName(std::string_view path);
constexpr std::string_view kQmpNodePrefix = "cairn-";

// The options that a file is opened with as the other one is: as far as QEMU tells.
nlohmann::json QmpOptionsLike(const QmpNode& present, std::string_view driver,
                              const std::string& path);

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_QMP_HYPERVISOR_H_
