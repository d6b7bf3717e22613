#include "cairnctl/help_format.h"

#include <algorithm>

namespace cairn::cairnctl {
namespace {

constexpr size_t kNameColumn = 34;

// "{a,b}" for a choice, whose type CLI11 calls ":{a,b}"; "" for a flag.
std::string TypeText(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "";
  std::string type = option.get_type_name();
  if (!type.empty() && type.front() == ':') type.erase(0, 1);
  return type;
}

}  // namespace

HelpFormat::HelpFormat() { column_width(kNameColumn); }

std::string HelpFormat::make_option_name(const CLI::Option* option, bool is_positional) const {
  if (is_positional) return option->get_name(true, false);
  std::string text;
  for (const std::string& name : option->get_snames()) text += (text.empty() ? "-" : ", -") + name;
  for (const std::string& name : option->get_lnames())
    text += (text.empty() ? "--" : ", --") + name;
  return text;
}

std::string HelpFormat::make_option_opts(const CLI::Option* option) const {
  std::string text;
  // What a positional takes says its name.
  if (const std::string type = TypeText(*option); !type.empty() && option->nonpositional())
    text += " " + type;
  if (!option->get_default_str().empty()) text += " (default " + option->get_default_str() + ")";
  if (!option->get_envname().empty()) text += " (or $" + option->get_envname() + ")";
  if (option->get_required()) text += " (required)";
  return text;
}

}  // namespace cairn::cairnctl
