// What the tests of lib/hypervisor share: a real QEMU with a volume's disk, and someone who writes
// to it.
#ifndef CAIRN_TESTS_UNIT_HYPERVISOR_MACHINE_H_
#define CAIRN_TESTS_UNIT_HYPERVISOR_MACHINE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "lib/hypervisor/hypervisor.h"
#include "lib/hypervisor/qmp_client.h"
#include "lib/os/process.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {

inline constexpr char kVolume[] = "6f0c1f0e-5a52-4d63-9a53-0a3f1a2b3c4d";
inline constexpr int64_t kDiskBytes = 16 << 20;
// For what takes moments.
inline constexpr absl::Duration kLong = absl::Seconds(30);
using Phase = JobState::Phase;

// "volume-<id>" for 0, else with the suffix of that layer.
std::string LayerName(int layer, const std::string& volume = kVolume);

// A QEMU process that has its QMP socket in a directory of its own. Killed and reaped at the end.
class Machine {
 public:
  // qemu-storage-daemon or qemu-system-x86_64 with these further arguments.
  Machine(const std::string& program, std::vector<std::string> arguments);

  const std::string& directory() const { return dir_.path(); }
  std::string qmp_address() const { return "unix:" + dir_.File("qmp"); }
  std::string nbd_socket() const { return dir_.File("nbd"); }
  int pid() const { return process_->pid(); }
  // Ends it at once, as a failing host does.
  void Kill();

  std::unique_ptr<Hypervisor> Connect(HypervisorOptions options = {}) const;
  // A question of the test's own, on another socket. Null when it was refused.
  nlohmann::json Ask(const std::string& command,
                     const nlohmann::json& arguments = nlohmann::json::object()) const;
  // How many nodes stand on that file, or are it.
  int NodesOf(const std::string& path) const;

 private:
  TempDir dir_;
  std::unique_ptr<Process> process_;
};

// The arguments of a storage daemon that exports these nodes over NBD, as "exp-<node>".
std::vector<std::string> NbdOf(const std::vector<std::string>& nodes);
// With these disks (node and what blockdev-add is given: one or several), exported. It has a throttle group "slow".
Machine StorageDaemon(const std::vector<std::pair<std::string, nlohmann::json>>& disks);
// Lifts the limit of the group "slow".
void Hasten(const Machine& machine);

std::vector<std::string> FilesOf(Hypervisor& hypervisor, const DiskRef& disk);

// Files of a volume in one directory, made by qemu-img: a base and qcow2 layers on it, each with
// some content of its own.
class Volume {
 public:
  explicit Volume(std::string directory, std::string id = kVolume,
                  FileFormat base = FileFormat::kRaw)
      : directory_(std::move(directory)), id_(std::move(id)), base_(base) {}

  // The base and `layers` on it: the active file is the last.
  void Make(int layers, bool with_content = true) const;
  // One more, on the last; nothing in it.
  void MakeLayer(int layer) const;

  std::string Path(int layer) const { return directory_ + "/" + LayerName(layer, id_); }
  FileFormat Format(int layer) const { return layer == 0 ? base_ : FileFormat::kQcow2; }
  // What blockdev-add is given for the chain that ends with `active`: one node with all that is
  // below it.
  nlohmann::json Blockdev(int active, const std::string& node) const;
  // Each layer as a node of its own, from the base up, over a file that is in the group "slow".
  nlohmann::json SlowBlockdevs(int active, const std::string& node) const;
  LayerSwitch Switch(int to) const;
  // The header's own words: "name format", or "" when it names none.
  std::string BackingOf(int layer) const;
  // Content of the chain from that file on, read by qemu-img. Nothing may write to it.
  std::string Content(int layer) const;
  // qemu-img check of every qcow2 file of the chain.
  void Check(int layer) const;

 private:
  const std::string directory_;
  const std::string id_;
  const FileFormat base_;
};

// Writes known patterns over NBD until it is stopped, as a guest does, and remembers what was
// answered as done.
class Writer {
 public:
  // Begins with what the disk has.
  Writer(const std::string& socket, const std::string& export_name);
  ~Writer() { Stop(); }
  // Everything it was answered is durable then.
  void Stop();
  // Waits for that many further writes; false when they did not come.
  bool Progresses(int writes);
  // Of a writer that was stopped.
  const std::string& content() const { return content_; }
  const std::string& error() const { return error_; }

 private:
  void Work();

  struct Connection;
  std::shared_ptr<Connection> connection_;
  std::string content_;
  std::string error_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> writes_ = 0;
  std::thread thread_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_HYPERVISOR_MACHINE_H_
