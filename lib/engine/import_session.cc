#include "lib/engine/import_session.h"

#include <fmt/format.h>

#include "lib/base/status.h"
#include "lib/image/content.h"

namespace cairn {
namespace {

constexpr absl::Duration kImportIdleMax = absl::Minutes(1);

// Shared by the session and by the task that writes for it.
class Import : public std::enable_shared_from_this<Import> {
 public:
  Import(Core* core, Conductor* conductor, Timer* timer)
      : core_(core), conductor_(conductor), timer_(timer) {}

  using OpenedFn = std::function<void(absl::StatusOr<std::unique_ptr<ImportSession>>)>;

  void Open(ImportVolumeRequest request, Caller caller, OpenedFn done);
  const std::string& operation_id() const { return operation_id_; }
  void Write(ContentChunk chunk, std::function<void(absl::Status)> done);
  void Finish(ContentTotal total, OperationCallback done);
  void Drop();

 private:
  void OpenOnLane(const ReceiveContentStep& step, const OpenedFn& done);
  absl::Status CheckChunk(const ContentChunk& chunk) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(content_mutex_);
  absl::Status WriteOnLane(const ContentChunk& chunk);
  absl::Status FinishOnLane(const ContentTotal& total);
  void Arm();
  absl::Status Submit(Task task);

  Core* const core_;
  Conductor* const conductor_;
  Timer* const timer_;
  std::string operation_id_;
  std::string address_;  // of the share

  Mutex mutex_;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  Timer::Id idle_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  Mutex content_mutex_;  // held while a piece is written
  std::unique_ptr<ImageContent> content_ ABSL_GUARDED_BY(content_mutex_);
  int64_t position_ ABSL_GUARDED_BY(content_mutex_) = 0;
  uint32_t crc32c_ ABSL_GUARDED_BY(content_mutex_) = 0;
};

class OpenImportSession : public ImportSession {
 public:
  explicit OpenImportSession(std::shared_ptr<Import> state) : state_(std::move(state)) {}
  ~OpenImportSession() override { state_->Drop(); }
  const std::string& operation_id() const override { return state_->operation_id(); }
  void Write(ContentChunk chunk, std::function<void(absl::Status)> done) override {
    state_->Write(std::move(chunk), std::move(done));
  }
  void Finish(ContentTotal total, OperationCallback done) override {
    state_->Finish(total, std::move(done));
  }

 private:
  const std::shared_ptr<Import> state_;
};

absl::Status Import::Submit(Task task) {
  ASSIGN_OR_RETURN(Share * share, core_->ShareAt(address_));
  return share->Submit(Lane::kBulk, std::move(task));
}

void Import::Open(ImportVolumeRequest request, Caller caller, OpenedFn once) {
  const auto done = OnlyOnce<absl::StatusOr<std::unique_ptr<ImportSession>>>(std::move(once));
  const bool validate_only = caller.validate_only;
  conductor_->Submit(
      std::move(request), std::move(caller),
      [self = shared_from_this(), done, validate_only](absl::StatusOr<OperationPtr> operation) {
        if (!operation.ok()) return done(operation.status());
        if (validate_only) return done(std::unique_ptr<ImportSession>());
        self->operation_id_ = (*operation)->id;
        if ((*operation)->state == OperationState::kSucceeded) {
          // It was uploaded before: the session has nothing to do but to say so.
          MutexLock lock(&self->mutex_);
          self->over_ = true;
          return done(std::make_unique<OpenImportSession>(self));
        }
        self->conductor_->OnReceiving(
            self->operation_id_, [self, done](absl::StatusOr<ReceiveContentStep> step) {
              if (!step.ok()) return done(step.status());
              self->address_ = step->share;
              Task task;
              task.run = [self, done, step = *step](const absl::Status& admitted) {
                if (admitted.ok()) return self->OpenOnLane(step, done);
                self->Drop();
                done(admitted);
              };
              task.abandoned = [self, done](const absl::Status& why) {
                self->Drop();
                done(why);
              };
              absl::Status submitted = self->Submit(std::move(task));
              if (submitted.ok()) return;
              self->Drop();
              done(submitted);
            });
      });
}

void Import::OpenOnLane(const ReceiveContentStep& step, const OpenedFn& done) {
  const auto open = [&]() -> absl::StatusOr<std::unique_ptr<ImageContent>> {
    ASSIGN_OR_RETURN(std::string directory, core_->DirectoryOf(step.share));
    const std::string path = directory + "/" + step.file;
    RETURN_IF_ERROR(CheckWritableInPlace(core_->files(), path));
    return OpenImageContent(
        &core_->processes(),
        {.path = path, .format = BaseFileFormat(step.format), .writable = true});
  };
  auto content = open();
  if (!content.ok()) {
    Drop();
    return done(content.status());
  }
  {
    MutexLock lock(&content_mutex_);
    content_ = *std::move(content);
  }
  Arm();
  done(std::make_unique<OpenImportSession>(shared_from_this()));
}

void Import::Arm() {
  MutexLock lock(&mutex_);
  if (idle_timer_ != 0) timer_->Cancel(idle_timer_);
  idle_timer_ = over_ ? 0 : timer_->RunAfter(kImportIdleMax, [weak = weak_from_this()] {
    if (auto self = weak.lock(); self != nullptr) self->Drop();
  });
}

absl::Status Import::CheckChunk(const ContentChunk& chunk) const {
  if (chunk.offset != position_) {
    return InvalidField("chunk.offset",
                        fmt::format("chunks come in order, without a gap: {} is next", position_),
                        std::to_string(chunk.offset));
  }
  const int64_t length = chunk.length();
  if (length <= 0) return InvalidField("chunk", "holds nothing");
  if (length > content_->size_bytes() - position_) {
    return InvalidField("chunk",
                        fmt::format("goes beyond the volume's {} bytes", content_->size_bytes()),
                        std::to_string(chunk.offset + length));
  }
  const uint32_t crc = chunk.data.empty() ? Crc32cOfZeros(0, length) : Crc32c(0, chunk.data);
  if (crc == chunk.crc32c) return absl::OkStatus();
  return Error(Reason::kChecksumMismatch,
               fmt::format("the chunk at {} was damaged on its way: its CRC32C is {:08x}, said was "
                           "{:08x}; send it again from the start",
                           chunk.offset, crc, chunk.crc32c),
               {{"field", "chunk.crc32c"}, {"offset", std::to_string(chunk.offset)}});
}

void Import::Write(ContentChunk chunk, std::function<void(absl::Status)> once) {
  Arm();
  const auto done = OnlyOnce<absl::Status>(std::move(once));
  Task task;
  task.run = [self = shared_from_this(), chunk = std::move(chunk),
              done](const absl::Status& admitted) {
    absl::Status status = admitted.ok() ? self->WriteOnLane(chunk) : admitted;
    if (!status.ok()) self->Drop();
    done(status);
  };
  task.abandoned = [self = shared_from_this(), done](const absl::Status& why) {
    self->Drop();
    done(why);
  };
  absl::Status submitted = Submit(std::move(task));
  if (submitted.ok()) return;
  Drop();
  done(submitted);
}

absl::Status Import::WriteOnLane(const ContentChunk& chunk) {
  MutexLock lock(&content_mutex_);
  if (content_ == nullptr) return Error(Reason::kCancelled, "the import is over");
  RETURN_IF_ERROR(CheckChunk(chunk));
  if (chunk.data.empty()) {
    // The new image reads as zeros already.
    crc32c_ = Crc32cOfZeros(crc32c_, chunk.zero_length);
  } else {
    RETURN_IF_ERROR(content_->Write(chunk.offset, chunk.data));
    crc32c_ = Crc32c(crc32c_, chunk.data);
  }
  position_ += chunk.length();
  conductor_->ShowReceived(operation_id_, position_, content_->size_bytes());
  return absl::OkStatus();
}

absl::Status Import::FinishOnLane(const ContentTotal& total) {
  MutexLock lock(&content_mutex_);
  if (content_ == nullptr) return Error(Reason::kCancelled, "the import is over");
  if (total.bytes != position_) {
    return InvalidField("trailer.total_bytes", fmt::format("{} bytes have come", position_),
                        std::to_string(total.bytes));
  }
  if (total.crc32c != crc32c_) {
    return Error(
        Reason::kChecksumMismatch,
        fmt::format("the content's CRC32C is {:08x}, said was {:08x}", crc32c_, total.crc32c),
        {{"field", "trailer.crc32c"}});
  }
  return content_->FlushAndClose();
}

void Import::Finish(ContentTotal total, OperationCallback once) {
  Arm();
  const auto done = OnlyOnce<absl::StatusOr<OperationPtr>>(std::move(once));
  Task task;
  task.run = [self = shared_from_this(), total, done](const absl::Status& admitted) {
    absl::Status status = admitted.ok() ? self->FinishOnLane(total) : admitted;
    if (!status.ok()) {
      self->Drop();
      return done(status);
    }
    {
      MutexLock lock(&self->content_mutex_);
      self->content_.reset();
    }
    {
      MutexLock lock(&self->mutex_);
      self->over_ = true;
      if (self->idle_timer_ != 0) self->timer_->Cancel(self->idle_timer_);
    }
    self->conductor_->ContentComplete(self->operation_id_);
    self->conductor_->watchers().Wait(self->operation_id_, MonotonicTime::InfiniteFuture(), done);
  };
  // Whether all of it has reached the share is not known: asking for the operation tells.
  task.abandoned = [done](const absl::Status& why) { done(why); };
  absl::Status submitted = Submit(std::move(task));
  if (submitted.ok()) return;
  Drop();
  done(submitted);
}

// Gives the operation up, unless it is finished. The child is ended before the file is removed.
void Import::Drop() {
  {
    MutexLock lock(&mutex_);
    if (over_) return;
    over_ = true;
    if (idle_timer_ != 0) timer_->Cancel(idle_timer_);
  }
  auto drop = [self = shared_from_this()](const absl::Status&) {
    {
      MutexLock lock(&self->content_mutex_);
      self->content_.reset();
    }
    self->conductor_->Cancel(self->operation_id_, [](const absl::StatusOr<OperationPtr>&) {});
  };
  if (!core_->SubmitClosing(address_, {.run = drop}).ok()) drop(absl::OkStatus());
}

}  // namespace

void OpenImport(Core* core, Conductor* conductor, Timer* timer, ImportVolumeRequest request,
                Caller caller,
                std::function<void(absl::StatusOr<std::unique_ptr<ImportSession>>)> done) {
  std::make_shared<Import>(core, conductor, timer)
      ->Open(std::move(request), std::move(caller), std::move(done));
}

}  // namespace cairn
