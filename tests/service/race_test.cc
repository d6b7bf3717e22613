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
  // Runs `call` on several threads, many times, each with a random time to live.
  void Storm(const std::function<void(grpc::ClientContext*)>& call) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        for (int i = 0; i < 150; ++i) {
          grpc::ClientContext context;
          context.set_deadline(std::chrono::system_clock::now() +
                               std::chrono::microseconds(200 + random() % 5000));
          call(&context);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (int i = 0; i < 1000 && server_->server().calls_in_hand() > 0; ++i) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_EQ(server_->server().calls_in_hand(), 0);
  }

  static constexpr int kHelpers = 4;
  std::atomic<uint64_t> next_helper_{0};
  Background helpers_[kHelpers];
};

TEST_F(RaceTest, ChangesAndWaits) {
  engine_->submit = [this](Request, Caller, OperationCallback done) {
    AnswerSoon([done = std::move(done)] { done(RunningOperation()); });
  };
  engine_->wait = [this](const std::string&, absl::Time, OperationCallback done) {
    AnswerSoon([done = std::move(done)] { done(RunningOperation()); });
    return Engine::Subscription{1};
  };
  Start();
  std::atomic<int> answered{0};
  Storm([&](grpc::ClientContext* context) {
    v1::ExtendVolumeRequest request;
    request.set_volume_id(NewId());
    v1::ExtendVolumeResponse response;
    if (volumes_->ExtendVolume(context, request, &response).ok()) {
      EXPECT_EQ(response.operation().state(), v1::OPERATION_STATE_RUNNING);
      ++answered;
    }
  });
  EXPECT_GT(answered, 0);
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
  std::atomic<int> messages{0};
  Storm([&](grpc::ClientContext* context) {
    v1::ExportVolumeRequest request;
    request.set_volume_id(NewId());
    auto reader = volumes_->ExportVolume(context, request);
    v1::ExportVolumeResponse message;
    while (reader->Read(&message)) ++messages;
    reader->Finish();
  });
  EXPECT_GT(messages, 0);
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
    writer->Finish();
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
    while (reader->Read(&event)) {
    }
    reader->Finish();
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
