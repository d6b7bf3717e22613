#include "lib/share/mount_advice.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "lib/base/status.h"

namespace cairn {
namespace {

struct Advice {
  std::string_view option;  // "key", or "key=value"
  std::string_view text;
};

constexpr Advice kAdvice[] = {
    {"nolock",
     "locks stay on this host: nothing keeps a second server or hypervisor from an image"},
    {"local_lock=all",
     "locks stay on this host: nothing keeps a second server or hypervisor from an image"},
    {"local_lock=posix",
     "locks stay on this host: nothing keeps a second server or hypervisor from an image"},
    {"nocto", "what another host wrote may not be seen: snapshots could be taken of an old chain"},
    {"soft", "an outage reaches guests as I/O errors, and writes may be lost; prefer hard"},
    {"noac", "each access asks the server and each write waits for it: several times slower"},
    {"actimeo=0", "each access asks the server: several times slower"},
    {"sync", "each write waits for the server: several times slower; Cairn syncs where it must"},
    {"ro", "nothing can be written: the share cannot take volumes"},
    {"udp", "data can be corrupted at high speed (nfs(5), \"Using NFS over UDP\"); use tcp"},
    {"proto=udp", "data can be corrupted at high speed (nfs(5), \"Using NFS over UDP\"); use tcp"},
};

bool HasSysAdmin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (syscall(SYS_capget, &header, data.data()) != 0) return true;  // not known: do not accuse it
  return (data[0].effective & (1U << CAP_SYS_ADMIN)) != 0;
}

}  // namespace

std::vector<std::string> AdviseOnMountOptions(std::string_view options) {
  std::vector<std::string> sentences;
  while (!options.empty()) {
    const size_t comma = options.find(',');
    const std::string_view option = options.substr(0, comma);
    for (const Advice& advice : kAdvice) {
      if (option == advice.option) sentences.push_back(fmt::format("{}: {}", option, advice.text));
    }
    if (comma == std::string_view::npos) break;
    options.remove_prefix(comma + 1);
  }
  return sentences;
}

absl::Status CheckMountTool() {
  for (const char* path : {"/sbin/mount.nfs", "/usr/sbin/mount.nfs"}) {
    if (access(path, X_OK) == 0) return absl::OkStatus();
  }
  return Error(
      Reason::kToolMissing,
      "mount.nfs is not installed, and without it no NFS share can be mounted: install the "
      "package nfs-common (Debian, Ubuntu) or nfs-utils",
      {{"tool", "mount.nfs"}, {"package", "nfs-common"}});
}

std::string WhatMountingLacks() {
  const bool root = geteuid() == 0;
  if (root && HasSysAdmin()) return {};
  return fmt::format(
      "to mount, cairnd must run as root with the capability CAP_SYS_ADMIN, and it {}; give it "
      "that "
      "(Kubernetes: securityContext.capabilities.add: [SYS_ADMIN]; docker: --cap-add SYS_ADMIN; "
      "systemd: CapabilityBoundingSet), or mount the share on this directory yourself: it is taken "
      "over",
      root ? "lacks that capability" : "does not run as root");
}

}  // namespace cairn
