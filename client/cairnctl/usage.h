// What is said about a command line that cannot be right. Functions over the parsed command line;
// main thread only.
#ifndef CAIRN_CLIENT_CAIRNCTL_USAGE_H_
#define CAIRN_CLIENT_CAIRNCTL_USAGE_H_

#include <string>

#include "absl/status/status.h"
#include "cairnctl/command.h"

namespace cairn::cairnctl {

// The words of the command that was given, without "cairnctl": "volume list".
std::string CommandName(const CLI::App& app);

// The error, with the wrong word in quotes where one word is wrong, and where to look.
std::string DescribeUsageError(const CLI::App& app, const CLI::Error& error);

// INVALID_ARGUMENT for a value that is no UTF-8 although it is sent to the server. Names of local
// files may be anything.
absl::Status CheckUtf8(const CLI::App& app);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_USAGE_H_
