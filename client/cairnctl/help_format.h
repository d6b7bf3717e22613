// How --help is laid out.
#ifndef CAIRN_CLIENT_CAIRNCTL_HELP_FORMAT_H_
#define CAIRN_CLIENT_CAIRNCTL_HELP_FORMAT_H_

#include <string>

#include "cairnctl/command.h"

namespace cairn::cairnctl {

// Like CLI11's own, with what an option takes, its default and its variable, and without the list
// of options that it excludes.
class HelpFormat : public CLI::Formatter {
 public:
  HelpFormat();
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
};

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_HELP_FORMAT_H_
