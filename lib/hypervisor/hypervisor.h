// What Cairn asks of the hypervisor that has a volume's disk open: to switch the disk to a new
// layer and to merge layers, without the guest noticing.
//
// The implementations are QMP, libvirt, and the consumer itself ("assisted"). Until one is there,
// the engine refuses to change the chain of an attached volume with VOLUME_IN_USE. Blocking;
// thread-safe.
#ifndef CAIRN_LIB_HYPERVISOR_HYPERVISOR_H_
#define CAIRN_LIB_HYPERVISOR_HYPERVISOR_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/base/format.h"

namespace cairn {

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  struct LayerSwitch {
    std::string new_file;  // absolute path of the empty layer
    FileFormat new_format = FileFormat::kQcow2;
    std::string backing_file;  // what becomes its backing file: the file that is open now
  };
  // After OK every later write of the guest goes to the new file.
  virtual absl::Status SwitchToLayer(const LayerSwitch& change) = 0;

  struct Merge {
    std::string top;  // absolute path; its data goes into `base`
    std::string base;
    std::string active;  // what the disk has open afterwards
  };
  virtual absl::Status MergeLayers(const Merge& merge, const CancelToken& cancel,
                                   const ProgressFn& progress) = 0;

  virtual absl::Status Resize(int64_t size_bytes) = 0;

  // The files that the disk has open now, active one first: the truth after an interruption.
  virtual absl::StatusOr<std::vector<std::string>> OpenFiles() = 0;
};

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_HYPERVISOR_H_
