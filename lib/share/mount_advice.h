// What is worth saying to an operator about mounting: options that endanger images, and what a
// process lacks that may not mount.
#ifndef CAIRN_LIB_SHARE_MOUNT_ADVICE_H_
#define CAIRN_LIB_SHARE_MOUNT_ADVICE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace cairn {

// One sentence for each option (nfs(5)) of the comma-separated list that is unsafe or costly for
// disk images.
std::vector<std::string> AdviseOnMountOptions(std::string_view options);

// TOOL_MISSING, with the package to install, when mount.nfs is not where mount(8) looks for it.
absl::Status CheckMountTool();

// Empty when this process may mount: else what it lacks, and what to do.
std::string WhatMountingLacks();

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_MOUNT_ADVICE_H_
