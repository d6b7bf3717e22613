#include "lib/image/content.h"

#include <fmt/format.h>
#include <libnbd.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/image_tool.h"
#include "lib/image/qemu_error.h"
#include "lib/os/file_system.h"

namespace cairn {
namespace {

constexpr char kAllocationContext[] = "base:allocation";
// qemu-nbd takes at most 32 MiB in one request.
constexpr int64_t kRequestBytes = 8 * kMiB;
// Lengths without data are 32-bit in the protocol; a multiple of every block size.
constexpr int64_t kExtentRangeBytes = kGiB;
// A share that answers slowly delays the opening of a long chain.
constexpr absl::Duration kStartMax = absl::Seconds(60);
constexpr absl::Duration kEndMax = absl::Seconds(60);
// From a refused connection to the end of the server.
constexpr absl::Duration kGiveUpMax = absl::Seconds(5);
constexpr absl::Duration kPollMin = absl::Milliseconds(1);
constexpr absl::Duration kPollMax = absl::Milliseconds(50);

// Calls `done` with growing pauses until it is true; false when `limit` passed first.
template <typename Predicate>
bool PollUntil(absl::Duration limit, Predicate done) {
  const MonotonicTime end = MonotonicTime::Now() + limit;
  for (absl::Duration pause = kPollMin; !done(); pause = std::min(pause * 2, kPollMax)) {
    if (MonotonicTime::Now() > end) return false;
    absl::SleepFor(pause);
  }
  return true;
}

// A directory that only we may enter: whoever reaches the socket reaches the image.
class SocketDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<SocketDirectory>> Make() {
    const char* named = getenv("TMPDIR");
    const std::string parent = named != nullptr && *named == '/' ? named : "/tmp";
    std::string path = parent + "/cairn-nbd-XXXXXX";
    // Neither the share nor the image is to blame.
    const auto error = [&](std::string_view why) {
      return Error(
          Reason::kToolFailed,
          fmt::format("the directory for temporary files, {} (TMPDIR), is not usable: {}; the "
                      "socket of qemu-nbd is made there",
                      parent, why),
          {{"tool", "qemu-nbd"}});
    };
    if (path.size() + sizeof("/socket") > sizeof(sockaddr_un::sun_path)) {
      return error("its path is too long for a UNIX socket");
    }
    if (mkdtemp(path.data()) == nullptr) return error(strerrordesc_np(errno));
    return std::unique_ptr<SocketDirectory>(new SocketDirectory(std::move(path)));
  }
  ~SocketDirectory() {
    unlink(socket().c_str());
    rmdir(path_.c_str());
  }
  SocketDirectory(const SocketDirectory&) = delete;
  SocketDirectory& operator=(const SocketDirectory&) = delete;

  std::string socket() const { return path_ + "/socket"; }

 private:
  explicit SocketDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

struct NbdCloser {
  void operator()(nbd_handle* nbd) const { nbd_close(nbd); }
};
using NbdHandle = std::unique_ptr<nbd_handle, NbdCloser>;

// The last error of libnbd on this thread.
absl::Status NbdError(std::string_view attempted) {
  const char* text = nbd_get_error();
  const std::string message = fmt::format("{}: {}", attempted, text != nullptr ? text : "?");
  if (const int error_number = nbd_get_errno(); error_number != 0) {
    return ErrnoError(error_number, message, {{"tool", "qemu-nbd"}});
  }
  return Error(Reason::kToolFailed, message, {{"tool", "qemu-nbd"}});
}

// Nothing when the server does not listen yet.
absl::StatusOr<NbdHandle> Connect(const std::string& socket) {
  NbdHandle nbd(nbd_create());
  if (nbd == nullptr) return NbdError("nbd_create");
  if (nbd_add_meta_context(nbd.get(), kAllocationContext) < 0) {
    return NbdError("nbd_add_meta_context");
  }
  if (nbd_connect_unix(nbd.get(), socket.c_str()) == 0) return nbd;
  const int error_number = nbd_get_errno();
  if (error_number == ENOENT || error_number == ECONNREFUSED) return NbdHandle();
  return NbdError("nbd_connect_unix");
}

class NbdContent : public ImageContent {
 public:
  // All that keeps a session alive; members end in the reverse order.
  struct Session {
    std::unique_ptr<SocketDirectory> directory;
    std::unique_ptr<Process> server;
    NbdHandle nbd;
  };

  NbdContent(OpenContentOptions options, Session session, int64_t size_bytes)
      : options_(std::move(options)), session_(std::move(session)), size_bytes_(size_bytes) {}

  int64_t size_bytes() const override { return size_bytes_; }

  absl::StatusOr<ContentExtent> ExtentAt(int64_t offset, int64_t length_max) override {
    RETURN_IF_ERROR(CheckRange(offset, length_max));
    if (length_max == 0) return ContentExtent{};
    while (!known_.empty() && known_.front().begin + known_.front().extent.length <= offset) {
      known_.pop_front();
    }
    if (known_.empty() || known_.front().begin > offset) {
      RETURN_IF_ERROR(AskExtents(offset, std::min(length_max, kExtentRangeBytes)));
    }
    const Known& known = known_.front();
    return ContentExtent{std::min(length_max, known.begin + known.extent.length - offset),
                         known.extent.zero};
  }

  absl::StatusOr<std::string> Read(int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(CheckRange(offset, length));
    std::string data(static_cast<size_t>(length), '\0');
    for (int64_t done = 0; done < length;) {
      const int64_t now = std::min(length - done, kRequestBytes);
      if (nbd_pread(session_.nbd.get(), data.data() + done, static_cast<size_t>(now),
                    static_cast<uint64_t>(offset + done), 0) < 0) {
        return Failed("read");
      }
      done += now;
    }
    return data;
  }

  absl::Status Write(int64_t offset, std::string_view data) override {
    const auto length = static_cast<int64_t>(data.size());
    RETURN_IF_ERROR(CheckWrite(offset, length));
    for (int64_t done = 0; done < length;) {
      const int64_t now = std::min(length - done, kRequestBytes);
      if (nbd_pwrite(session_.nbd.get(), data.data() + done, static_cast<size_t>(now),
                     static_cast<uint64_t>(offset + done), 0) < 0) {
        return Failed("write");
      }
      done += now;
    }
    return absl::OkStatus();
  }

  absl::Status WriteZeros(int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(CheckWrite(offset, length));
    const uint32_t flags = options_.keep_allocated ? LIBNBD_CMD_FLAG_NO_HOLE : 0;
    for (int64_t done = 0; done < length;) {
      const int64_t now = std::min(length - done, kExtentRangeBytes);
      if (nbd_zero(session_.nbd.get(), static_cast<uint64_t>(now),
                   static_cast<uint64_t>(offset + done), flags) < 0) {
        return Failed("write zeros");
      }
      done += now;
    }
    return absl::OkStatus();
  }

  absl::Status FlushAndClose() override {
    RETURN_IF_ERROR(CheckOpen());
    if (options_.writable && nbd_flush(session_.nbd.get(), 0) < 0) return Failed("flush");
    if (nbd_shutdown(session_.nbd.get(), 0) < 0) return Failed("close");
    session_.nbd.reset();
    // qemu-nbd ends after its only client; it writes the last of its metadata then.
    if (!PollUntil(kEndMax, [this] { return !session_.server->running(); })) {
      return Error(Reason::kDeadline, "qemu-nbd does not end", {{"tool", "qemu-nbd"}});
    }
    RETURN_IF_ERROR(ErrorInQemuText("qemu-nbd", session_.server->stderr_text()));
    if (!options_.writable) return absl::OkStatus();
    ASSIGN_OR_RETURN(auto file, FileSystem::Posix()->Open(options_.path, OpenMode::kReadWrite));
    return file->Sync();
  }

 private:
  struct Known {
    int64_t begin = 0;
    ContentExtent extent;
  };

  absl::Status CheckOpen() const {
    if (session_.nbd != nullptr) return absl::OkStatus();
    return Error(Reason::kInternal, "the image's content is closed");
  }

  absl::Status CheckRange(int64_t offset, int64_t length) const {
    RETURN_IF_ERROR(CheckOpen());
    if (offset >= 0 && length >= 0 && offset <= size_bytes_ && length <= size_bytes_ - offset) {
      return absl::OkStatus();
    }
    return InvalidField(
        "offset",
        fmt::format("range of {} bytes outside the image of {} bytes", length, size_bytes_),
        std::to_string(offset));
  }

  absl::Status CheckWrite(int64_t offset, int64_t length) {
    RETURN_IF_ERROR(CheckRange(offset, length));
    if (!options_.writable) return Error(Reason::kInternal, "the image is open for reading only");
    known_.clear();
    return absl::OkStatus();
  }

  // One answer may describe thousands of extents: they are kept for the calls to come.
  absl::Status AskExtents(int64_t offset, int64_t length) {
    known_.clear();
    asked_at_ = offset;
    nbd_extent_callback callback = {
        .callback = &NbdContent::TakeExtents, .user_data = this, .free = nullptr};
    if (nbd_block_status(session_.nbd.get(), static_cast<uint64_t>(length),
                         static_cast<uint64_t>(offset), callback, 0) < 0) {
      return Failed("ask for the extents");
    }
    if (!known_.empty()) return absl::OkStatus();
    return Error(Reason::kToolFailed, "qemu-nbd told no extent", {{"tool", "qemu-nbd"}});
  }

  // Pairs of length and flags, from the offset asked for on; the last may exceed what was asked.
  static int TakeExtents(void* user_data, const char* context, uint64_t /*offset*/,
                         uint32_t* entries, size_t count, int* /*error*/) {
    auto* self = static_cast<NbdContent*>(user_data);
    if (std::string_view(context) != kAllocationContext) return 0;
    int64_t begin = self->asked_at_;
    for (size_t i = 0; i + 1 < count && begin < self->size_bytes_; i += 2) {
      const int64_t length = std::min<int64_t>(entries[i], self->size_bytes_ - begin);
      if (length == 0) continue;
      self->known_.push_back({begin, {length, (entries[i + 1] & LIBNBD_STATE_ZERO) != 0}});
      begin += length;
    }
    return 0;
  }

  // With what qemu-nbd had to say.
  absl::Status Failed(std::string_view attempted) {
    const absl::Status status = NbdError(fmt::format("cannot {} {}", attempted, options_.path));
    const std::string text = session_.server->stderr_text();
    return text.empty() ? status : Annotate(status, text);
  }

  const OpenContentOptions options_;
  Session session_;
  const int64_t size_bytes_;
  std::deque<Known> known_;  // in ascending order, without gaps
  int64_t asked_at_ = 0;
};

ProcessSpec ServerSpec(const OpenContentOptions& options, const std::string& socket) {
  ProcessSpec spec;
  // No --persistent: it ends with its only client, also when that is killed.
  spec.argv = {"qemu-nbd",         "--socket=" + socket,
               "--shared=1",       "--format=" + std::string(FileFormatName(options.format)),
               "--discard=unmap",  "--detect-zeroes=off",
               "--cache=writeback"};
  if (!options.writable) spec.argv.push_back("--read-only");
  spec.argv.insert(spec.argv.end(), {"--", QemuPath(options.path)});
  spec.address_space_bytes = kToolAddressSpaceBytes;
  spec.output_max_bytes = 64 * kKiB;
  return spec;
}

absl::Status ServerEnded(const std::string& stderr_text) {
  RETURN_IF_ERROR(ErrorInQemuText("qemu-nbd", stderr_text));
  return Error(Reason::kToolFailed, fmt::format("qemu-nbd ended: {}", stderr_text),
               {{"tool", "qemu-nbd"}});
}

// qemu-nbd listens first and opens the image then: a client may be let in, and thrown out when that
// fails. So whatever happened to the connection, a server that ended has the better reason.
absl::StatusOr<NbdHandle> ConnectWhenReady(Process& server, const std::string& socket,
                                           const std::string& path) {
  absl::StatusOr<NbdHandle> nbd = NbdHandle();
  const bool settled = PollUntil(kStartMax, [&] {
    // Asked first: what ended after the look is seen by the next one.
    const bool running = server.running();
    nbd = Connect(socket);
    return !running || !nbd.ok() || *nbd != nullptr;
  });
  if (!settled) return Error(Reason::kDeadline, "qemu-nbd does not start", {{"tool", "qemu-nbd"}});
  if (nbd.ok() && *nbd != nullptr) return nbd;
  if (PollUntil(kGiveUpMax, [&] { return !server.running(); })) {
    server.Stop(absl::ZeroDuration());  // all of its standard error is read now
    nbd = ServerEnded(server.stderr_text());
  }
  return Annotate(nbd.status(), path, {{"path", path}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<ImageContent>> OpenImageContent(ProcessRunner* processes,
                                                               const OpenContentOptions& options) {
  NbdContent::Session session;
  ASSIGN_OR_RETURN(session.directory, SocketDirectory::Make());
  const std::string socket = session.directory->socket();
  auto started = processes->Start(ServerSpec(options, socket));
  if (!started.ok()) return AnnotateMissingTool(started.status());
  session.server = *std::move(started);

  ASSIGN_OR_RETURN(session.nbd, ConnectWhenReady(*session.server, socket, options.path));

  const int64_t size_bytes = nbd_get_size(session.nbd.get());
  if (size_bytes < 0) return NbdError("nbd_get_size");
  if (nbd_can_meta_context(session.nbd.get(), kAllocationContext) != 1) {
    return Error(Reason::kToolFailed, "qemu-nbd tells no extents", {{"tool", "qemu-nbd"}});
  }
  return std::make_unique<NbdContent>(options, std::move(session), size_bytes);
}

}  // namespace cairn
