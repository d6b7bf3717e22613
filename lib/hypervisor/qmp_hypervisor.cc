#include "lib/hypervisor/qmp_hypervisor.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lib/base/status.h"

namespace cairn {

std::string QmpNodeName(std::string_view path) {
  // FNV-1a: the same in each build and on each host.
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : path) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  return fmt::format("{}{:016x}", kQmpNodePrefix, hash);
}

nlohmann::json QmpOptionsLike(const QmpNode& present, std::string_view driver,
                              const std::string& path) {
  nlohmann::json options = {
      {"driver", driver},
      // What the guest gives back is given back to the share; QEMU does not tell how it was.
      {"discard", "unmap"},
      {"cache", {{"direct", present.cache_direct}, {"no-flush", present.cache_no_flush}}}};
  if (!present.detect_zeroes.empty()) options["detect-zeroes"] = present.detect_zeroes;
  if (driver == "file") {
    options["filename"] = path;
  } else {
    options["file"] = {{"driver", "file"}, {"filename", path}};
  }
  return options;
}

absl::StatusOr<std::unique_ptr<Hypervisor>> QmpHypervisor::Connect(
    const HypervisorAddress& address, const HypervisorOptions& options) {
  ASSIGN_OR_RETURN(auto qmp, QmpClient::Connect(address.address, options));
  return std::unique_ptr<Hypervisor>(new QmpHypervisor(std::move(qmp), options));
}

absl::Status QmpHypervisor::Mismatch(const DiskRef& disk, std::string_view what) const {
  return Error(Reason::kHypervisorMismatch,
               fmt::format("QMP at {}: disk {}: {}", qmp_->address(), disk.disk, what),
               {{"address", qmp_->address()}, {"disk", disk.disk}});
}

absl::Status QmpHypervisor::Failed(const DiskRef& disk, std::string_view command,
                                   std::string_view what) const {
  return Error(Reason::kHypervisorFailed,
               fmt::format("QMP at {}: disk {}: {}", qmp_->address(), disk.disk, what),
               {{"address", qmp_->address()}, {"command", std::string(command)}});
}

absl::StatusOr<QmpDisk> QmpHypervisor::FindDisk(const QmpGraph& graph, const DiskRef& disk) {
  ASSIGN_OR_RETURN(QmpDisk found, graph.Find(disk));
  for (const QmpLayer& layer : found.chain) {
    if (layer.directory != found.active().directory) {
      return Mismatch(disk, fmt::format("its files are not in one directory: {}, {}",
                                        found.active().path(), layer.path()));
    }
  }
  return found;
}

absl::StatusOr<QmpDisk> QmpHypervisor::FindDisk(const DiskRef& disk) {
  ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
  return FindDisk(graph, disk);
}

absl::StatusOr<DiskState> QmpHypervisor::Look(const DiskRef& disk) {
  ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
  ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(graph, disk));
  DiskState state;
  state.directory = found.active().directory;
  for (const QmpLayer& layer : found.chain) state.files.push_back(layer.file);
  state.size_bytes = graph.Node(found.active().node)->size_bytes;
  return state;
}

absl::Status QmpHypervisor::Resize(const DiskRef& disk, const DiskResize& resize) {
  ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
  ASSIGN_OR_RETURN(const QmpDisk found, FindDisk(graph, disk));
  if (found.active().file != resize.file) {
    return Mismatch(disk, fmt::format("{} is active, not {}", found.active().file, resize.file));
  }
  const int64_t present = graph.Node(found.active().node)->size_bytes;
  if (present == resize.size_bytes) return absl::OkStatus();
  // QEMU would cut the end off.
  if (resize.size_bytes < present) {
    return Failed(disk, "block_resize",
                  fmt::format("cannot be made smaller: has {} bytes", present));
  }
  // Through the filters on it, so that its user is told.
  return qmp_->Execute("block_resize", {{"node-name", found.root}, {"size", resize.size_bytes}})
      .status();
}

void QmpHypervisor::RemoveNode(const std::string& name) {
  // Best effort: what is left is taken away by the next try.
  qmp_->Execute("blockdev-del", {{"node-name", name}}).status().IgnoreError();
}

absl::Status QmpHypervisor::RemoveUnused(
    const std::function<bool(const QmpNode& node, const std::string& path)>& wanted) {
  std::set<std::string> tried;
  for (;;) {
    ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
    const auto& nodes = graph.nodes();
    const auto it = std::find_if(nodes.begin(), nodes.end(), [&](const auto& named) {
      const QmpNode& node = named.second;
      return node.parents.empty() && !node.used && !tried.contains(node.name) &&
             wanted(node, graph.PathOf(node));
    });
    if (it == nodes.end()) return absl::OkStatus();
    tried.insert(it->first);
    const auto removed = qmp_->Execute("blockdev-del", {{"node-name", it->first}});
    if (HasReason(removed.status(), Reason::kHypervisorUnavailable)) return removed.status();
  }
}

absl::Status QmpHypervisor::RemoveLeftovers(const DiskRef& disk) {
  ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
  const auto found = graph.Find(disk);
  // Without the disk there is no saying what does not belong to it.
  if (!found.ok()) return absl::OkStatus();
  return RemoveUnused([&](const QmpNode& node, const std::string& path) {
    if (node.name == found->root || !node.name.starts_with(kQmpNodePrefix)) return false;
    return IsFileOfVolume(path.substr(path.rfind('/') + 1), disk.volume_id);
  });
}

absl::StatusOr<std::string> QmpHypervisor::AddNode(const QmpGraph& graph, const std::string& path,
                                                   nlohmann::json options) {
  const std::string name = QmpNodeName(path);
  if (const QmpNode* node = graph.Node(name); node != nullptr) {
    // In use it stays, and the name is refused below.
    if (node->parents.empty() && !node->used) RemoveNode(name);
  }
  options["node-name"] = name;
  RETURN_IF_ERROR(qmp_->Execute("blockdev-add", options).status());
  return name;
}

absl::StatusOr<bool> QmpHypervisor::IsSwitched(const QmpDisk& found,
                                               const DiskSwitch& wanted) const {
  const std::string& active = found.active().file;
  if (active == wanted.change.file) return true;
  if (active == wanted.change.backing_file) return false;
  return Mismatch(wanted.disk, fmt::format("{} is active, neither {} nor {}", active,
                                           wanted.change.backing_file, wanted.change.file));
}

absl::StatusOr<QmpHypervisor::Overlay> QmpHypervisor::AddOverlay(const QmpGraph& graph,
                                                                 const QmpDisk& disk,
                                                                 const std::string& file) {
  const QmpLayer& active = disk.active();
  const std::string path = active.directory + "/" + file;
  nlohmann::json options = QmpOptionsLike(*graph.Node(active.node), "qcow2", path);
  // Not what its header names: it is put on the node that is there.
  options["backing"] = nullptr;
  ASSIGN_OR_RETURN(std::string node, AddNode(graph, path, std::move(options)));
  return Overlay{active.node, std::move(node)};
}

absl::Status QmpHypervisor::SwitchToLayers(const std::vector<DiskSwitch>& switches) {
  ASSIGN_OR_RETURN(const QmpGraph graph, QmpGraph::Read(qmp_.get()));
  std::vector<QmpDisk> disks;
  size_t switched = 0;
  for (const DiskSwitch& wanted : switches) {
    ASSIGN_OR_RETURN(QmpDisk found, FindDisk(graph, wanted.disk));
    ASSIGN_OR_RETURN(const bool is_switched, IsSwitched(found, wanted));
    if (is_switched) ++switched;
    disks.push_back(std::move(found));
  }
  if (switched == switches.size()) return absl::OkStatus();
  if (switched != 0) {
    return Mismatch(switches.front().disk,
                    fmt::format("{} of the {} disks have switched: it would not be one instant",
                                switched, switches.size()));
  }
  for (const DiskSwitch& wanted : switches) {
    if (wanted.change.quiesce) {
      return Failed(wanted.disk, "guest-fsfreeze-freeze",
                    "quiescing needs the guest agent, which is reached through libvirt only");
    }
  }
  absl::Status status;
  std::vector<Overlay> overlays;
  nlohmann::json actions = nlohmann::json::array();
  for (size_t i = 0; status.ok() && i < switches.size(); ++i) {
    auto overlay = AddOverlay(graph, disks[i], switches[i].change.file);
    status = overlay.status();
    if (!status.ok()) break;
    actions.push_back({{"type", "blockdev-snapshot"},
                       {"data", {{"node", overlay->below}, {"overlay", overlay->node}}}});
    overlays.push_back(*std::move(overlay));
  }
  if (status.ok()) status = qmp_->Execute("transaction", {{"actions", actions}}).status();
  if (!status.ok()) {
    for (const Overlay& overlay : overlays) RemoveNode(overlay.node);
  }
  return status;
}

absl::Status QmpHypervisor::CancelJob(const DiskRef& disk, const std::string& job_id) {
  ASSIGN_OR_RETURN(std::optional<QmpJob> job, FindJob(qmp_.get(), job_id));
  if (job.has_value() && !job->concluded()) {
    const auto cancelled = qmp_->Execute("block-job-cancel", {{"device", job_id}, {"force", true}});
    // One that ends at this moment refuses, and ends.
    ASSIGN_OR_RETURN(job, WaitForJob(qmp_.get(), job_id, options_.answer_timeout));
    if (job.has_value() && !job->concluded()) {
      RETURN_IF_ERROR(cancelled.status());
      return qmp_->Unavailable(fmt::format("job {} does not end: it is {}", job_id, job->status));
    }
  }
  if (job.has_value()) {
    const absl::Status ended = EndJob(qmp_.get(), *job);
    if (HasReason(ended, Reason::kHypervisorUnavailable)) return ended;
  }
  return RemoveLeftovers(disk);
}

}  // namespace cairn
