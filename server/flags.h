// The command line of cairnd.
#ifndef CAIRN_SERVER_FLAGS_H_
#define CAIRN_SERVER_FLAGS_H_

#include <optional>
#include <string>

#include "server/config.h"

namespace cairn {

struct Flags {
  std::string config_path = "/etc/cairn/cairnd.yaml";
  ConfigOverrides overrides;
  bool check_config = false;
  bool print_config = false;
  bool print_config_reference = false;
};

// Nothing when the program is to end at once with `exit_code`: --help, --version, a mistake.
std::optional<Flags> ParseFlags(int argc, char** argv, int* exit_code);

}  // namespace cairn

#endif  // CAIRN_SERVER_FLAGS_H_
