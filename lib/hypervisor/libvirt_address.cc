// What a libvirt address may look like; needs no libvirt.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "lib/base/status.h"
#include "lib/hypervisor/libvirt_hypervisor.h"

namespace cairn {
namespace {

// Those that start a program or a shell, or name one, are left out on purpose.
constexpr std::array<std::string_view, 4> kSchemes = {"qemu", "qemu+unix", "qemu+tls", "qemu+tcp"};
constexpr std::array<std::string_view, 5> kParameters = {"socket", "pkipath", "no_verify",
                                                         "no_sanity", "tls_priority"};

template <typename List>
bool IsAmong(const List& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

absl::Status CheckParameters(std::string_view uri, std::string_view query) {
  while (!query.empty()) {
    size_t end = std::min(query.find('&'), query.size());
    std::string_view name = query.substr(0, std::min(query.find('='), end));
    if (!IsAmong(kParameters, name)) {
      return InvalidField("hypervisor.libvirt.uri",
                          fmt::format("may have the parameters {}", fmt::join(kParameters, ", ")),
                          uri);
    }
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckLibvirtAddress(const HypervisorAddress& address) {
  std::string_view uri = address.address;
  size_t scheme_end = uri.find("://");
  if (scheme_end == std::string_view::npos || !IsAmong(kSchemes, uri.substr(0, scheme_end))) {
    return InvalidField("hypervisor.libvirt.uri",
                        fmt::format("must be a URI of libvirt with one of the schemes {}",
                                    fmt::join(kSchemes, ", ")),
                        uri);
  }
  std::string_view rest = uri.substr(scheme_end + 3);
  const std::string_view user = rest.substr(0, rest.find_first_of("/?#"));
  if (user.find('@') != std::string_view::npos && user.find(':') < user.rfind('@')) {
    // Not repeated in the message: it is recorded and logged.
    return InvalidField("hypervisor.libvirt.uri", "must not carry a password: it would be shown");
  }
  size_t query_at = rest.find('?');
  if (query_at != std::string_view::npos) {
    RETURN_IF_ERROR(CheckParameters(uri, rest.substr(query_at + 1)));
    rest = rest.substr(0, query_at);
  }
  // Others, such as /embed, would run machines inside this process.
  std::string_view path = rest.substr(std::min(rest.find('/'), rest.size()));
  if (path != "/system" && path != "/session") {
    return InvalidField("hypervisor.libvirt.uri", "must have the path /system or /session", uri);
  }
  return absl::OkStatus();
}

}  // namespace cairn
