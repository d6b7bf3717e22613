#include "lib/share/mounter.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/monotonic_time.h"
#include "lib/base/status.h"
#include "lib/share/mount_advice.h"

namespace cairn {
namespace {

// The kernel shows a source without the slashes at its end.
std::string_view WithoutTrailingSlashes(std::string_view source) {
  while (source.ends_with('/') && !source.ends_with(":/")) source.remove_suffix(1);
  return source;
}

constexpr absl::Duration kUnmountTimeout = absl::Seconds(10);

bool IsShare(const MountEntry& entry, std::string_view source) {
  return entry.type.starts_with("nfs") &&
         WithoutTrailingSlashes(entry.source) == WithoutTrailingSlashes(source);
}

// mount(8) has no exit code of its own for a missing mount.nfs, only these words.
bool SaysHelperIsMissing(std::string_view stderr_text) {
  return stderr_text.find("helper program") != std::string_view::npos ||
         stderr_text.find("unknown filesystem type 'nfs'") != std::string_view::npos;
}

std::vector<std::string_view> SplitOptions(std::string_view options) {
  std::vector<std::string_view> split;
  while (!options.empty()) {
    const size_t comma = std::min(options.find(','), options.size());
    if (comma > 0) split.push_back(options.substr(0, comma));
    options.remove_prefix(std::min(comma + 1, options.size()));
  }
  return split;
}

// What an option is about: "rsize" for "rsize=65536". The version has several names (nfs(5)).
std::string_view KeyOf(std::string_view option) {
  const std::string_view key = option.substr(0, option.find('='));
  constexpr std::string_view kVersions[] = {"vers", "nfsvers", "minorversion", "v2",  "v3",
                                            "v4",   "v4.0",    "v4.1",         "v4.2"};
  const bool version =
      std::find(std::begin(kVersions), std::end(kVersions), key) != std::end(kVersions);
  return version ? "vers" : key;
}

// Another attempt would fail in the same way.
bool IsFinal(const absl::Status& status) {
  return absl::IsCancelled(status) || HasReason(status, Reason::kToolMissing) ||
         HasReason(status, Reason::kShuttingDown);
}

}  // namespace

std::string MergeMountOptions(std::string_view pool_options, std::string_view share_options) {
  std::set<std::string_view> own;
  for (std::string_view option : SplitOptions(share_options)) own.insert(KeyOf(option));
  std::string merged;
  for (std::string_view option : SplitOptions(pool_options)) {
    if (own.count(KeyOf(option)) == 0) merged += fmt::format("{},", option);
  }
  merged += share_options;
  if (merged.ends_with(',')) merged.pop_back();
  return merged;
}

std::string NfsVersionOf(std::string_view mount_options) {
  constexpr std::string_view kKey = "vers=";
  for (std::string_view option : SplitOptions(mount_options)) {
    if (option.starts_with(kKey)) return std::string(option.substr(kKey.size()));
  }
  return "";
}

Mounter::Mounter(std::string source, std::string directory, MountOptions options,
                 ShareSystem system)
    : source_(std::move(source)),
      directory_(std::move(directory)),
      options_(std::move(options)),
      system_(system) {}

absl::StatusOr<std::optional<MountEntry>> Mounter::Find() const {
  ASSIGN_OR_RETURN(std::vector<MountEntry> entries, system_.mounts->Read());
  std::optional<MountEntry> entry = FindMount(entries, directory_);
  if (!entry.has_value() || IsShare(*entry, source_)) return entry;
  return Error(
      Reason::kShareUnavailable,
      fmt::format("{} holds another mount: {} (type {})", directory_, entry->source, entry->type),
      {{"path", directory_}});
}

absl::Status Mounter::Mount(const std::string& share_options) {
  RETURN_IF_ERROR(system_.files->MakeDirectories(directory_));
  const int attempts = std::max(1, options_.attempts);
  absl::Status status;
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    status = MountOnce(share_options);
    if (status.ok() || IsFinal(status)) return status;
    if (attempt < attempts && !Pause()) break;
  }
  return Annotate(status, fmt::format("mount failed, {} attempt(s)", attempts));
}

absl::Status Mounter::MountOnce(const std::string& share_options) {
  if (stop_.cancelled()) return Error(Reason::kShuttingDown, "the share is being shut down");
  const std::string options = MergeMountOptions(options_.nfs_mount_options, share_options);

  ProcessSpec spec;
  spec.argv = {"mount", "-t", "nfs"};
  if (!options.empty()) spec.argv.insert(spec.argv.end(), {"-o", options});
  spec.argv.insert(spec.argv.end(), {source_, directory_});
  spec.timeout = options_.attempt_timeout;
  spec.cancel = stop_.token();
  ASSIGN_OR_RETURN(ProcessResult result, system_.processes->Run(spec));

  // Only the kernel's table counts: "already mounted" may be said of something else, and a mount
  // that reported success may be gone again.
  ASSIGN_OR_RETURN(std::optional<MountEntry> entry, Find());
  if (entry.has_value()) return absl::OkStatus();
  if (SaysHelperIsMissing(result.stderr_text)) {
    return Error(Reason::kToolMissing, "mount.nfs is not installed: install nfs-common",
                 {{"tool", "mount.nfs"}, {"package", "nfs-common"}});
  }
  if (absl::Status failed = CheckExit(spec, result); !failed.ok()) {
    const std::string lack = WhatMountingLacks();
    return lack.empty() ? failed : Annotate(failed, lack);
  }
  return Error(Reason::kShareUnavailable,
               fmt::format("mount reported success, but nothing is mounted on {}", directory_),
               {{"path", directory_}});
}

absl::Status Mounter::Unmount() {
  ASSIGN_OR_RETURN(std::optional<MountEntry> entry, Find());
  if (!entry.has_value()) return absl::OkStatus();
  ProcessSpec spec;
  spec.argv = {"umount", directory_};
  spec.timeout = kUnmountTimeout;
  ASSIGN_OR_RETURN(ProcessResult result, system_.processes->Run(spec));
  return CheckExit(spec, result);
}

bool Mounter::Pause() {
  const MonotonicTime end = MonotonicTime::Now() + options_.attempt_pause;
  MutexLock lock(&mutex_);
  while (!stop_.cancelled()) {
    absl::Duration left = end - MonotonicTime::Now();
    if (left <= absl::ZeroDuration()) return true;
    stopped_.WaitFor(&mutex_, left);
  }
  return false;
}

void Mounter::Stop() {
  MutexLock lock(&mutex_);
  stop_.Cancel();
  stopped_.NotifyAll();
}

}  // namespace cairn
