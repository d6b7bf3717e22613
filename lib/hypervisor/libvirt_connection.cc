#include "lib/hypervisor/libvirt_connection.h"

#include <fmt/format.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace cairn {
namespace {

// Once for the process: libvirt must not write to our standard error, and its keep-alive needs an
// event loop.
absl::Status StartLibvirt() {
  if (virInitialize() < 0) {
    return Error(Reason::kHypervisorUnavailable, "libvirt's library cannot be initialised");
  }
  virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
  if (virEventRegisterDefaultImpl() < 0) {
    return Error(Reason::kHypervisorUnavailable, "libvirt's event loop cannot be set up");
  }
  try {
    std::thread([] {
      BlockSigpipe();
      // A round fails only if its poll does; a later one may do.
      for (;;) {
        if (virEventRunDefaultImpl() < 0) absl::SleepFor(absl::Seconds(1));
      }
    }).detach();
  } catch (const std::system_error& error) {
    return Error(Reason::kHypervisorUnavailable,
                 fmt::format("no thread for libvirt's event loop: {}", error.what()));
  }
  return absl::OkStatus();
}

absl::Status EnsureLibvirt() {
  static const auto* started = new absl::Status(StartLibvirt());
  return *started;
}

struct DomainFree {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
using DomainRef = std::unique_ptr<virDomain, DomainFree>;

// What went wrong last in this thread; copied, because the next call forgets it.
struct LibvirtError {
  int code = VIR_ERR_OK;
  int domain = VIR_FROM_NONE;
  std::string words = "it gives no reason";
};
LibvirtError LastLibvirtError() {
  LibvirtError error;
  if (virErrorPtr last = virGetLastError(); last != nullptr) {
    error.code = last->code;
    error.domain = last->domain;
    if (last->message != nullptr) error.words = last->message;
  }
  return error;
}

bool Says(const LibvirtError& error, std::string_view words) {
  return error.words.find(words) != std::string::npos;
}

bool IsConnectionError(const LibvirtError& error, virConnectPtr connection) {
  switch (error.code) {
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_RPC:
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_OPERATION_TIMEOUT:  // QEMU, or another command for it, holds the domain
      return true;
    default:
      break;
  }
  return error.domain == VIR_FROM_RPC || error.domain == VIR_FROM_REMOTE ||
         virConnectIsAlive(connection) != 1;
}

LibvirtJob::Kind KindOf(int type) {
  switch (type) {
    case VIR_DOMAIN_BLOCK_JOB_TYPE_PULL:
      return LibvirtJob::Kind::kPull;
    case VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT:
      return LibvirtJob::Kind::kCommit;
    case VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT:
      return LibvirtJob::Kind::kActiveCommit;
    case VIR_DOMAIN_BLOCK_JOB_TYPE_COPY:
      return LibvirtJob::Kind::kCopy;
    default:
      return LibvirtJob::Kind::kOther;
  }
}

}  // namespace

// Of the calls, in the call thread; after construction only that touches `connection`.
struct LibvirtConnection::Shared {
  std::string uri;
  std::string domain;
  virConnectPtr connection = nullptr;

  absl::Status Failure(Reason reason, const std::string& what, ErrorMetadata more = {}) const {
    more.insert({{"address", uri}, {"domain", domain}});
    return Error(reason, fmt::format("libvirt at {}, domain {}: {}", uri, domain, what),
                 std::move(more));
  }

  absl::Status Gone(const std::string& words) const {
    return Failure(Reason::kHypervisorUnavailable, words, {{"gone", "true"}});
  }

  // Whether this is why a call failed: the machine has ended, whatever libvirt calls the failure.
  bool HasEnded(virDomainPtr ref) const {
    int active = virDomainIsActive(ref);
    return active == 0 || (active < 0 && LastLibvirtError().code == VIR_ERR_NO_DOMAIN);
  }

  // `ref` may be null: the domain was looked for.
  absl::Status LastFailure(const std::string& attempted, virDomainPtr ref) const {
    const LibvirtError error = LastLibvirtError();
    const std::string what = fmt::format("{}: {}", attempted, error.words);
    if (error.code == VIR_ERR_NO_DOMAIN) return Gone(what);
    if (IsConnectionError(error, connection)) {
      return Failure(Reason::kHypervisorUnavailable, what);
    }
    if (ref != nullptr && HasEnded(ref)) return Gone(what);
    // As it ends libvirt may still call it active.
    if (Says(error, "domain is not running")) return Gone(what);
    // libvirt has lost QEMU, and will know in a moment that this was its end.
    if (Says(error, "monitor")) {
      return Failure(Reason::kHypervisorUnavailable, what);
    }
    // libvirt has no code for it; the words are those of QEMU, which runs in the C locale.
    if (Says(error, "No space left on device")) {
      return Failure(Reason::kNoSpace, what);
    }
    return Failure(Reason::kHypervisorFailed, what);
  }

  absl::Status Connect(absl::Duration limit) {
    connection = virConnectOpen(uri.c_str());
    if (connection == nullptr) {
      return Failure(Reason::kHypervisorUnavailable,
                     fmt::format("cannot connect: {}", LastLibvirtError().words));
    }
    // Dead after about `limit`. It is no error that a connection without a daemon has none.
    constexpr int kMessages = 3;
    int interval = static_cast<int>(absl::ToInt64Seconds(limit) / (kMessages + 1));
    virConnectSetKeepAlive(connection, std::max(interval, 1), kMessages);
    return absl::OkStatus();
  }

  // By UUID if it may be one, else by name.
  absl::StatusOr<DomainRef> FindDomain(const std::string& attempted) {
    constexpr size_t kUuidLength = 36;
    DomainRef found;
    if (domain.size() == kUuidLength) {
      found.reset(virDomainLookupByUUIDString(connection, domain.c_str()));
    }
    if (found == nullptr) found.reset(virDomainLookupByName(connection, domain.c_str()));
    if (found == nullptr) return LastFailure(attempted, nullptr);
    return found;
  }
};

absl::StatusOr<std::unique_ptr<LibvirtConnection>> LibvirtConnection::Open(
    const HypervisorAddress& address, const HypervisorOptions& options) {
  RETURN_IF_ERROR(EnsureLibvirt());
  ASSIGN_OR_RETURN(auto thread, CallThread::Start(address.address));
  auto shared = std::make_shared<Shared>();
  shared->uri = address.address;
  shared->domain = address.domain;
  std::unique_ptr<LibvirtConnection> opened(
      new LibvirtConnection(std::move(shared), options.answer_timeout, std::move(thread)));
  RETURN_IF_ERROR(opened->Call(
      options.connect_timeout, "cannot connect",
      [limit = options.answer_timeout](Shared& shared) { return shared.Connect(limit); }));
  return opened;
}

LibvirtConnection::~LibvirtConnection() {
  // To close it is a call as well, and nobody needs its outcome.
  thread_->RunLast([shared = shared_] {
    if (shared->connection != nullptr) virConnectClose(shared->connection);
  });
}

absl::Status LibvirtConnection::Failure(Reason reason, const std::string& what) const {
  return shared_->Failure(reason, what);
}

absl::Status LibvirtConnection::Call(absl::Duration limit, const std::string& attempted,
                                     Question question) {
  auto outcome = std::make_shared<absl::Status>();
  bool answered = thread_->Run(
      [shared = shared_, outcome, question = std::move(question)] { *outcome = question(*shared); },
      limit);
  if (answered) return *outcome;
  return shared_->Failure(
      Reason::kHypervisorUnavailable,
      fmt::format("{}: no answer within {}", attempted, absl::FormatDuration(limit)));
}

absl::Status LibvirtConnection::AskDomain(const std::string& attempted,
                                          std::function<int(_virDomain*)> ask) {
  return Call(limit_, attempted, [attempted, ask = std::move(ask)](Shared& shared) -> absl::Status {
    ASSIGN_OR_RETURN(DomainRef domain, shared.FindDomain(attempted));
    if (ask(domain.get()) < 0) return shared.LastFailure(attempted, domain.get());
    return absl::OkStatus();
  });
}

absl::StatusOr<LibvirtDomain> LibvirtConnection::Domain() {
  auto xml = std::make_shared<std::string>();
  RETURN_IF_ERROR(AskDomain("its XML", [xml](virDomainPtr domain) {
    std::unique_ptr<char, decltype(&free)> text(virDomainGetXMLDesc(domain, 0), &free);
    if (text == nullptr) return -1;
    *xml = text.get();
    return 0;
  }));
  ASSIGN_OR_RETURN(LibvirtDomain domain, ParseLibvirtDomain(*xml));
  if (!domain.running) return shared_->Gone("it does not run");
  return domain;
}

absl::StatusOr<int64_t> LibvirtConnection::Capacity(const std::string& disk) {
  auto info = std::make_shared<virDomainBlockInfo>();
  RETURN_IF_ERROR(AskDomain("the size of disk " + disk, [info, disk](virDomainPtr domain) {
    return virDomainGetBlockInfo(domain, disk.c_str(), info.get(), 0);
  }));
  return static_cast<int64_t>(info->capacity);
}

absl::StatusOr<std::optional<LibvirtJob>> LibvirtConnection::FindJob(const std::string& disk) {
  auto job = std::make_shared<std::optional<LibvirtJob>>();
  RETURN_IF_ERROR(AskDomain("the job of disk " + disk, [job, disk](virDomainPtr domain) {
    virDomainBlockJobInfo info = {};
    int found = virDomainGetBlockJobInfo(domain, disk.c_str(), &info, 0);
    if (found == 1) {
      *job = LibvirtJob{KindOf(info.type), static_cast<int64_t>(info.cur),
                        static_cast<int64_t>(info.end)};
    }
    return found;
  }));
  return *job;
}

absl::Status LibvirtConnection::Snapshot(const std::string& xml, bool quiesce) {
  return AskDomain("switching to new layers", [xml, quiesce](virDomainPtr domain) {
    unsigned int flags = VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY |
                         VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT |
                         VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;
    if (quiesce) flags |= VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE;
    virDomainSnapshotPtr snapshot = virDomainSnapshotCreateXML(domain, xml.c_str(), flags);
    if (snapshot == nullptr) return -1;
    virDomainSnapshotFree(snapshot);
    return 0;
  });
}

absl::Status LibvirtConnection::BeginCommit(const std::string& disk, const std::string& top,
                                            const std::string& base) {
  return AskDomain(fmt::format("committing {} into {}", top, base),
                   [disk, top, base](virDomainPtr domain) {
                     return virDomainBlockCommit(domain, disk.c_str(), base.c_str(), top.c_str(), 0,
                                                 VIR_DOMAIN_BLOCK_COMMIT_RELATIVE);
                   });
}

absl::Status LibvirtConnection::BeginPull(const std::string& disk, const std::string& base) {
  if (base.empty()) {
    return AskDomain("streaming all into " + disk, [disk](virDomainPtr domain) {
      return virDomainBlockPull(domain, disk.c_str(), 0, 0);
    });
  }
  return AskDomain(fmt::format("streaming down to {} into {}", base, disk),
                   [disk, base](virDomainPtr domain) {
                     return virDomainBlockRebase(domain, disk.c_str(), base.c_str(), 0,
                                                 VIR_DOMAIN_BLOCK_REBASE_RELATIVE);
                   });
}

absl::Status LibvirtConnection::BeginCopy(const std::string& disk, const std::string& xml,
                                          bool shallow) {
  return AskDomain("copying disk " + disk, [disk, xml, shallow](virDomainPtr domain) {
    unsigned int flags = VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB;
    flags |= shallow ? VIR_DOMAIN_BLOCK_COPY_SHALLOW : VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES;
    return virDomainBlockCopy(domain, disk.c_str(), xml.c_str(), nullptr, 0, flags);
  });
}

absl::Status LibvirtConnection::EndJob(const std::string& disk, bool pivot) {
  return AskDomain(fmt::format("{} disk {}", pivot ? "moving" : "ending the job of", disk),
                   [disk, pivot](virDomainPtr domain) {
                     return virDomainBlockJobAbort(domain, disk.c_str(),
                                                   pivot ? VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT : 0);
                   });
}

absl::Status LibvirtConnection::Resize(const std::string& disk, int64_t size_bytes) {
  return AskDomain(fmt::format("resizing disk {} to {} bytes", disk, size_bytes),
                   [disk, size_bytes](virDomainPtr domain) {
                     return virDomainBlockResize(domain, disk.c_str(),
                                                 static_cast<unsigned long long>(size_bytes),
                                                 VIR_DOMAIN_BLOCK_RESIZE_BYTES);
                   });
}

}  // namespace cairn
