// The calls of the libvirt API that Cairn makes, of one domain: with limits, and with our errors.
//
// libvirt's calls have no time limit of their own. Each runs in a CallThread that is left behind after
// HypervisorOptions::answer_timeout; the connection is of no use from then on. Keep-alive messages
// end the calls of a daemon that has stopped or whose host is gone, so that such threads end. They
// are no limit by themselves: they begin after the greeting, and a daemon that waits for a hung QEMU
// answers them well.
//
// Errors: HYPERVISOR_UNAVAILABLE when the connection is lost or the limit passed; the same with
// metadata {gone: true} when the domain does not run or is not defined; NO_SPACE; else
// HYPERVISOR_FAILED, all with libvirt's own words. One caller at a time.
#ifndef CAIRN_LIB_HYPERVISOR_LIBVIRT_CONNECTION_H_
#define CAIRN_LIB_HYPERVISOR_LIBVIRT_CONNECTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/hypervisor_address.h"
#include "lib/base/status.h"
#include "lib/hypervisor/call_thread.h"
#include "lib/hypervisor/hypervisor.h"
#include "lib/hypervisor/libvirt_domain_xml.h"

struct _virDomain;  // libvirt's virDomain

namespace cairn {

struct LibvirtJob {
  enum class Kind { kPull, kCommit, kActiveCommit, kCopy, kOther };
  Kind kind = Kind::kOther;
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;
};

class LibvirtConnection {
 public:
  static absl::StatusOr<std::unique_ptr<LibvirtConnection>> Open(const HypervisorAddress& address,
                                                                 const HypervisorOptions& options);
  ~LibvirtConnection();

  // An error of our own about this domain, in the form of those that libvirt gives.
  absl::Status Failure(Reason reason, const std::string& what) const;

  // The live one: a domain that does not run is gone.
  absl::StatusOr<LibvirtDomain> Domain();
  // `disk` is the target here and below.
  absl::StatusOr<int64_t> Capacity(const std::string& disk);
  absl::StatusOr<std::optional<LibvirtJob>> FindJob(const std::string& disk);

  absl::Status Snapshot(const std::string& xml, bool quiesce);
  // `top`, `base`: paths, or "vda[3]" for the file with that index.
  absl::Status BeginCommit(const std::string& disk, const std::string& top,
                           const std::string& base);
  // `base` stays below; empty: nothing does.
  absl::Status BeginPull(const std::string& disk, const std::string& base);
  // Of the whole disk with all that is written to it meanwhile before the guest is told, or, `shallow`,
  // of the active file, with what is written following. The two exclude each other: libvirt opens
  // the files below a shallow copy only when it takes over, and a part of a cluster that the guest
  // writes into the copy before would have zeros around it.
  absl::Status BeginCopy(const std::string& disk, const std::string& xml, bool shallow);
  // Waits until it is over.
  absl::Status EndJob(const std::string& disk, bool pivot);
  absl::Status Resize(const std::string& disk, int64_t size_bytes);
  // What QEMU has in memory of the disk's active file gets written and synced. libvirt has no call
  // for that: this goes past it to QEMU's monitor, which "taints" the domain in libvirt's log.
  absl::Status Flush(const LibvirtDisk& disk);
  // The same, of the file to which a disk is being copied.
  absl::Status FlushFile(const std::string& path);
  // The guest stands still until Release(), also when that is called by another connection, unless
  // it is paused anyway.
  absl::Status Hold();
  // Ends what Hold() has begun, if it has.
  absl::Status Release();
  // In the definition of a domain that has one libvirt writes down, with a switch, the file below the
  // new layer. The machine could not start once that has been merged: these disks' definitions name
  // only the active file again.
  absl::Status ForgetBacking(const std::vector<std::string>& disks);

 private:
  struct Shared;
  using Question = std::function<absl::Status(Shared&)>;

  LibvirtConnection(std::shared_ptr<Shared> shared, absl::Duration limit,
                    std::unique_ptr<CallThread> thread)
      : shared_(std::move(shared)), limit_(limit), thread_(std::move(thread)) {}
  absl::Status Call(absl::Duration limit, const std::string& attempted, Question question);
  // With the domain looked up; `ask` answers as libvirt does, below 0 for a failure. What it shares
  // with the caller it holds by shared_ptr.
  absl::Status AskDomain(const std::string& attempted, std::function<int(_virDomain*)> ask);
  absl::Status FlushNode(const std::string& attempted, const std::string& node);
  absl::StatusOr<std::string> AskMonitor(const std::string& attempted, const std::string& command,
                                         unsigned int flags);

  const std::shared_ptr<Shared> shared_;
  const absl::Duration limit_;
  const std::unique_ptr<CallThread> thread_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_LIBVIRT_CONNECTION_H_
