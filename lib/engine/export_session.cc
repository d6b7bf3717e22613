#include "lib/engine/export_session.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/content.h"

namespace cairn {
namespace {

constexpr int64_t kChunkDefault = kMiB;
constexpr int64_t kChunkMin = 4 * kKiB;
constexpr int64_t kChunkMax = 2 * kMiB;
constexpr absl::Duration kExportIdleMax = absl::Minutes(1);

// What is read, resolved from the request.
struct ExportSource {
  std::string volume_id;
  std::string file;
  int64_t size_bytes = 0;
};

absl::StatusOr<ExportSource> Resolve(Core& core, ExportRequest& request) {
  if (request.volume_id.empty() == request.snapshot_id.empty()) {
    return InvalidField("source", "exactly one of volume_id and snapshot_id is required");
  }
  ExportSource source;
  if (!request.snapshot_id.empty()) {
    ASSIGN_OR_RETURN(request.snapshot_id, ParseId("snapshot_id", request.snapshot_id));
    ASSIGN_OR_RETURN(SnapshotPtr snapshot, core.Snapshot(request.snapshot_id));
    if (snapshot->state != SnapshotState::kAvailable) return WrongState(*snapshot, "export");
    source = {snapshot->volume_id, snapshot->file, snapshot->size_bytes};
  } else {
    ASSIGN_OR_RETURN(request.volume_id, ParseId("volume_id", request.volume_id));
    ASSIGN_OR_RETURN(VolumePtr volume, core.Volume(request.volume_id));
    const bool whole = volume->state != VolumeState::kCreating &&
                       volume->state != VolumeState::kDeleting &&
                       volume->state != VolumeState::kError;
    if (!whole) return WrongState(*volume, "export");
    source = {volume->id, volume->active_file, volume->size_bytes};
  }
  if (request.chunk_bytes == 0) request.chunk_bytes = kChunkDefault;
  if (request.chunk_bytes < kChunkMin || request.chunk_bytes > kChunkMax) {
    return InvalidField("chunk_bytes", "must be 4 KiB to 2 MiB",
                        std::to_string(request.chunk_bytes));
  }
  if (request.offset < 0 || request.offset % kSectorBytes != 0 ||
      request.offset > source.size_bytes) {
    return InvalidField("offset", "must be a multiple of 512 within the volume",
                        std::to_string(request.offset));
  }
  const int64_t rest = source.size_bytes - request.offset;
  if (request.length < 0 || request.length % kSectorBytes != 0 || request.length > rest) {
    return InvalidField("length", "must be a multiple of 512 that ends within the volume",
                        std::to_string(request.length));
  }
  if (request.length == 0) request.length = rest;
  return source;
}

// Shared by the session and by the task that reads for it.
class Export : public std::enable_shared_from_this<Export> {
 public:
  Export(Core* core, Conductor* conductor, Timer* timer, ExportRequest request)
      : core_(core), conductor_(conductor), timer_(timer), request_(std::move(request)) {}
  // Nobody reads any more: what was frozen for it melts.
  ~Export() {
    if (is_temporary_) RemoveTemporarySnapshot(*conductor_, request_.snapshot_id);
  }

  using OpenedFn = std::function<void(absl::StatusOr<std::unique_ptr<ExportSession>>)>;
  using PieceFn = std::function<void(absl::StatusOr<ExportSession::Piece>)>;

  void Open(OpenedFn done);
  // Of a volume that is being written to: takes a snapshot and opens that.
  void Freeze(OpenedFn done);
  void Next(PieceFn done);
  void Close();

 private:
  void OpenOnLane(const OpenedFn& done);
  // The ticket of the volume, or nothing to do: it is closed already.
  void Keep(LockQueue::Ticket ticket);
  bool closed();
  absl::StatusOr<ExportSession::Piece> Read();
  void Arm();
  absl::Status Submit(Task task);

  Core* const core_;
  Conductor* const conductor_;
  Timer* const timer_;
  ExportRequest request_;
  bool is_temporary_ = false;  // the snapshot is
  int64_t position_ = 0;
  int64_t end_ = 0;
  ContentTotal total_;

  Mutex mutex_;
  std::string address_ ABSL_GUARDED_BY(mutex_);  // of the share
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  LockQueue::Ticket ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  Timer::Id idle_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  Mutex content_mutex_;  // held while a piece is read
  std::unique_ptr<ImageContent> content_ ABSL_GUARDED_BY(content_mutex_);
};

class OpenExportSession : public ExportSession {
 public:
  explicit OpenExportSession(std::shared_ptr<Export> state) : state_(std::move(state)) {}
  ~OpenExportSession() override { state_->Close(); }
  void Next(std::function<void(absl::StatusOr<Piece>)> done) override {
    state_->Next(std::move(done));
  }

 private:
  const std::shared_ptr<Export> state_;
};

absl::Status Export::Submit(Task task) {
  std::string address;
  {
    MutexLock lock(&mutex_);
    address = address_;
  }
  task.cancel = request_.cancel;
  ASSIGN_OR_RETURN(Share * share, core_->ShareAt(address));
  return share->Submit(Lane::kBulk, std::move(task));
}

void Export::Freeze(OpenedFn done) {
  CreateSnapshotRequest freeze;
  freeze.volume_id = std::exchange(request_.volume_id, "");
  freeze.snapshot_id = NewId();
  freeze.name = "temporary, of an export";
  freeze.temporary = true;
  request_.snapshot_id = freeze.snapshot_id;
  const auto taken = [self = shared_from_this(), done](const absl::StatusOr<OperationPtr>& taken) {
    if (!taken.ok()) return done(taken.status());
    if (!(*taken)->error.ok()) return done((*taken)->error);
    self->is_temporary_ = true;
    self->Open(done);
  };
  conductor_->Submit(std::move(freeze), {.request_id = {}, .requested_by = "an export"},
                     [conductor = conductor_, taken](const absl::StatusOr<OperationPtr>& accepted) {
                       if (!accepted.ok()) return taken(accepted);
                       conductor->watchers().Wait((*accepted)->id, MonotonicTime::InfiniteFuture(),
                                                  taken);
                     });
}

void Export::Open(OpenedFn once) {
  const auto done = OnlyOnce<absl::StatusOr<std::unique_ptr<ExportSession>>>(std::move(once));
  auto source = Resolve(*core_, request_);
  if (!source.ok()) return done(source.status());
  request_.cancel.OnCancel([weak = weak_from_this()] {
    if (auto self = weak.lock(); self != nullptr) self->Close();
  });
  auto ticket = conductor_->locks().Acquire(
      {{source->volume_id, false}}, [self = shared_from_this(), done](LockQueue::Ticket granted) {
        self->Keep(granted);
        // Looked up again: what was ahead in the queue may have changed it.
        auto now = Resolve(*self->core_, self->request_);
        if (!now.ok()) {
          self->Close();
          return done(now.status());
        }
        VolumePtr volume = self->core_->catalog().FindVolume(now->volume_id);
        {
          MutexLock lock(&self->mutex_);
          self->address_ = volume == nullptr ? "" : volume->share;
        }
        Task task;
        task.run = [self, done](const absl::Status& admitted) {
          if (admitted.ok()) return self->OpenOnLane(done);
          self->Close();
          done(admitted);
        };
        task.abandoned = [self, done](const absl::Status& why) {
          self->Close();
          done(why);
        };
        absl::Status submitted = self->Submit(std::move(task));
        if (submitted.ok()) return;
        self->Close();
        done(submitted);
      });
  if (!ticket.ok()) return done(ticket.status());
  conductor_->MakeMergesGiveWay({{source->volume_id, false}});
  Keep(*ticket);
}

void Export::Keep(LockQueue::Ticket ticket) {
  {
    MutexLock lock(&mutex_);
    if (!closed_) {
      ticket_ = ticket;
      return;
    }
  }
  conductor_->locks().Release(ticket);
}

bool Export::closed() {
  MutexLock lock(&mutex_);
  return closed_;
}

void Export::OpenOnLane(const OpenedFn& done) {
  const auto open = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(ExportSource source, Resolve(*core_, request_));
    ASSIGN_OR_RETURN(VolumePtr volume, core_->Volume(source.volume_id));
    ASSIGN_OR_RETURN(ChainView view, core_->ReadView(*volume));
    const int place = IndexOf(view.chain, source.file);
    if (place < 0) {
      return Error(Reason::kChainCorrupt, fmt::format("{} is not in its chain", source.file),
                   {{"volume", volume->id}});
    }
    ASSIGN_OR_RETURN(std::string directory, core_->DirectoryOf(volume->share));
    MutexLock lock(&content_mutex_);
    // Closing waits for this mutex, so what is opened from here on is closed.
    if (closed()) return Error(Reason::kCancelled, "nobody waits for the export any more");
    ASSIGN_OR_RETURN(
        content_, OpenImageContent(&core_->processes(),
                                   {.path = directory + "/" + source.file,
                                    .format = view.chain[static_cast<size_t>(place)].image.format,
                                    .writable = false}));
    position_ = request_.offset;
    end_ = request_.offset + request_.length;
    return absl::OkStatus();
  };
  absl::Status opened = open();
  if (!opened.ok()) {
    Close();
    return done(opened);
  }
  Arm();
  done(std::make_unique<OpenExportSession>(shared_from_this()));
}

void Export::Arm() {
  MutexLock lock(&mutex_);
  if (idle_timer_ != 0) timer_->Cancel(idle_timer_);
  idle_timer_ = closed_ ? 0 : timer_->RunAfter(kExportIdleMax, [weak = weak_from_this()] {
    if (auto self = weak.lock(); self != nullptr) self->Close();
  });
}

void Export::Next(PieceFn once) {
  Arm();
  const auto done = OnlyOnce<absl::StatusOr<ExportSession::Piece>>(std::move(once));
  Task task;
  task.run = [self = shared_from_this(), done](const absl::Status& admitted) {
    done(admitted.ok() ? self->Read() : absl::StatusOr<ExportSession::Piece>(admitted));
  };
  task.abandoned = done;
  absl::Status submitted = Submit(std::move(task));
  if (!submitted.ok()) done(submitted);
}

absl::StatusOr<ExportSession::Piece> Export::Read() {
  MutexLock lock(&content_mutex_);
  if (content_ == nullptr) {
    return Error(Reason::kDeadline, "the export was given up: nothing was asked for a minute");
  }
  ExportSession::Piece piece;
  if (position_ >= end_) {
    piece.last = true;
    piece.total = total_;
    return piece;
  }
  ContentChunk& chunk = piece.chunk;
  chunk.offset = position_;
  ContentExtent extent{.length = end_ - position_, .zero = true};
  // A raw file that is shorter than its volume ends in zeros.
  if (position_ < content_->size_bytes()) {
    ASSIGN_OR_RETURN(
        extent, content_->ExtentAt(position_, std::min(end_, content_->size_bytes()) - position_));
  }
  if (extent.zero) {
    chunk.zero_length = extent.length;
    chunk.crc32c = Crc32cOfZeros(0, extent.length);
    total_.crc32c = Crc32cOfZeros(total_.crc32c, extent.length);
  } else {
    ASSIGN_OR_RETURN(chunk.data,
                     content_->Read(position_, std::min(extent.length, request_.chunk_bytes)));
    chunk.crc32c = Crc32c(0, chunk.data);
    total_.crc32c = Crc32c(total_.crc32c, chunk.data);
  }
  position_ += chunk.length();
  total_.bytes += chunk.length();
  return piece;
}

// Closing waits for the child, which may hang with its share: so it is done on a lane of that share
// of its own. The volume is free when it is closed.
void Export::Close() {
  LockQueue::Ticket ticket = 0;
  std::string address;
  {
    MutexLock lock(&mutex_);
    if (closed_) return;
    closed_ = true;
    ticket = ticket_;
    address = address_;
    if (idle_timer_ != 0) timer_->Cancel(idle_timer_);
  }
  auto close = [self = shared_from_this(), ticket](const absl::Status&) {
    {
      MutexLock lock(&self->content_mutex_);
      self->content_.reset();
    }
    if (ticket != 0) self->conductor_->locks().Release(ticket);
  };
  if (!core_->SubmitClosing(address, {.run = close}).ok()) close(absl::OkStatus());
}

}  // namespace

void OpenExport(Core* core, Conductor* conductor, Timer* timer, ExportRequest request,
                std::function<void(absl::StatusOr<std::unique_ptr<ExportSession>>)> done) {
  auto source = Resolve(*core, request);
  if (!source.ok()) return done(source.status());
  VolumePtr volume = core->catalog().FindVolume(source->volume_id);
  const bool written =
      volume != nullptr && !request.volume_id.empty() &&
      std::any_of(volume->attachments.begin(), volume->attachments.end(),
                  [](const Attachment& a) { return a.access == AccessMode::kReadWrite; });
  auto session = std::make_shared<Export>(core, conductor, timer, std::move(request));
  if (written) return session->Freeze(std::move(done));
  session->Open(std::move(done));
}

void RemoveTemporarySnapshot(Conductor& conductor, const std::string& snapshot_id) {
  conductor.Submit(DeleteSnapshotRequest{.snapshot_id = snapshot_id, .allow_missing = true},
                   {.request_id = {}, .requested_by = "an export"},
                   [snapshot_id](const absl::StatusOr<OperationPtr>& accepted) {
                     if (accepted.ok()) return;
                     spdlog::warn("snapshot={} of an export stays for now: {}", snapshot_id,
                                  Describe(accepted.status()));
                   });
}

}  // namespace cairn
