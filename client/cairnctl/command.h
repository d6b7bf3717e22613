// Building blocks of the command line: verbs with their examples, and options of the kinds that
// several verbs have. The type name of an option says what it takes; completion.h reads it from
// there.
//
// Only this folder's files that declare commands include CLI11.
#ifndef CAIRN_CLIENT_CAIRNCTL_COMMAND_H_
#define CAIRN_CLIENT_CAIRNCTL_COMMAND_H_

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cairnctl/session.h"

namespace cairn::cairnctl {

// Type names that mean something to completion.
inline constexpr char kVolumeType[] = "VOLUME";
inline constexpr char kSnapshotType[] = "SNAPSHOT";
inline constexpr char kOperationType[] = "OPERATION";
inline constexpr char kPoolType[] = "POOL";
inline constexpr char kFileType[] = "FILE";

// A verb of a noun. `examples`: one command a line, without "cairnctl".
CLI::App* AddVerb(CLI::App* noun, const std::string& name, const std::string& description,
                  const std::vector<std::string>& examples);

// Runs `run` with the arguments when the verb was on the command line. The arguments live as long
// as the verb, so that options can be bound to their fields.
template <typename Args>
void OnRun(CLI::App* verb, Session* session, std::shared_ptr<Args> args,
           absl::Status (*run)(Session*, const Args&)) {
  verb->callback([session, args, run] {
    session->action = [session, args, run] { return run(session, *args); };
  });
}

// Options whose text is checked and converted while it is parsed. `bytes` stays as it is when the
// option is not given.
CLI::Option* AddSize(CLI::App* verb, const std::string& name, int64_t* bytes,
                     const std::string& description);
CLI::Option* AddDuration(CLI::App* verb, const std::string& name,
                         std::optional<std::chrono::milliseconds>* duration,
                         const std::string& description);
// For the check of an option that is a number.
CLI::Validator AtLeast(int64_t least);
// For the check of an option that takes one of some words; --help and completion know them too.
CLI::Validator OneOf(const std::vector<std::string>& words);
// One of the words.
CLI::Option* AddChoice(CLI::App* verb, const std::string& name, std::string* word,
                       const std::vector<std::string>& words, const std::string& description);
// --label key=value, any number of times.
CLI::Option* AddLabels(CLI::App* verb, std::vector<std::string>* labels,
                       const std::string& description);
// --yes; see confirm.h.
void AddYes(CLI::App* verb, bool* yes);

// "key=value" texts into a map field.
template <typename Map>
void SetLabels(const std::vector<std::string>& labels, Map* map) {
  for (const std::string& label : labels) {
    const size_t equals = label.find('=');
    (*map)[label.substr(0, equals)] = label.substr(equals + 1);
  }
}

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_COMMAND_H_
