// The guest stands still for a moment.
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <cstdlib>

#include "lib/hypervisor/libvirt_connection.h"

namespace cairn {
namespace {

// What is in the machine's metadata while it is held by us. It ends with the machine.
constexpr char kUri[] = "urn:cairn:held";
constexpr char kPrefix[] = "cairn";
constexpr char kHeld[] = "<held/>";

// 1, 0, or as libvirt below 0 for a failure.
int IsHeld(virDomainPtr domain) {
  std::unique_ptr<char, decltype(&free)> text(
      virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, kUri, VIR_DOMAIN_AFFECT_LIVE),
      &free);
  if (text != nullptr) return 1;
  return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_METADATA ? 0 : -1;
}

int SetHeld(virDomainPtr domain, const char* text) {
  return virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, text,
                              text == nullptr ? nullptr : kPrefix, kUri, VIR_DOMAIN_AFFECT_LIVE);
}

int State(virDomainPtr domain, int* state) {
  return virDomainGetState(domain, state, /*reason=*/nullptr, /*flags=*/0);
}

}  // namespace

absl::Status LibvirtConnection::Hold() {
  return AskDomain("holding it", [](virDomainPtr domain) {
    int state = 0;
    if (State(domain, &state) < 0) return -1;
    // Whoever has paused it will resume it.
    if (state != VIR_DOMAIN_RUNNING) return 0;
    // First: nobody else would know why it is paused.
    if (SetHeld(domain, kHeld) < 0) return -1;
    return virDomainSuspend(domain);
  });
}

absl::Status LibvirtConnection::Release() {
  return AskDomain("letting it go on", [](virDomainPtr domain) {
    int state = 0;
    if (const int held = IsHeld(domain); held != 1) return held;
    if (State(domain, &state) < 0) return -1;
    if (state == VIR_DOMAIN_PAUSED && virDomainResume(domain) < 0) return -1;
    return SetHeld(domain, nullptr);
  });
}

}  // namespace cairn
