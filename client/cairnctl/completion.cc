// cairnctl completion: the script for the shell, and the values that the script asks for.
#include <fmt/format.h>

#include <set>

#include "cairnctl/commands.h"
#include "cairnctl/completion_bash.h"

namespace cairn::cairnctl {
namespace {

// More are of no use to a person, and would make the shell slow.
constexpr size_t kValuesMax = 2'000;

struct ValuesArgs {
  std::string kind;
};

// What the shell would split or expand is left out: it can still be typed.
bool IsSafeWord(const std::string& text) {
  if (text.empty() || text.front() == '-') return false;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

template <typename Range, typename TextsOf>
absl::Status PrintWords(Range range, TextsOf texts_of) {
  std::set<std::string> words;
  for (auto& item : range) {
    if (!item.ok()) return item.status();
    for (const std::string& text : texts_of(*item)) {
      if (IsSafeWord(text)) words.insert(text);
    }
    if (words.size() >= kValuesMax) break;
  }
  for (const std::string& word : words) Print(word + "\n");
  return absl::OkStatus();
}

absl::Status RunValues(Session* session, const ValuesArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  client::CallOptions options = session->call_options();
  options.retry = client::RetryPolicy{.max_attempts = 1};
  using Texts = std::vector<std::string>;
  if (args.kind == "volume") {
    v1::ListVolumesRequest request;
    request.set_page_size(1'000);
    return PrintWords((*client)->Volumes(request, options), [](const v1::Volume& volume) {
      return Texts{volume.id(), volume.name()};
    });
  }
  if (args.kind == "snapshot") {
    v1::ListSnapshotsRequest request;
    request.set_page_size(1'000);
    return PrintWords((*client)->Snapshots(request, options), [](const v1::Snapshot& snapshot) {
      return Texts{snapshot.id(), snapshot.name()};
    });
  }
  if (args.kind == "operation") {
    v1::ListOperationsRequest request;
    request.set_order_by("create_time desc");
    request.set_page_size(100);
    return PrintWords((*client)->Operations(request, options),
                      [](const v1::Operation& operation) { return Texts{operation.id()}; });
  }
  return PrintWords((*client)->Pools({}, options),
                    [](const v1::Pool& pool) { return Texts{pool.name()}; });
}

}  // namespace

void AddCompletionCommands(CLI::App* app, Session* session) {
  CLI::App* completion = app->add_subcommand("completion", "Completion for the shell");
  completion->require_subcommand(1);
  CLI::App* bash = completion->add_subcommand("bash", "Print the completion script for bash");
  bash->footer(
      "Examples:\n  cairnctl completion bash > /etc/bash_completion.d/cairnctl\n"
      "  source <(cairnctl completion bash)");
  bash->callback([app, session] {
    session->action = [app] {
      Print(BashCompletion(*app));
      return absl::OkStatus();
    };
  });
  auto args = std::make_shared<ValuesArgs>();
  CLI::App* values = completion->add_subcommand("values", "For the script")->group("");
  values->add_option("kind", args->kind)
      ->required()
      ->check(OneOf({"volume", "snapshot", "operation", "pool"}));
  OnRun(values, session, args, RunValues);
}

}  // namespace cairn::cairnctl
