#include "cairnctl/completion_bash.h"

#include <fmt/format.h>

namespace cairn::cairnctl {
namespace {

// The bodies of three `case` statements over the command's path, "volume create".
struct Cases {
  std::string words;        // the nouns or verbs that may follow
  std::string options;      // the options, without the global ones
  std::string values;       // what an option takes
  std::string positionals;  // what stands at which place
};

// What stands for an option's or argument's value: "@volume" and the like, the words themselves, or
// "@" when nothing is known about it.
std::string ValueKind(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.rfind('}');
  if (open != std::string::npos && close != std::string::npos && open < close) {
    std::string words = type.substr(open + 1, close - open - 1);
    for (char& c : words) c = c == ',' ? ' ' : c;
    return words;
  }
  if (type == kVolumeType) return "@volume";
  if (type == kSnapshotType) return "@snapshot";
  if (type == kOperationType) return "@operation";
  if (type == kPoolType) return "@pool";
  if (type == kFileType) return "@file";
  return "@";
}

std::vector<std::string> NamesOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

// A pattern of `case` for the text as it is.
std::string Pattern(const std::string& path, const std::string& rest) {
  return fmt::format("'{}:{}'", path, rest);
}

void AddOption(const CLI::Option& option, const std::string& path, std::string* names,
               Cases* cases) {
  std::string patterns;
  for (const std::string& name : NamesOf(option)) {
    *names += (names->empty() ? "" : " ") + name;
    patterns += (patterns.empty() ? "" : "|") + Pattern(path, name);
  }
  const bool takes_value = option.get_items_expected_max() > 0;
  if (takes_value && !patterns.empty())
    cases->values += fmt::format("    {}) echo '{}' ;;\n", patterns, ValueKind(option));
}

void AddPositional(const CLI::Option& option, const std::string& path, int* place, Cases* cases) {
  // One that takes any number takes all further places.
  const bool many = option.get_items_expected_max() > 1;
  const std::string pattern =
      many ? Pattern(path, "") + "*" : Pattern(path, std::to_string((*place)++));
  cases->positionals += fmt::format("    {}) echo '{}' ;;\n", pattern, ValueKind(option));
}

void AddCommand(const CLI::App& command, const std::string& path, Cases* cases) {
  std::string words;
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_group().empty()) continue;  // hidden
    words += (words.empty() ? "" : " ") + sub->get_name();
  }
  if (!words.empty()) cases->words += fmt::format("    '{}') echo '{}' ;;\n", path, words);
  std::string names;
  int place = 0;
  for (const CLI::Option* option : command.get_options()) {
    if (option->nonpositional()) AddOption(*option, path, &names, cases);
    if (option->get_positional()) AddPositional(*option, path, &place, cases);
  }
  cases->options += fmt::format("    '{}') echo '{}' ;;\n", path, names);
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    AddCommand(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), cases);
  }
}

// The rest of the script, which knows nothing of the commands.
constexpr char kEngine[] = R"sh(
# Answers with the completions of $2 for what $1 stands for; the rest is how to ask the server.
_cairnctl_complete() {
  local kind=$1 cur=$2
  shift 2
  case $kind in
    @) ;;
    @file)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      ;;
    @*)
      kind=$("$@" completion values "${kind#@}" 2>/dev/null)
      mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur")
      ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur") ;;
  esac
}

_cairnctl() {
  local -a words=() ask=()
  local i word kind cur prev path='' place=0 join=''
  # Bash splits words at ":" and "=": put them together again.
  for ((i = 0; i <= COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ -n $join || ( $word == [:=]* && ${#words[@]} -gt 0 ) ]]; then
      words[-1]+=$word
    else
      words+=("$word")
    fi
    [[ $word == *[:=] ]] && join=1 || join=''
  done
  COMPREPLY=()
  cur=${words[-1]}
  ask=("${words[0]}" --timeout 2s)
  for ((i = 1; i < ${#words[@]} - 1; ++i)); do
    word=${words[i]}
    case $word in
      --server=*) ask+=("$word") ;;
      --*=*) ;;
      -*)
        if _cairnctl_value "$path" "$word" >/dev/null; then
          [[ $word == -s || $word == --server ]] && ask+=(--server "${words[i + 1]}")
          ((++i))
        fi
        ;;
      *)
        if [[ " $(_cairnctl_words "$path") " == *" $word "* ]]; then
          path+="${path:+ }$word"
        else
          ((++place))
        fi
        ;;
    esac
  done
  # The option before takes this word as its value.
  prev=''
  if [[ $cur == --*=* ]]; then
    prev=${cur%%=*}
    cur=${cur#*=}
  elif ((i > ${#words[@]} - 1)); then
    prev=${words[-2]}
  fi
  if [[ -n $prev ]]; then
    kind=$(_cairnctl_value "$path" "$prev") && _cairnctl_complete "$kind" "$cur" "${ask[@]}"
    return
  fi
  if [[ $cur == -* ]]; then
    kind="$(_cairnctl_options "$path") $(_cairnctl_options '')"
    mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur")
    return
  fi
  kind=$(_cairnctl_words "$path")
  [[ -n $kind ]] || kind=$(_cairnctl_positional "$path:$place") || return
  _cairnctl_complete "$kind" "$cur" "${ask[@]}"
}

complete -F _cairnctl cairnctl
)sh";

}  // namespace

std::string BashCompletion(const CLI::App& app) {
  Cases cases;
  AddCommand(app, "", &cases);
  std::string script = "# Bash completion of cairnctl, made by: cairnctl completion bash\n";
  script += "_cairnctl_words() {\n  case $1 in\n" + cases.words + "  esac\n}\n";
  script += "_cairnctl_options() {\n  case $1 in\n" + cases.options + "  esac\n}\n";
  // The global options may stand behind any command.
  script += "# Fails for an option that takes no value.\n_cairnctl_value() {\n  case $1:$2 in\n" +
            cases.values +
            "    ':'*) return 1 ;;\n    *) _cairnctl_value '' \"$2\" ;;\n  esac\n}\n";
  script += "_cairnctl_positional() {\n  case $1 in\n" + cases.positionals +
            "    *) return 1 ;;\n  esac\n}\n";
  return script + kEngine;
}

}  // namespace cairn::cairnctl
