// Plans: what to do to files, as data. A plan is made, written to the journal, then applied step by
// step; after a crash it is read back and applied again from its start, or undone.
//
// Every step can be done twice with the same outcome, whatever the steps after it have done. Files
// are bare names on a share that is named by its address.
#ifndef CAIRN_LIB_CHAIN_PLAN_H_
#define CAIRN_LIB_CHAIN_PLAN_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/disk_change.h"
#include "lib/base/format.h"
#include "lib/chain/info_map.h"

namespace cairn {

// New names are given to nobody's but new files: whatever has the name of an image that is made, copied
// or converted stops the step with FILE_EXISTS. Done once more, a step takes what it finds for its own.

// A new image, empty or on top of a backing file. What has its name when the step is done once more is
// whole, and somebody may have written into it.
struct MakeImageStep {
  std::string share;
  std::string file;
  VolumeFormat format = VolumeFormat::kQcow2;
  int64_t size_bytes = 0;
  std::string backing_file;
  FileFormat backing_format = FileFormat::kRaw;
  bool operator==(const MakeImageStep&) const = default;
};

// Makes an image larger; nothing to do when it is.
struct GrowImageStep {
  std::string share;
  std::string file;
  VolumeFormat format = VolumeFormat::kQcow2;
  int64_t size_bytes = 0;
  bool operator==(const GrowImageStep&) const = default;
};

// A byte-for-byte copy of one file, by the server's own means where it has them.
struct CopyFileStep {
  std::string source_share;
  std::string source_file;
  std::string share;
  std::string file;
  bool allocate = false;
  bool operator==(const CopyFileStep&) const = default;
};

// The content of a file and of all below it, as one new image. How, is decided when it is done: by
// copying the file where its bytes are all of it, else by reading it.
struct ConvertStep {
  std::string source_share;
  std::string source_file;  // a bare name; or an absolute path when source_share is empty
  FileFormat source_format = FileFormat::kRaw;
  std::string share;
  std::string file;
  VolumeFormat format = VolumeFormat::kQcow2;
  int64_t size_bytes = 0;
  bool operator==(const ConvertStep&) const = default;
};

// Merges a layer into its backing file. A layer that is gone has been merged, when the step is done once
// more: it is removed last.
struct CommitStep {
  std::string share;
  std::string layer;
  std::string base;
  // What the layer took on the share when the plan was made, with what is merged into it before;
  // nothing: not known, as in journals of old, and perhaps much.
  std::optional<int64_t> layer_bytes{};
  bool operator==(const CommitStep&) const = default;
};

// Changes what a layer names as its backing file, in its header alone.
struct RepointStep {
  std::string share;
  std::string layer;
  std::string backing_file;
  FileFormat backing_format = FileFormat::kRaw;
  // What the layer names before the step. A header that names a third file belongs to a chain that has
  // gone on without this plan, and is left alone. Nothing: not known, as in older journals.
  std::optional<std::string> instead_of{};
  bool operator==(const RepointStep&) const = default;
};

// What the map says before a WriteMapStep: enough to tell a map that has gone on without the plan.
struct FormerMap {
  std::string active;                // empty: there is no map
  std::vector<std::string> dropped;  // the snapshot ids that the step takes out of the map
  bool operator==(const FormerMap&) const = default;
};

// Replaces the map as a whole. Done once more it writes only over the map that it was to replace: one
// that names another active file, or a snapshot that neither map has, is newer than the plan
// (CATALOG_OLDER).
struct WriteMapStep {
  std::string share;
  std::string volume_id;
  InfoMap map;
  std::optional<FormerMap> former{};  // nothing: not known, as in older journals
  bool operator==(const WriteMapStep&) const = default;
};

// Writes a map durably under the operation's temporary name, for the WriteMapStep that follows: what
// needs room is done before the point of no return.
struct PrepareMapStep {
  std::string share;
  std::string volume_id;
  InfoMap map;
  bool operator==(const PrepareMapStep&) const = default;
};

// In this order; files that are not there are passed over.
struct RemoveFilesStep {
  std::string share;
  std::vector<std::string> files;
  bool operator==(const RemoveFilesStep&) const = default;
};

// Gives a file its final name. A source that is gone has been renamed, when the step is done once more.
struct RenameStep {
  std::string share;
  std::string from;
  std::string to;
  // Whether a file that has the name goes; FILE_EXISTS else. Nothing: it does, as in older journals.
  std::optional<bool> replaces{};
  bool operator==(const RenameStep&) const = default;
};

// Content comes from outside into `file`; the plan goes on when it is complete. After a restart it
// is not.
struct ReceiveContentStep {
  std::string share;
  std::string file;
  VolumeFormat format = VolumeFormat::kQcow2;
  bool operator==(const ReceiveContentStep&) const = default;
};

// Undoes a GrowImageStep: the former size, before anybody has used the new one.
struct UngrowImageStep {
  std::string share;
  std::string file;
  FileFormat format = FileFormat::kRaw;
  int64_t size_bytes = 0;
  bool operator==(const UngrowImageStep&) const = default;
};

// A layer must name this backing file now; IMAGE_MISMATCH else. What is asked of the files before a
// hypervisor, or a consumer, is believed.
struct CheckBackingStep {
  std::string share;
  std::string layer;
  std::string backing_file;  // empty: none
  bool operator==(const CheckBackingStep&) const = default;
};

// ---- on disks that are in use: see ChangesDisks

// The hypervisor must have open what is recorded. Nothing is changed.
struct CheckDiskStep {
  std::string share;
  std::string volume_id;
  std::string attachment_id;
  std::vector<std::string> files;  // the active one first
  int64_t size_bytes = 0;
  bool operator==(const CheckDiskStep&) const = default;
};

// The hypervisor must not have the disk open any more; VOLUME_IN_USE else.
struct CheckClosedStep {
  std::string share;
  std::string volume_id;
  std::string attachment_id;
  bool operator==(const CheckClosedStep&) const = default;
};

// Disks of one machine are changed at one instant, by the hypervisor or by the consumer. Where a
// disk is not in use any more, because it was detached meanwhile, its files are brought to what they
// would be.
struct ChangeDisksStep {
  std::string share;
  std::vector<DiskInstruction> instructions;
  bool operator==(const ChangeDisksStep&) const = default;
};

// Both files of a DiskMove, the only instruction, are made the same and kept the same. The
// ChangeDisksStep that follows lets the second one take over.
struct MirrorDiskStep {
  std::string share;
  std::vector<DiskInstruction> instructions;
  bool operator==(const MirrorDiskStep&) const = default;
};

// Undoes a MirrorDiskStep.
struct StopMirrorStep {
  std::string share;
  std::vector<DiskInstruction> instructions;
  bool operator==(const StopMirrorStep&) const = default;
};

using Step =
    std::variant<MakeImageStep, GrowImageStep, CopyFileStep, ConvertStep, CommitStep, RepointStep,
                 WriteMapStep, RemoveFilesStep, RenameStep, ReceiveContentStep, UngrowImageStep,
                 CheckBackingStep, CheckDiskStep, CheckClosedStep, ChangeDisksStep, MirrorDiskStep,
                 StopMirrorStep, PrepareMapStep>;

struct Plan {
  std::vector<Step> steps;
  // Steps from this index on can only go forward; before the first of them the records say so. The
  // number of steps: it can be undone until it has ended.
  size_t no_return = 0;
  // Brings everything back to what it was, from wherever the steps before no_return stopped.
  std::vector<Step> undo;
  // From this index on it can be given up again: what went before stands for itself, and
  // `undo_settled` takes back the rest. The default: never.
  size_t settled = static_cast<size_t>(-1);
  std::vector<Step> undo_settled;
  bool operator==(const Plan&) const = default;
};

// "merging volume-… into volume-…": for people.
std::string DescribeStep(const Step& step);
// About disks in use, and thus a question to a hypervisor rather than work on files.
template <typename T>
concept OnDisks = std::is_same_v<T, CheckDiskStep> || std::is_same_v<T, CheckClosedStep> ||
    std::is_same_v<T, ChangeDisksStep> || std::is_same_v<T, MirrorDiskStep> ||
    std::is_same_v<T, StopMirrorStep>;
bool IsOnDisks(const Step& step);
// Whether any step changes disks in use.
bool ChangesDisks(const Plan& plan);
// Whether the step may move data in bulk (it then runs on the narrow lane).
bool IsBulk(const Step& step);
// Whether step `index` is followed by one that fsyncs the directory in which it makes a name, so that
// once is enough. After a crash between them both are done again.
bool IsSyncedByNext(const Plan& plan, size_t index);
// Whether a PrepareMapStep has written the map of the WriteMapStep `index` under its temporary name, so
// that what is left to do needs no room.
bool IsPrepared(const Plan& plan, size_t index);
// Whether the plan, carried out once more, finds everything done and leaves it as it is, whatever has
// been written into its files since: it only gives new files their names.
bool IsFoundDone(const Plan& plan);
// The share whose files the step changes.
const std::string& ShareOf(const Step& step);
// Every share that the plan, or its undoing, reads or changes.
std::set<std::string> SharesOf(const Plan& plan);

std::string PlanToJson(const Plan& plan);
absl::StatusOr<Plan> PlanFromJson(std::string_view text);

}  // namespace cairn

#endif  // CAIRN_LIB_CHAIN_PLAN_H_
