#include "cairnctl/command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cairnctl/units.h"

namespace cairn::cairnctl {

CLI::App* AddVerb(CLI::App* noun, const std::string& name, const std::string& description,
                  const std::vector<std::string>& examples) {
  CLI::App* verb = noun->add_subcommand(name, description);
  std::string footer = "Examples:";
  for (const std::string& example : examples) footer += "\n  cairnctl " + example;
  verb->footer(footer);
  return verb;
}

CLI::Option* AddSize(CLI::App* verb, const std::string& name, int64_t* bytes,
                     const std::string& description) {
  const CLI::Validator to_bytes(
      [](std::string& text) {
        const auto size = ParseSize(text);
        if (!size.has_value())
          return fmt::format("\"{}\" is no size such as 10GiB, 512M or 4096", text);
        text = std::to_string(*size);
        return std::string();
      },
      "");
  return verb->add_option(name, *bytes, description)->transform(to_bytes)->type_name("SIZE");
}

CLI::Option* AddDuration(CLI::App* verb, const std::string& name,
                         std::optional<std::chrono::milliseconds>* duration,
                         const std::string& description) {
  const CLI::Validator is_duration(
      [](std::string& text) {
        if (ParseDuration(text).has_value()) return std::string();
        return fmt::format("\"{}\" is no duration such as 30s, 5m or 1h30m", text);
      },
      "");
  return verb
      ->add_option_function<std::string>(
          name, [duration](const std::string& text) { *duration = ParseDuration(text); },
          description)
      ->check(is_duration)
      ->type_name("DURATION");
}

CLI::Validator AtLeast(int64_t least) {
  return CLI::Validator(
      [least](std::string& text) {
        int64_t value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least) return std::string();
        return fmt::format("\"{}\" is no whole number from {} on", text, least);
      },
      "");
}

CLI::Validator OneOf(const std::vector<std::string>& words) {
  return CLI::Validator(
      [words](std::string& text) {
        if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
        return fmt::format("\"{}\" is none of {}", text, fmt::join(words, ", "));
      },
      fmt::format("{{{}}}", fmt::join(words, ",")));
}

CLI::Option* AddChoice(CLI::App* verb, const std::string& name, std::string* word,
                       const std::vector<std::string>& words, const std::string& description) {
  return verb->add_option(name, *word, description)->check(OneOf(words))->type_name("");
}

CLI::Option* AddLabels(CLI::App* verb, std::vector<std::string>* labels,
                       const std::string& description) {
  const CLI::Validator is_label(
      [](std::string& text) {
        const size_t equals = text.find('=');
        if (equals != std::string::npos && equals > 0) return std::string();
        return fmt::format("\"{}\" is no label: give key=value", text);
      },
      "");
  return verb->add_option("--label", *labels, description)
      ->check(is_label)
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

void AddYes(CLI::App* verb, bool* yes) { verb->add_flag("-y,--yes", *yes, "Do not ask"); }

}  // namespace cairn::cairnctl
