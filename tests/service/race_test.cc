// Answers, deadlines and cancellations that meet at every instant: each call ends exactly once, and
// nothing is touched after its end (which the sanitizers see).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "server/background.h"
#include "tests/service/fake_server.h"

namespace cairn::testing {
namespace {

class RaceTest : public FakeServerTest {
 protected:
  // Answers on another thread, after up to two milliseconds.
  void AnswerSoon(std::function<void()> answer) {
    helpers_[next_helper_++ % kHelpers].Post([answer = std::move(answer)] {
      static thread_local std::mt19937 random(std::random_device{}());
      absl::SleepFor(absl::Microseconds(random() % 2000));
      answer();
    });
  }
  // Runs `call` on several threads, many times, each with a time to live that is about as long as an
  // answer takes here and now: longer after a call that came too late, shorter after one that was
  // answered (`call` says so). So the two meet on a fast machine and on a slow and busy one.
  void Storm(const std::function<bool(grpc::ClientContext*)>& call) {
    std::vector<std::thread> threads;
    std::atomic<int> answered{0};
    std::atomic<int> late{0};
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        std::chrono::microseconds usual(2500);
        for (int i = 0; i < 150; ++i) {
          grpc::ClientContext context;
          context.set_deadline(std::chrono::system_clock::now() +
                               usual * static_cast<int>(50 + random() % 100) / 100);
          const bool in_time = call(&context);
          usual = usual * (in_time ? 9 : 11) / 10;
          ++(in_time ? answered : late);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (int i = 0; i < 1000 && server_->server().calls_in_hand() > 0; ++i) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_EQ(server_->server().calls_in_hand(), 0);
    EXPECT_GT(answered, 0);
    EXPECT_GT(late, 0);
  }

  static constexpr int kHelpers = 4;
  std::atomic<uint64_t> next_helper_{0};
  Background helpers_[kHelpers];
};

TEST_F(RaceTest, ChangesAndWaits) {
  engine_->submit = [this](Request, Caller, OperationCallback done) {
    AnswerSoon([done = std::move(done)] { done(RunningOperation()); });
  };
  engine_->wait = [this](const std::string&, MonotonicTime, OperationCallback done) {
    AnswerSoon([done = std::move(done)] { done(RunningOperation()); });
    return Engine::Subscription{1};
  };
  Start();
  Storm([&](grpc::ClientContext* context) {
    v1::ExtendVolumeRequest request;
    request.set_volume_id(NewId());
    v1::ExtendVolumeResponse response;
    if (!volumes_->ExtendVolume(context, request, &response).ok()) return false;
    EXPECT_EQ(response.operation().state(), v1::OPERATION_STATE_RUNNING);
    return true;
  });
}

class EndingExport : public ExportSession {
 public:
  explicit EndingExport(std::function<void(std::function<void()>)> later)
      : later_(std::move(later)) {}
  void Next(std::function<void(absl::StatusOr<Piece>)> done) override {
    Piece piece;
    piece.last = ++pieces_ > 5;
    piece.chunk.data = "x";
    later_([done = std::move(done), piece] { done(piece); });
  }

 private:
  std::function<void(std::function<void()>)> later_;
  int pieces_ = 0;
};

TEST_F(RaceTest, Downloads) {
  auto later = [this](std::function<void()> answer) { AnswerSoon(std::move(answer)); };
  engine_->export_ = [later](const auto& done) {
    later([later, done] { done(std::make_unique<EndingExport>(later)); });
  };
  Start();
  Storm([&](grpc::ClientContext* context) {
    v1::ExportVolumeRequest request;
    request.set_volume_id(NewId());
    auto reader = volumes_->ExportVolume(context, request);
    v1::ExportVolumeResponse message;
    while (reader->Read(&message)) {
    }
    return reader->Finish().ok();
  });
}

class QuickImport : public ImportSession {
 public:
  explicit QuickImport(std::function<void(std::function<void()>)> later)
      : later_(std::move(later)) {}
  const std::string& operation_id() const override { return id_; }
  void Write(ContentChunk, std::function<void(absl::Status)> done) override {
    later_([done = std::move(done)] { done(absl::OkStatus()); });
  }
  void Finish(ContentTotal, std::function<void(absl::StatusOr<OperationPtr>)> done) override {
    later_([done = std::move(done)] {
      auto operation = std::make_shared<OperationRecord>();
      operation->state = OperationState::kSucceeded;
      done(OperationPtr(operation));
    });
  }

 private:
  std::function<void(std::function<void()>)> later_;
  const std::string id_ = NewId();
};

TEST_F(RaceTest, Uploads) {
  auto later = [this](std::function<void()> answer) { AnswerSoon(std::move(answer)); };
  engine_->import_ = [later](const auto& done) {
    later([later, done] { done(std::make_unique<QuickImport>(later)); });
  };
  Start();
  Storm([&](grpc::ClientContext* context) {
    v1::ImportVolumeResponse response;
    auto writer = volumes_->ImportVolume(context, &response);
    v1::ImportVolumeRequest message;
    message.mutable_header()->set_size_bytes(512);
    bool open = writer->Write(message);
    message.mutable_chunk()->set_data("x");
    for (int i = 0; open && i < 3; ++i) open = writer->Write(message);
    message.mutable_trailer();
    if (open) writer->Write(message);
    writer->WritesDone();
    return writer->Finish().ok();
  });
}

TEST_F(RaceTest, Watches) {
  Start();
  std::atomic<bool> over{false};
  std::thread writer([&] {
    VolumeRecord volume;
    volume.id = NewId();
    while (!over) {
      Transaction change;
      change.put_volumes.push_back(volume);
      EXPECT_OK(engine_->catalog().CommitAndWait(std::move(change)));
      volume.revision = engine_->catalog().FindVolume(volume.id)->revision;
    }
  });
  Storm([&](grpc::ClientContext* context) {
    auto reader = volumes_->WatchVolumes(context, v1::WatchVolumesRequest());
    v1::WatchVolumesResponse event;
    bool seen = false;  // A watch has no end of its own.
    while (reader->Read(&event)) seen = true;
    reader->Finish();
    return seen;
  });
  over = true;
  writer.join();
}

TEST_F(RaceTest, StopInTheMiddleOfEverything) {
  engine_->submit = [this](Request, Caller, OperationCallback done) {
    AnswerSoon([done = std::move(done)] { done(RunningOperation()); });
  };
  Start();
  std::atomic<bool> over{false};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      while (!over) Extend(absl::Milliseconds(50), absl::ZeroDuration());
    });
  }
  absl::SleepFor(absl::Milliseconds(100));
  server_->server().Stop();
  over = true;
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace cairn::testing
