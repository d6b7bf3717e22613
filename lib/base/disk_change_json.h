// Instructions to a hypervisor as JSON: in plans and in the records of operations that wait for their
// consumer.
#ifndef CAIRN_LIB_BASE_DISK_CHANGE_JSON_H_
#define CAIRN_LIB_BASE_DISK_CHANGE_JSON_H_

#include <nlohmann/json.hpp>
#include <vector>

#include "lib/base/disk_change.h"

namespace cairn {

nlohmann::json ToJsonValue(const std::vector<DiskInstruction>& instructions);
// False, with `instructions` in any state, when the JSON is of another kind.
bool FromJsonValue(const nlohmann::json& json, std::vector<DiskInstruction>& instructions);

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_DISK_CHANGE_JSON_H_
