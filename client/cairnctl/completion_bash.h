// Bash completion, made from the command line's own definition.
#ifndef CAIRN_CLIENT_CAIRNCTL_COMPLETION_BASH_H_
#define CAIRN_CLIENT_CAIRNCTL_COMPLETION_BASH_H_

#include <string>

#include "cairnctl/command.h"

namespace cairn::cairnctl {

// A script for bash to source. It completes nouns, verbs, options and their words; ids and names it
// asks for with `cairnctl completion values KIND`.
std::string BashCompletion(const CLI::App& app);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_COMPLETION_BASH_H_
