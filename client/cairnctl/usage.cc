#include "cairnctl/usage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cairnctl/text.h"

namespace cairn::cairnctl {
namespace {

// The one behind the last word of the command.
const CLI::App& LastCommand(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return *command;
}

// What may follow a command: those that --help lists.
std::vector<std::string> CommandsOf(const CLI::App& command) {
  std::vector<std::string> names;
  const auto listed = [](const CLI::App* sub) { return !sub->get_group().empty(); };
  for (const CLI::App* sub : command.get_subcommands(listed)) names.push_back(sub->get_name());
  return names;
}

std::string DescribeWrongWord(const std::string& word, const std::string& command,
                              const std::vector<std::string>& commands) {
  const std::string of = command.empty() ? "" : fmt::format(" of \"{}\"", command);
  if (word.starts_with("-")) return fmt::format("\"{}\" is no option{}", word, of);
  if (commands.empty()) return fmt::format("\"{}\" was not expected by \"{}\"", word, command);
  return fmt::format("\"{}\" is no command{}; there are: {}", word, of, fmt::join(commands, ", "));
}

}  // namespace

std::string CommandName(const CLI::App& app) {
  std::string name;
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    name += (name.empty() ? "" : " ") + command->get_name();
  }
  return name;
}

std::string DescribeUsageError(const CLI::App& app, const CLI::Error& error) {
  const std::string command = CommandName(app);
  const std::vector<std::string> commands = CommandsOf(LastCommand(app));
  const std::vector<std::string> unknown = app.remaining(true);
  const auto is = [&](CLI::ExitCodes code) {
    return error.get_exit_code() == static_cast<int>(code);
  };
  const bool lacks_command = is(CLI::ExitCodes::RequiredError) && !commands.empty();
  std::string what = error.what();
  if (!unknown.empty() && (lacks_command || is(CLI::ExitCodes::ExtrasError))) {
    what = DescribeWrongWord(unknown.front(), command, commands);
  } else if (lacks_command) {
    what = fmt::format("{} a command: {}",
                       command.empty() ? "give" : fmt::format("\"{}\" needs", command),
                       fmt::join(commands, ", "));
  }
  return fmt::format("cairnctl: {}\n  next:   cairnctl {}{}--help\n", Printable(what), command,
                     command.empty() ? "" : " ");
}

absl::Status CheckUtf8(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_type_name() == kFileType) continue;
    for (const std::string& value : option->results()) {
      if (IsUtf8(value)) continue;
      return absl::InvalidArgumentError(
          fmt::format("{}: \"{}\" is not valid UTF-8", option->get_name(), value));
    }
  }
  for (const CLI::App* sub : app.get_subcommands()) {
    if (absl::Status status = CheckUtf8(*sub); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace cairn::cairnctl
