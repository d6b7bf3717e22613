#include "server/watch_stream.h"

#include <fmt/format.h>

#include <atomic>
#include <deque>
#include <utility>

#include "server/convert.h"
#include "server/watch_filter.h"

namespace cairn {
namespace {

constexpr int kPieceMax = 256;
constexpr absl::Duration kBookmarkPeriod = absl::Seconds(5);

// All its work is done on the background thread, to which everything that happens is posted; so
// only `posted_` is shared.
class WatchStream : public std::enable_shared_from_this<WatchStream> {
 public:
  using StreamCall = WriterCall<v1::WatchVolumesResponse>;

  WatchStream(Engine* engine, Background* background, WatchFilter filter,
              const v1::WatchVolumesRequest& request, std::shared_ptr<StreamCall> call)
      : engine_(engine),
        background_(background),
        call_(std::move(call)),
        told_(std::move(filter)),
        listing_(request.from_revision() == 0),
        revision_(listing_ ? engine->records().revision() : request.from_revision()) {
    list_.filter = request.filter();
    list_.page_size = kPieceMax;
  }

  void Start() {
    std::weak_ptr<WatchStream> weak = shared_from_this();
    auto poke = [weak] {
      if (auto self = weak.lock()) self->Poke();
    };
    uint64_t listener = engine_->AddCatalogListener(poke);
    uint64_t timer = background_->Every(kBookmarkPeriod, poke);
    // The hook keeps this alive for as long as the call is.
    call_->OnAbandoned([self = shared_from_this(), listener, timer] {
      self->engine_->RemoveCatalogListener(listener);
      self->background_->Remove(timer);
    });
    Poke();
  }

 private:
  using Event = WatchFilter::Event;
  struct Message {
    Event event = Event::kNone;  // kNone: a bookmark
    int64_t revision = 0;
    std::string volume_id;
    VolumePtr volume;
  };

  void Poke() {
    if (posted_.exchange(true)) return;
    background_->Post([self = shared_from_this()] {
      self->posted_ = false;
      self->Pump();
    });
  }

  void Pump() {
    if (writing_ || !call_->open()) return;
    if (queue_.empty()) {
      absl::Status status = listing_ ? ReadList() : ReadChanges();
      // Through Abort, so that the hook lets go of the listener.
      if (!status.ok()) {
        call_->Abort(status);
        return;
      }
    }
    if (queue_.empty()) return;
    Message message = std::move(queue_.front());
    queue_.pop_front();
    writing_ = true;
    call_->Write(Render(message), [self = shared_from_this()] {
      self->background_->Post([self] {
        self->writing_ = false;
        self->Pump();
      });
    });
  }

  absl::Status ReadList() {
    ASSIGN_OR_RETURN(auto page, engine_->records().ListVolumes(list_));
    for (const VolumePtr& volume : page.items) {
      told_.Listed(*volume);
      queue_.push_back({Event::kAdded, 0, volume->id, volume});
    }
    list_.page_token = page.next_page_token;
    if (!list_.page_token.empty()) {
      if (page.items.empty()) Poke();
      return absl::OkStatus();
    }
    listing_ = false;
    AddBookmark();
    return absl::OkStatus();
  }

  absl::Status ReadChanges() {
    // Before the changes are asked for: what comes after it is asked for the next time.
    int64_t present = engine_->records().revision();
    absl::StatusOr<std::vector<VolumeChange>> changes =
        engine_->records().ChangesAfter(revision_, kPieceMax);
    if (!changes.ok()) return TooOld(changes.status());
    begun_ = true;
    for (const VolumeChange& change : *changes) {
      revision_ = change.revision;
      Event event = told_.Tell(change);
      if (event == Event::kNone) continue;
      queue_.push_back({event, change.revision, change.volume_id, change.volume});
    }
    if (!changes->empty()) {
      if (queue_.empty()) Poke();  // none of them was for this reader; there may be more
      return absl::OkStatus();
    }
    told_.CaughtUp();
    revision_ = std::max(revision_, present);
    if (MonotonicTime::Now() - last_bookmark_ >= kBookmarkPeriod) AddBookmark();
    return absl::OkStatus();
  }

  absl::Status TooOld(const absl::Status& status) const {
    // What the reader asked for is too old; what it was sent until now has become so.
    if (!begun_ || !HasReason(status, Reason::kWatchRevisionTooOld)) return status;
    return Error(Reason::kWatchTooSlow,
                 fmt::format("the reader fell behind: changes after revision {} are no longer kept",
                             revision_));
  }

  void AddBookmark() {
    begun_ = true;
    last_bookmark_ = MonotonicTime::Now();
    queue_.push_back({Event::kNone, revision_, "", nullptr});
  }

  static v1::WatchVolumesResponse Render(const Message& message) {
    v1::WatchVolumesResponse response;
    response.set_revision(message.revision);
    switch (message.event) {
      case Event::kNone:
        response.mutable_bookmark();
        break;
      case Event::kAdded:
        *response.mutable_added() = ToProto(*message.volume);
        break;
      case Event::kChanged:
        *response.mutable_changed() = ToProto(*message.volume);
        break;
      case Event::kRemoved:
      case Event::kLeft:
        response.mutable_removed()->set_volume_id(message.volume_id);
        response.mutable_removed()->set_left_filter(message.event == Event::kLeft);
        break;
    }
    return response;
  }

  Engine* const engine_;
  Background* const background_;
  const std::shared_ptr<StreamCall> call_;
  std::atomic<bool> posted_{false};

  WatchFilter told_;
  bool listing_;
  bool begun_ = false;  // the reader was told something to go on from
  bool writing_ = false;
  int64_t revision_;  // everything up to it is in queue_ or told
  ListQuery list_;
  std::deque<Message> queue_;
  MonotonicTime last_bookmark_ = MonotonicTime::Now();
};

}  // namespace

absl::Status StartWatchStream(Engine* engine, Background* background,
                              const v1::WatchVolumesRequest& request,
                              const std::shared_ptr<WriterCall<v1::WatchVolumesResponse>>& call) {
  if (request.from_revision() < 0 || request.from_revision() > engine->records().revision()) {
    return InvalidField("from_revision", "was never given out",
                        std::to_string(request.from_revision()));
  }
  // Judged as ListVolumes judges it.
  RETURN_IF_ERROR(
      engine->records().ListVolumes({request.filter(), "", /*page_size=*/1, ""}).status());
  ASSIGN_OR_RETURN(WatchFilter filter,
                   WatchFilter::Create(request.filter(), request.from_revision() > 0));
  std::make_shared<WatchStream>(engine, background, std::move(filter), request, call)->Start();
  return absl::OkStatus();
}

}  // namespace cairn
