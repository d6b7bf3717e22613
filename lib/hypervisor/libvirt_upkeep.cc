// What libvirt leaves undone after it has changed a disk.
#include <fmt/format.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>

#include <cstdlib>

#include "lib/hypervisor/libvirt_connection.h"

namespace cairn {
namespace {

using LibvirtText = std::unique_ptr<char, decltype(&free)>;

}  // namespace

absl::StatusOr<std::string> LibvirtConnection::AskMonitor(const std::string& attempted,
                                                          const std::string& command,
                                                          unsigned int flags) {
  auto answer = std::make_shared<std::string>();
  RETURN_IF_ERROR(AskDomain(attempted, [answer, command, flags](virDomainPtr domain) {
    char* text = nullptr;
    if (virDomainQemuMonitorCommand(domain, command.c_str(), &text, flags) < 0) return -1;
    LibvirtText owner(text, &free);
    if (text != nullptr) *answer = text;
    return 0;
  }));
  return *answer;
}

absl::Status LibvirtConnection::Flush(const LibvirtDisk& disk) {
  const std::string attempted = fmt::format("flushing disk {}", disk.target);
  ASSIGN_OR_RETURN(std::string disks, AskMonitor(attempted, R"({"execute":"query-block"})",
                                                 VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT));
  const std::string node = FindBlockNode(disks, disk.alias);
  if (node.empty()) {
    return Failure(Reason::kHypervisorFailed,
                   fmt::format("{}: QEMU shows no disk {}", attempted, disk.alias));
  }
  return FlushNode(attempted, node);
}

absl::Status LibvirtConnection::FlushFile(const std::string& path) {
  const std::string attempted = "flushing " + path;
  ASSIGN_OR_RETURN(
      std::string nodes,
      AskMonitor(attempted, R"({"execute":"query-named-block-nodes","arguments":{"flat":true}})",
                 VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT));
  const std::string node = FindFileNode(nodes, path);
  if (node.empty()) {
    return Failure(Reason::kHypervisorFailed, fmt::format("{}: QEMU does not have it", attempted));
  }
  return FlushNode(attempted, node);
}

absl::Status LibvirtConnection::FlushNode(const std::string& attempted, const std::string& node) {
  ASSIGN_OR_RETURN(std::string words, AskMonitor(attempted, fmt::format("qemu-io {} flush", node),
                                                 VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP));
  if (words.find_first_not_of(" \r\n") != std::string::npos) {
    return Failure(Reason::kHypervisorFailed, fmt::format("{}: {}", attempted, words));
  }
  return absl::OkStatus();
}

absl::Status LibvirtConnection::ForgetBacking(const std::vector<std::string>& disks) {
  return AskDomain("its definition", [disks](virDomainPtr domain) {
    if (int persistent = virDomainIsPersistent(domain); persistent != 1) return persistent;
    LibvirtText text(virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE),
                     &free);
    if (text == nullptr) return -1;
    for (const std::string& xml : LibvirtDisksWithoutBacking(text.get(), disks)) {
      if (virDomainUpdateDeviceFlags(domain, xml.c_str(), VIR_DOMAIN_AFFECT_CONFIG) < 0) return -1;
    }
    return 0;
  });
}

}  // namespace cairn
