#include "lib/hypervisor/qmp_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "lib/base/json.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

// Jobs that begin or end between two questions change the graph; they do so rarely.
constexpr int kReadTriesMax = 10;
constexpr std::string_view kFileDriver = "file";

// What hands everything through to the node below, be it on the edge "file" or "backing".
bool IsFilter(std::string_view driver) {
  constexpr std::array<std::string_view, 7> kFilters = {
      "commit_top", "mirror_top",  "copy-on-read", "copy-before-write",
      "throttle",   "preallocate", "compress"};
  return std::find(kFilters.begin(), kFilters.end(), driver) != kFilters.end();
}

bool IsProtocol(std::string_view driver) {
  return driver == kFileDriver || driver == "host_device";
}

const nlohmann::json& Member(const nlohmann::json& json, const char* key) {
  static const nlohmann::json kNone = nlohmann::json::array();
  if (!json.is_object()) return kNone;
  const auto it = json.find(key);
  return it == json.end() ? kNone : *it;
}

std::string Text(const nlohmann::json& json, const char* key) {
  return JsonValue<std::string>(json, key, "");
}

}  // namespace

std::string PathInFilename(const std::string& filename) {
  constexpr std::string_view kJson = "json:";
  if (!filename.starts_with(kJson)) return filename;
  const auto options = ParseJson("filename", filename.substr(kJson.size()));
  if (!options.ok()) return {};
  for (const char* key : {"filename", "file.filename"}) {
    if (const std::string path = Text(*options, key); !path.empty()) return path;
  }
  return Text(Member(*options, "file"), "filename");
}

bool IsFileOfVolume(std::string_view file, std::string_view volume_id) {
  constexpr std::string_view kPrefix = "volume-";
  if (volume_id.empty() || !file.starts_with(kPrefix)) return false;
  file.remove_prefix(kPrefix.size());
  if (!file.starts_with(volume_id)) return false;
  file.remove_prefix(volume_id.size());
  if (file.empty()) return true;
  return file.size() > 1 && file.front() == '.' &&
         file.find_first_not_of("0123456789abcdefABCDEF-", 1) == file.npos;
}

absl::StatusOr<QmpGraph> QmpGraph::Read(QmpClient* qmp) {
  constexpr char kGraph[] = "x-debug-query-block-graph";
  ASSIGN_OR_RETURN(nlohmann::json before, qmp->Execute(kGraph));
  for (int i = 0; i < kReadTriesMax; ++i) {
    ASSIGN_OR_RETURN(const nlohmann::json nodes,
                     qmp->Execute("query-named-block-nodes", {{"flat", true}}));
    ASSIGN_OR_RETURN(const nlohmann::json devices, qmp->Execute("query-block"));
    ASSIGN_OR_RETURN(const nlohmann::json exports, qmp->Execute("query-block-exports"));
    ASSIGN_OR_RETURN(nlohmann::json after, qmp->Execute(kGraph));
    if (before == after) return QmpGraph(qmp->address(), after, nodes, devices, exports);
    before = std::move(after);
  }
  return qmp->Unavailable("its block graph changes all the time");
}

QmpGraph::QmpGraph(std::string address, const nlohmann::json& graph, const nlohmann::json& nodes,
                   const nlohmann::json& devices, const nlohmann::json& exports)
    : address_(std::move(address)) {
  for (const nlohmann::json& json : nodes) {
    const nlohmann::json& cache = Member(json, "cache");
    QmpNode node;
    node.name = Text(json, "node-name");
    node.driver = Text(json, "drv");
    node.filename = Text(json, "file");
    node.size_bytes = JsonValue<int64_t>(Member(json, "image"), "virtual-size", 0);
    node.cache_direct = JsonValue(cache, "direct", false);
    node.cache_no_flush = JsonValue(cache, "no-flush", false);
    node.read_only = JsonValue(json, "ro", false);
    node.detect_zeroes = Text(json, "detect_zeroes");
    nodes_.emplace(node.name, std::move(node));
  }
  std::map<int64_t, std::string> names;  // of nodes
  std::map<int64_t, std::string> jobs;
  for (const nlohmann::json& json : Member(graph, "nodes")) {
    const std::string type = Text(json, "type");
    const auto id = JsonValue<int64_t>(json, "id", -1);
    if (type == "block-driver") names[id] = Text(json, "name");
    if (type == "block-job") jobs[id] = Text(json, "name");
  }
  for (const nlohmann::json& json : Member(graph, "edges")) {
    const auto parent = JsonValue<int64_t>(json, "parent", -1);
    const auto child = nodes_.find(names[JsonValue<int64_t>(json, "child", -1)]);
    if (child == nodes_.end()) continue;
    const std::string edge = Text(json, "name");
    if (const auto above = nodes_.find(names[parent]); above != nodes_.end()) {
      above->second.children[edge] = child->first;
      child->second.parents.push_back(above->first);
    } else if (jobs.contains(parent) && edge == "target") {
      child->second.target = true;
      targets_[jobs[parent]] = child->first;
    }
  }
  const auto use = [&](const std::string& node, std::initializer_list<std::string> users) {
    const auto it = nodes_.find(node);
    if (it == nodes_.end()) return;
    it->second.used = true;
    for (const std::string& user : users) {
      if (!user.empty()) users_.emplace(user, node);
    }
  };
  for (const nlohmann::json& json : exports) use(Text(json, "node-name"), {Text(json, "id")});
  for (const nlohmann::json& json : devices) {
    // The id of a device, or its path: /machine/peripheral/<id>, with another part for virtio.
    const std::string device = Text(json, "qdev");
    constexpr std::string_view kPeripheral = "/machine/peripheral/";
    std::string id;
    if (device.starts_with(kPeripheral)) {
      id = device.substr(kPeripheral.size());
      id = id.substr(0, id.find('/'));
    }
    use(Text(Member(json, "inserted"), "node-name"), {Text(json, "device"), device, id});
  }
}

const QmpNode* QmpGraph::Node(const std::string& name) const {
  const auto it = nodes_.find(name);
  return it == nodes_.end() ? nullptr : &it->second;
}

std::string QmpGraph::TargetOf(const std::string& job_id) const {
  const auto it = targets_.find(job_id);
  return it == targets_.end() ? std::string() : it->second;
}

std::string QmpGraph::PathOf(const QmpNode& node) const {
  const QmpNode* at = &node;
  // Bounded, whatever the peer says.
  for (size_t i = 0; at != nullptr && i <= nodes_.size(); ++i) {
    auto below = at->children.find("file");
    if (below == at->children.end()) below = at->children.find("image");  // blkdebug's
    if (below == at->children.end()) {
      return at->driver == kFileDriver ? PathInFilename(at->filename) : std::string();
    }
    at = Node(below->second);
  }
  return {};
}

absl::Status QmpGraph::Mismatch(const DiskRef& disk, std::string_view what) const {
  return Error(Reason::kHypervisorMismatch,
               fmt::format("QMP at {}: disk {}: {}", address_, disk.disk, what),
               {{"address", address_}, {"disk", disk.disk}});
}

std::string QmpGraph::Named(const std::string& disk) const {
  if (Node(disk) != nullptr) return disk;
  const auto it = users_.find(disk);
  return it == users_.end() ? std::string() : it->second;
}

absl::StatusOr<std::string> QmpGraph::Choose(const std::set<std::string>& roots,
                                             const DiskRef& disk) const {
  if (roots.empty()) return Mismatch(disk, "there is no such node, device or export");
  std::set<std::string> left = roots;
  // Each rule counts only where it leaves something.
  const auto prefer = [&](auto rule) {
    std::set<std::string> kept;
    for (const std::string& name : left) {
      if (rule(nodes_.at(name))) kept.insert(name);
    }
    if (!kept.empty()) left = std::move(kept);
  };
  prefer([](const QmpNode& node) { return node.used; });
  prefer([](const QmpNode& node) { return !node.target; });
  prefer([&](const QmpNode& node) {
    const std::string path = PathOf(node);
    return IsFileOfVolume(path.substr(path.rfind('/') + 1), disk.volume_id);
  });
  if (left.size() > 1) {
    return Mismatch(disk, fmt::format("it can be {} as well as {}", *left.begin(), *left.rbegin()));
  }
  return *left.begin();
}

std::set<std::string> QmpGraph::RootsAbove(const std::string& named) const {
  std::set<std::string> roots;
  std::set<std::string> seen;
  std::vector<std::string> open = {named};
  while (!open.empty()) {
    const std::string at = std::move(open.back());
    open.pop_back();
    if (!seen.insert(at).second) continue;
    const QmpNode& node = nodes_.at(at);
    if (node.parents.empty()) roots.insert(at);
    open.insert(open.end(), node.parents.begin(), node.parents.end());
  }
  return roots;
}

std::set<std::string> QmpGraph::RootsOf(const DiskRef& disk) const {
  std::set<std::string> roots;
  for (const auto& [name, node] : nodes_) {
    if (!node.parents.empty() || (IsProtocol(node.driver) && !node.used)) continue;
    const auto found = DiskBelow(name, disk);
    if (found.ok() && IsFileOfVolume(found->active().file, disk.volume_id)) roots.insert(name);
  }
  return roots;
}

bool QmpGraph::HasChain(const std::string& with, const std::string& without) const {
  return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& named) {
    if (!named.second.parents.empty()) return false;
    const auto found = DiskBelow(named.first, {});
    if (!found.ok()) return false;
    const auto has = [&](const std::string& file) {
      return std::any_of(found->chain.begin(), found->chain.end(),
                         [&](const QmpLayer& layer) { return layer.file == file; });
    };
    return has(with) && !has(without);
  });
}

absl::StatusOr<QmpDisk> QmpGraph::Find(const DiskRef& disk) const {
  std::set<std::string> roots;
  if (const std::string named = Named(disk.disk); !named.empty()) roots = RootsAbove(named);
  // The node of that name is gone with the file it was given to, or is out of use with it.
  if (std::none_of(roots.begin(), roots.end(),
                   [&](const std::string& root) { return nodes_.at(root).used; })) {
    roots.merge(RootsOf(disk));
  }
  ASSIGN_OR_RETURN(const std::string root, Choose(roots, disk));
  return DiskBelow(root, disk);
}

absl::StatusOr<QmpDisk> QmpGraph::DiskBelow(const std::string& root, const DiskRef& disk) const {
  QmpDisk result;
  result.root = root;
  std::string at = root;
  for (size_t i = 0; i <= nodes_.size(); ++i) {
    const QmpNode& node = nodes_.at(at);
    const auto backing = node.children.find("backing");
    if (IsFilter(node.driver)) {
      const auto file = node.children.find("file");
      if (file == node.children.end() && backing == node.children.end()) break;
      at = file != node.children.end() ? file->second : backing->second;
      continue;
    }
    const std::string path = PathOf(node);
    const size_t slash = path.rfind('/');
    if (!path.starts_with('/') || slash + 1 == path.size()) {
      return Mismatch(disk, fmt::format("{} ({}, {}) is no file that was opened by its whole path",
                                        node.name, node.driver, node.filename));
    }
    result.chain.push_back({.node = node.name,
                            .driver = node.driver,
                            .directory = path.substr(0, slash),
                            .file = path.substr(slash + 1)});
    if (backing == node.children.end()) return result;
    at = backing->second;
  }
  return Mismatch(disk, "its nodes are no chain");
}

}  // namespace cairn
