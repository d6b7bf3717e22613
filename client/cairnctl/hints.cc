#include "cairnctl/hints.h"

#include <fmt/format.h>

#include <map>
#include <string_view>

#include "cairn/client/errors.h"
#include "cairnctl/text.h"

namespace cairn::cairnctl {
namespace {

struct Hint {
  std::string_view reason;
  std::string_view text;  // "{volume}" stands for the metadata of that name
};

constexpr Hint kHints[] = {
    {"INVALID_FILTER", "the filter's grammar: cairnctl {command} --help"},
    {"CHECKSUM_MISMATCH", "the content was damaged on the way: send it again"},
    {"VOLUME_NOT_FOUND", "look for it: cairnctl volume list"},
    {"SNAPSHOT_NOT_FOUND", "look for it: cairnctl snapshot list"},
    {"ATTACHMENT_NOT_FOUND", "see its attachments: cairnctl volume show {volume}"},
    {"OPERATION_NOT_FOUND",
     "it may have ended too long ago; those that are kept: cairnctl operation list"},
    {"POOL_NOT_FOUND", "see the pools: cairnctl pool list"},
    {"SHARE_NOT_FOUND", "see the shares: cairnctl pool show"},
    {"FILE_NOT_FOUND", "look at the share: {file} is not there"},
    {"VOLUME_EXISTS", "choose another id, or look at it: cairnctl volume show {volume}"},
    {"SNAPSHOT_EXISTS", "choose another id, or look at it: cairnctl snapshot show {snapshot}"},
    {"FILE_EXISTS",
     "{file} on the share is not the server's: move it away, or take it over with "
     "cairnctl volume adopt"},
    {"REQUEST_ID_REUSED", "use a new --request-id for a new request"},
    {"VOLUME_STATE", "see what goes on: cairnctl volume show {volume}"},
    {"SNAPSHOT_STATE", "see what goes on: cairnctl snapshot show {snapshot}"},
    {"VOLUME_IN_USE",
     "close it at {instance} and detach it first: cairnctl volume detach {volume}"},
    {"VOLUME_HAS_SNAPSHOTS",
     "delete them first (cairnctl snapshot list --volume {volume}), or all at once with --cascade"},
    {"SNAPSHOT_NOT_NEWEST", "to lose the newer ones: --discard-newer"},
    {"SNAPSHOTS_DISABLED", "the pool's configuration (nfs_snapshot_support) forbids snapshots"},
    {"BACKING_FILE_SHARED",
     "{also_used_by} stands on {file}: move it to another directory, or remove it if nothing needs "
     "it"},
    {"IMAGE_UNSAFE", "look at {file} before anything opens it: qemu-img info -U --backing-chain"},
    {"IMAGE_MISMATCH", "{file} is not as recorded: compare it with cairnctl volume show"},
    {"SHARE_NOT_WRITABLE", "check the export's options and the owner of the directory on {share}"},
    {"FILE_TOO_LARGE", "choose a smaller size, or a share whose file system has larger files"},
    {"SHARE_OWNED", "another server works on that share: {owner}"},
    {"OPERATION_NOT_CANCELLABLE", "wait for its end: cairnctl operation wait {operation}"},
    {"OPERATION_NOT_PARKED", "see what it does: cairnctl operation show {operation}"},
    {"CATALOG_OLDER",
     "restore the newer catalog (nothing was overwritten); of a whole share: cairnctl pool show"},
    {"TOOL_MISSING", "on the server: apt-get install {package}"},
    {"PATH_FORBIDDEN", "put the image into one of the directories that the configuration allows"},
    {"NO_SPACE", "see what there is: cairnctl pool show"},
    {"NO_ELIGIBLE_SHARE", "see what there is: cairnctl pool show"},
    {"QUEUE_FULL",
     "try again when some of these have ended: cairnctl operation list --volume {volume}"},
    {"REVISION_MISMATCH", "somebody else changed it: read it again, then repeat"},
    {"INTERRUPTED", "nothing was changed: begin again"},
    {"WATCH_REVISION_TOO_OLD", "begin again without --from-revision"},
    {"SHARE_UNAVAILABLE", "it is tried again by itself; its state: cairnctl pool show"},
    {"SHARE_REPLACED",
     "bring the right share back, or take what lies there: cairnctl pool accept {share}"},
    {"POOL_UNAVAILABLE", "the state of its shares: cairnctl pool show {pool}"},
    {"CATALOG_UNAVAILABLE",
     "look at the disk with the server's state_path; it is tried again by itself"},
    {"SHUTTING_DOWN", "try again when the server is back"},
    {"MAP_CORRUPT", "nothing was changed; look at {file} on the share"},
    {"CHAIN_CORRUPT", "nothing was changed; look at {file} on the share"},
    {"IMAGE_CORRUPT", "nothing was changed; look at {file} on the share"},
    {"IO_ERROR", "look at the NFS server's own log; the share reported an I/O error"},
    {"ABANDONED", "the message says what is left on the share; see cairnctl volume show {volume}"},
    {"TOOL_FAILED", "the server's log holds the output of {tool}"},
    {"INTERNAL", "the server's log says more"},
};

// Nothing when the error does not carry one of the names: a hint with a gap is no help.
std::string FillIn(std::string_view text, const std::map<std::string, std::string>& metadata) {
  std::string result;
  while (true) {
    const size_t open = text.find('{');
    result += text.substr(0, open);
    if (open == std::string_view::npos) return result;
    const size_t close = text.find('}', open);
    const auto entry = metadata.find(std::string(text.substr(open + 1, close - open - 1)));
    if (entry == metadata.end() || entry->second.empty()) return "";
    result += entry->second;
    text.remove_prefix(close + 1);
  }
}

}  // namespace

std::string HintFor(const absl::Status& status, const std::string& command) {
  const auto details = client::GetErrorDetails(status);
  if (details.has_value()) {
    for (const Hint& hint : kHints) {
      if (hint.reason != details->reason) continue;
      std::map<std::string, std::string> names = details->metadata;
      names["command"] = command;
      return FillIn(hint.text, names);
    }
  }
  if (details.has_value() && !details->reason.empty()) return "";
  if (status.code() == absl::StatusCode::kUnavailable)
    return "is cairnd running, and is --server (or CAIRN_SERVER) its address?";
  if (status.code() == absl::StatusCode::kUnimplemented)
    return "the server is older than this cairnctl";
  return "";
}

std::string DescribeError(const absl::Status& status, const std::string& command) {
  std::string text = fmt::format("cairnctl: {}\n", Printable(std::string(status.message())));
  const auto details = client::GetErrorDetails(status);
  if (details.has_value() && !details->reason.empty()) {
    text += fmt::format("  reason: {}", Printable(details->reason));
    for (const auto& [name, value] : details->metadata)
      text += fmt::format(" {}={}", Printable(name), Printable(value));
    text += '\n';
  }
  if (const std::string hint = HintFor(status, command); !hint.empty())
    text += fmt::format("  next:   {}\n", Printable(hint));
  return text;
}

}  // namespace cairn::cairnctl
