// Errors for people: what is wrong, why, and what to do next. Pure functions.
#ifndef CAIRN_CLIENT_CAIRNCTL_HINTS_H_
#define CAIRN_CLIENT_CAIRNCTL_HINTS_H_

#include <string>

#include "absl/status/status.h"

namespace cairn::cairnctl {

// What to do about it, with the names that the error carries put in; empty if there is nothing to
// say. `command`: the words that were given, such as "volume list".
std::string HintFor(const absl::Status& status, const std::string& command = "");

// Up to three lines: the message, the reason with its metadata, the hint.
std::string DescribeError(const absl::Status& status, const std::string& command = "");

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_HINTS_H_
