// Changing the name and single labels of a record. The service replaces all labels at once, so they
// are read first, and sent with the revision that was read: what somebody else changes in between
// is not lost.
#ifndef CAIRN_CLIENT_CAIRNCTL_UPDATE_H_
#define CAIRN_CLIENT_CAIRNCTL_UPDATE_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "cairn/client/client.h"
#include "cairnctl/command.h"

namespace cairn::cairnctl {

struct UpdateArgs {
  std::string target;
  std::optional<std::string> name;
  std::vector<std::string> labels;         // to add or to change
  std::vector<std::string> remove_labels;  // keys
  bool clear_labels = false;
};

// --name, --label, --remove-label, --clear-labels.
void AddUpdateOptions(CLI::App* verb, UpdateArgs* args);

// Reads the record with `get`, changes what is asked for, and sends it with `update`; again when
// somebody else was faster. INVALID_ARGUMENT when nothing is asked for.
template <typename Request, typename Get, typename Update>
absl::StatusOr<client::PendingOperation> UpdateRecord(const UpdateArgs& args, Request request,
                                                      Get get, Update update) {
  constexpr int kTries = 5;
  const bool labels = args.clear_labels || !args.labels.empty() || !args.remove_labels.empty();
  if (!args.name.has_value() && !labels)
    return absl::InvalidArgumentError("nothing to change: give --name, --label or --remove-label");
  if (args.name.has_value()) {
    request.set_name(*args.name);
    request.mutable_update_mask()->add_paths("name");
  }
  if (!labels) return update(request);
  request.mutable_update_mask()->add_paths("labels");
  for (int i = 1;; ++i) {
    const auto record = get();
    if (!record.ok()) return record.status();
    if (args.clear_labels) {
      request.mutable_labels()->clear();
    } else {
      *request.mutable_labels() = record->labels();
    }
    for (const std::string& key : args.remove_labels) request.mutable_labels()->erase(key);
    SetLabels(args.labels, request.mutable_labels());
    request.set_expected_revision(record->revision());
    auto pending = update(request);
    if (i == kTries || client::GetReason(pending.status()) != "REVISION_MISMATCH") return pending;
  }
}

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_UPDATE_H_
