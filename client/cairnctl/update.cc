#include "cairnctl/update.h"

namespace cairn::cairnctl {

void AddUpdateOptions(CLI::App* verb, UpdateArgs* args) {
  verb->add_option_function<std::string>(
      "--name", [args](const std::string& name) { args->name = name; }, "The new name");
  AddLabels(verb, &args->labels, "A label to add or change; may be given several times");
  verb->add_option("--remove-label", args->remove_labels, "The key of a label to remove")
      ->type_name("KEY")
      ->allow_extra_args(false);
  verb->add_flag("--clear-labels", args->clear_labels, "Remove all other labels");
}

}  // namespace cairn::cairnctl
