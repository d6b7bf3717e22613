// What is known about a share at one instant: plain values.
#ifndef CAIRN_LIB_SHARE_SHARE_STATUS_H_
#define CAIRN_LIB_SHARE_SHARE_STATUS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "lib/os/file_abilities.h"

namespace cairn {

enum class ShareState { kMounting, kOnline, kDegraded, kUnreachable, kDraining };
std::string_view ShareStateName(ShareState state);  // "ONLINE"

// Whether work for the share is taken: a draining share works as before.
inline bool IsUsable(ShareState state) {
  return state == ShareState::kOnline || state == ShareState::kDegraded ||
         state == ShareState::kDraining;
}

struct ShareCapacity {
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;
  int64_t allocated_bytes = 0;  // apparent size of the files on it, without *snapshot* paths
};

struct ShareStatus {
  // kDraining stands for a share that works but takes no new volumes; one that drains and does not
  // work either is shown as kUnreachable or kMounting.
  ShareState state = ShareState::kMounting;
  absl::Time since;
  std::string last_error;  // what is wrong; empty when well
  absl::Duration probe_latency;
  ShareCapacity capacity;
  std::string mount_options;               // in force, from the kernel
  std::string nfs_version;                 // "4.2"; empty for a directory
  std::optional<FileAbilities> abilities;  // tried when it came up; nothing: not known
  std::string identity;                    // UUID; empty: not known
  std::optional<uint64_t> device;          // of its file system, as of the last good probe
};

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_SHARE_STATUS_H_
