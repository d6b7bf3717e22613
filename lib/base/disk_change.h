// What the hypervisor that has a disk open is asked to change. Plain values: they stand in plans and
// in the journal, a hypervisor carries them out, and an assisting consumer is shown them.
//
// All file names are bare names on the volume's share; every file that is named exists.
#ifndef CAIRN_LIB_BASE_DISK_CHANGE_H_
#define CAIRN_LIB_BASE_DISK_CHANGE_H_

#include <cstdint>
#include <string>
#include <variant>

#include "lib/base/format.h"

namespace cairn {

// All further writes go to a new, empty layer; its header names the present active file already.
struct LayerSwitch {
  std::string file;          // the new layer: qcow2
  std::string backing_file;  // the file that is active now
  FileFormat backing_format = FileFormat::kRaw;
  bool quiesce = false;  // through the guest agent; if that cannot be done nothing is switched
  bool operator==(const LayerSwitch&) const = default;
};

enum class MergeDirection {
  kCommit,  // the upper file's content goes down into the lower one, the upper leaves the chain
  kStream,  // the lower file's content goes up into the upper one, the lower leaves the chain
};

// Two neighbouring files of the chain become one. With kCommit `top` is never the active file, after
// whose commit and the death of the hypervisor nobody could tell where the guest's last writes are.
//
// Until the hypervisor has said that it is done the file that is to leave the chain stays, and the
// header of `rebased` proves nothing: QEMU 7.2 writes it while tables of the merged data may still be
// in its memory. A commit can be done again then, a stream taken back by naming `base` again.
struct LayerMerge {
  MergeDirection direction = MergeDirection::kCommit;
  std::string top;
  std::string base;
  // Whose header names another backing file afterwards: with kCommit the file above `top`, with
  // kStream `top`.
  std::string rebased;
  // What it names: with kCommit `base`, with kStream what `base` names; empty: nothing.
  std::string backing_after;
  FileFormat backing_format_after = FileFormat::kRaw;
  FileFormat base_format = FileFormat::kRaw;
  bool operator==(const LayerMerge&) const = default;
};

// The disk is larger; the guest is told.
struct DiskResize {
  std::string file;  // the active one
  int64_t size_bytes = 0;
  bool operator==(const DiskResize&) const = default;
};

// The active file's content moves to a file on another share, which takes all writes from then on.
// The files below it are there already, under the same names.
struct DiskMove {
  std::string file;  // the active one: the same bare name here and there
  FileFormat format = FileFormat::kQcow2;
  std::string target_share;
  // The consumer makes both files the same and switches; else a mirror keeps them the same already.
  bool by_consumer = false;
  bool operator==(const DiskMove&) const = default;
};

using DiskChange = std::variant<LayerSwitch, LayerMerge, DiskResize, DiskMove>;

// A change of one disk.
struct DiskInstruction {
  std::string volume_id;
  std::string attachment_id;  // through which it is open
  DiskChange change;
  bool operator==(const DiskInstruction&) const = default;
};

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_DISK_CHANGE_H_
