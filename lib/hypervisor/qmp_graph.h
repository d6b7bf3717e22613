// QEMU's block nodes at one moment, and which of them are a disk.
//
// A disk as it is opened: its user (a device or an export), perhaps filters, the node of the active
// file's format, and from there along the edges "backing" the other layers; each of these stands on
// the node of its file. Names of nodes stay with their files, so a disk is looked for by where a
// name leads to, upwards. Plain values.
//
//   ASSIGN_OR_RETURN(QmpGraph graph, QmpGraph::Read(&qmp));
//   ASSIGN_OR_RETURN(QmpDisk disk, graph.Find({"disk0", volume_id}));
#ifndef CAIRN_LIB_HYPERVISOR_QMP_GRAPH_H_
#define CAIRN_LIB_HYPERVISOR_QMP_GRAPH_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/hypervisor/hypervisor.h"
#include "lib/hypervisor/qmp_client.h"

namespace cairn {

// The path in a file node's name: itself, or in the pseudo-protocol that carries options.
std::string PathInFilename(const std::string& filename);

struct QmpNode {
  std::string name;
  std::string driver;
  std::string filename;  // QEMU's words: a path, or "json:{...}"
  int64_t size_bytes = 0;
  // How it was opened, as far as QEMU tells.
  bool cache_direct = false;
  bool cache_no_flush = false;
  bool read_only = false;
  std::string detect_zeroes;

  std::map<std::string, std::string> children;  // by the edge: "file", "backing"
  std::vector<std::string> parents;             // nodes only
  bool used = false;                            // by a device or an export
  bool target = false;                          // of a job
};

// A file of a disk.
struct QmpLayer {
  std::string node;
  std::string driver;  // "raw", "qcow2"; "file" where no format stands on the file
  std::string directory;
  std::string file;  // a bare name
  std::string path() const { return directory + "/" + file; }
};

struct QmpDisk {
  std::string root;             // what the user has: the active node, or a filter on it
  std::vector<QmpLayer> chain;  // from the active file down; never empty
  const QmpLayer& active() const { return chain.front(); }
};

class QmpGraph {
 public:
  static absl::StatusOr<QmpGraph> Read(QmpClient* qmp);
  // Of what QMP answered to x-debug-query-block-graph, query-named-block-nodes, query-block and
  // query-block-exports. Whatever is not as QEMU writes it is left out.
  QmpGraph(std::string address, const nlohmann::json& graph, const nlohmann::json& nodes,
           const nlohmann::json& devices, const nlohmann::json& exports);

  // HYPERVISOR_MISMATCH when no disk is found, or several.
  absl::StatusOr<QmpDisk> Find(const DiskRef& disk) const;

  // True when some chain has a file of the name `with`, and none of the name `without`.
  bool HasChain(const std::string& with, const std::string& without) const;

  const std::map<std::string, QmpNode>& nodes() const { return nodes_; }
  // Null when there is none of that name.
  const QmpNode* Node(const std::string& name) const;
  // The file that a node is of, found below it; empty when it has none.
  std::string PathOf(const QmpNode& node) const;
  // What the job copies to; empty when there is no such job.
  std::string TargetOf(const std::string& job_id) const;

 private:
  // The topmost nodes that stand on the named one.
  std::set<std::string> RootsAbove(const std::string& named) const;
  // The topmost nodes that have a file of the volume active.
  std::set<std::string> RootsOf(const DiskRef& disk) const;
  // The node that was meant by `disk`; empty when no such name is known.
  std::string Named(const std::string& disk) const;
  // Among nodes without parents that may all be meant.
  absl::StatusOr<std::string> Choose(const std::set<std::string>& roots, const DiskRef& disk) const;
  absl::StatusOr<QmpDisk> DiskBelow(const std::string& root, const DiskRef& disk) const;
  absl::Status Mismatch(const DiskRef& disk, std::string_view what) const;

  std::string address_;
  std::map<std::string, QmpNode> nodes_;
  std::map<std::string, std::string> users_;    // nodes by name of device or export
  std::map<std::string, std::string> targets_;  // nodes by job
};

// True for the bare names that files of a volume have: "volume-<id>", also with a suffix "." of
// hexadecimal digits and hyphens.
bool IsFileOfVolume(std::string_view file, std::string_view volume_id);

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_QMP_GRAPH_H_
