#include "tests/unit/hypervisor/machine.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libnbd.h>
#include <signal.h>

#include <filesystem>
#include <random>
#include <utility>

#include "absl/time/clock.h"
#include "lib/base/json.h"
#include "lib/os/deadline.h"
#include "tests/support/matchers.h"
#include "tests/support/qemu.h"

namespace cairn::testing {
namespace {

constexpr absl::Duration kStartMax = absl::Seconds(20);

}  // namespace

std::string LayerName(int layer, const std::string& volume) {
  if (layer == 0) return "volume-" + volume;
  return fmt::format("volume-{}.{:08x}-0000-4000-8000-00000000000a", volume, layer);
}

Machine::Machine(const std::string& program, std::vector<std::string> arguments) {
  ProcessSpec spec;
  if (program == "qemu-storage-daemon") {
    spec.argv = {program,
                 "--chardev",
                 "socket,id=qmp,server=on,wait=off,path=" + dir_.File("qmp"),
                 "--monitor",
                 "chardev=qmp",
                 "--chardev",
                 "socket,id=own,server=on,wait=off,path=" + dir_.File("own"),
                 "--monitor",
                 "chardev=own"};
  } else {
    spec.argv = {program,
                 "-nodefaults",
                 "-S",
                 "-display",
                 "none",
                 "-accel",
                 "tcg",
                 "-m",
                 "64",
                 "-qmp",
                 "unix:" + dir_.File("qmp") + ",server=on,wait=off",
                 "-qmp",
                 "unix:" + dir_.File("own") + ",server=on,wait=off"};
  }
  for (std::string& argument : arguments) {
    const std::string nbd = "{nbd}";
    if (const size_t at = argument.find(nbd); at != argument.npos) {
      argument.replace(at, nbd.size(), nbd_socket());
    }
    spec.argv.push_back(std::move(argument));
  }
  auto process = ProcessRunner::Posix()->Start(spec);
  EXPECT_OK(process);
  if (!process.ok()) return;
  process_ = *std::move(process);
  const Deadline deadline(kStartMax);
  while (!QmpClient::Connect(qmp_address(), {}).ok() ||
         !QmpClient::Connect("unix:" + dir_.File("own"), {}).ok()) {
    if (!process_->running() || deadline.passed()) {
      ADD_FAILURE() << program << " did not start: " << process_->stderr_text();
      return;
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
}

void Machine::Kill() { process_->Stop(absl::ZeroDuration()); }

std::unique_ptr<Hypervisor> Machine::Connect(HypervisorOptions options) const {
  HypervisorAddress address;
  address.kind = HypervisorAddress::Kind::kQmp;
  address.address = qmp_address();
  address.disk = "disk0";
  auto hypervisor = ConnectHypervisor(address, options);
  EXPECT_OK(hypervisor);
  return hypervisor.ok() ? *std::move(hypervisor) : nullptr;
}

nlohmann::json Machine::Ask(const std::string& command, const nlohmann::json& arguments) const {
  auto qmp = QmpClient::Connect("unix:" + dir_.File("own"), {});
  EXPECT_TRUE(qmp.ok()) << Describe(qmp.status());
  if (!qmp.ok()) return {};
  auto answer = (*qmp)->Execute(command, arguments);
  return answer.ok() ? *std::move(answer) : nlohmann::json();
}

int Machine::NodesOf(const std::string& path) const {
  int count = 0;
  for (const auto& node : Ask("query-named-block-nodes", {{"flat", true}})) {
    // Also where it stands in a name as "json:{...}" of its own, not as somebody's backing file.
    if (JsonValue<std::string>(node.value("image", nlohmann::json()), "filename", "") == path) {
      ++count;
    } else if (JsonValue<std::string>(node, "file", "") == path) {
      ++count;
    }
  }
  return count;
}

void Volume::Make(int layers, bool with_content) const {
  RunTool({"qemu-img", "create", "-q", "-f", FormatOf(base_), Path(0), std::to_string(kDiskBytes)});
  // Each layer has a stretch of its own and one in common with its neighbours.
  const auto fill = [&](int layer) {
    if (!with_content) return;
    QemuWrite(Path(layer), Format(layer), int64_t{layer} << 20, 3 << 20,
              static_cast<uint8_t>(0x10 + layer));
  };
  fill(0);
  for (int layer = 1; layer <= layers; ++layer) {
    MakeLayer(layer);
    fill(layer);
  }
}

void Volume::MakeLayer(int layer) const {
  RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", FormatOf(Format(layer - 1)), "-b",
           LayerName(layer - 1, id_), Path(layer), std::to_string(kDiskBytes)});
}

nlohmann::json Volume::Blockdev(int active, const std::string& node) const {
  nlohmann::json options;
  for (int layer = 0; layer <= active; ++layer) {
    nlohmann::json above = {{"driver", FormatOf(Format(layer))},
                            {"file", {{"driver", "file"}, {"filename", Path(layer)}}}};
    if (layer != 0) above["backing"] = std::move(options);
    options = std::move(above);
  }
  options["node-name"] = node;
  return options;
}

nlohmann::json Volume::SlowBlockdevs(int active, const std::string& node) const {
  nlohmann::json all = nlohmann::json::array();
  for (int layer = 0; layer <= active; ++layer) {
    const nlohmann::json file = {{"driver", "file"}, {"filename", Path(layer)}};
    all.push_back({{"driver", FormatOf(Format(layer))},
                   {"node-name", layer == active ? node : fmt::format("{}-{}", node, layer)},
                   {"file", {{"driver", "throttle"}, {"throttle-group", "slow"}, {"file", file}}}});
    if (layer != 0) all.back()["backing"] = fmt::format("{}-{}", node, layer - 1);
  }
  return all;
}

LayerSwitch Volume::Switch(int to) const {
  LayerSwitch change;
  change.file = LayerName(to, id_);
  change.backing_file = LayerName(to - 1, id_);
  change.backing_format = Format(to - 1);
  return change;
}

std::string Volume::BackingOf(int layer) const {
  const auto info = nlohmann::json::parse(
      RunTool({"qemu-img", "info", "-U", "-f", "qcow2", "--output=json", Path(layer)}), nullptr,
      false);
  const auto name = JsonValue<std::string>(info, "backing-filename", "");
  if (name.empty()) return "";
  return name + " " + JsonValue<std::string>(info, "backing-filename-format", "none");
}

std::string Volume::Content(int layer) const {
  TempDir dir;
  RunTool({"qemu-img", "convert", "-f", FormatOf(Format(layer)), "-O", "raw", Path(layer),
           dir.File("content")});
  return ReadFile(dir.File("content"));
}

void Volume::Check(int layer) const {
  for (; layer >= 0; --layer) {
    if (Format(layer) != FileFormat::kQcow2) continue;
    if (!std::filesystem::exists(Path(layer))) continue;
    EXPECT_TRUE(QemuCheck(Path(layer))) << Path(layer);
  }
}

std::vector<std::string> NbdOf(const std::vector<std::string>& nodes) {
  std::vector<std::string> arguments = {"--nbd-server", "addr.type=unix,addr.path={nbd}"};
  for (const std::string& node : nodes) {
    arguments.insert(
        arguments.end(),
        {"--export", fmt::format("nbd,id=exp-{0},name={0},node-name={0},writable=on", node)});
  }
  return arguments;
}

Machine StorageDaemon(const std::vector<std::pair<std::string, nlohmann::json>>& disks) {
  // What a node may be wrapped with: so slow that whatever moves data is met at its work.
  std::vector<std::string> arguments = {
      "--object",
      R"({"qom-type": "throttle-group", "id": "slow", "limits": {"bps-total": 2000000}})"};
  std::vector<std::string> nodes;
  for (const auto& [node, options] : disks) {
    for (const auto& each : options.is_array() ? options : nlohmann::json::array({options})) {
      arguments.insert(arguments.end(), {"--blockdev", each.dump()});
    }
    nodes.push_back(node);
  }
  for (std::string& argument : NbdOf(nodes)) arguments.push_back(std::move(argument));
  return Machine("qemu-storage-daemon", std::move(arguments));
}

std::vector<std::string> FilesOf(Hypervisor& hypervisor, const DiskRef& disk) {
  const auto state = hypervisor.Look(disk);
  EXPECT_TRUE(state.ok()) << Describe(state.status());
  return state.ok() ? state->files : std::vector<std::string>();
}

void Hasten(const Machine& machine) {
  EXPECT_FALSE(
      machine
          .Ask("qom-set",
               {{"path", "/objects/slow"}, {"property", "limits"}, {"value", {{"bps-total", 0}}}})
          .is_null());
}

struct Writer::Connection {
  nbd_handle* nbd = nbd_create();
  ~Connection() { nbd_close(nbd); }
};

Writer::Writer(const std::string& socket, const std::string& export_name)
    : connection_(std::make_shared<Connection>()), content_(kDiskBytes, '\0') {
  nbd_handle* nbd = connection_->nbd;
  nbd_set_export_name(nbd, export_name.c_str());
  if (nbd_connect_unix(nbd, socket.c_str()) != 0 ||
      nbd_pread(nbd, content_.data(), content_.size(), 0, 0) != 0) {
    ADD_FAILURE() << "NBD: " << nbd_get_error();
    return;
  }
  thread_ = std::thread([this] { Work(); });
}

void Writer::Work() {
  std::minstd_rand random(1);
  nbd_handle* nbd = connection_->nbd;
  while (!stop_) {
    const size_t length = 512 * (1 + random() % 64);
    const size_t at = 512 * (random() % ((kDiskBytes - length) / 512));
    const std::string data(length, static_cast<char>(0x80 + writes_ % 0x70));
    if (nbd_pwrite(nbd, data.data(), length, at, 0) != 0) {
      error_ = nbd_get_error();
      return;
    }
    content_.replace(at, length, data);
    ++writes_;
  }
}

void Writer::Stop() {
  stop_ = true;
  if (!thread_.joinable()) return;
  thread_.join();
  // As the guest does before it counts on anything.
  if (error_.empty() && nbd_flush(connection_->nbd, 0) != 0) error_ = nbd_get_error();
}

bool Writer::Progresses(int writes) {
  const Deadline deadline(absl::Seconds(20));
  const int wanted = writes_ + writes;
  while (writes_ < wanted) {
    if (deadline.passed()) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

}  // namespace cairn::testing
