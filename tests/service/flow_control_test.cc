// Streams with a slow or vanished other side: nothing piles up, and sessions are given up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "tests/service/fake_server.h"
#include "tests/service/wire_error.h"

namespace cairn::testing {
namespace {

// Counts what is asked of it and when it is gone.
struct SessionCounts {
  std::atomic<int> calls{0};
  std::atomic<int> alive{0};
};

class EndlessExport : public ExportSession {
 public:
  explicit EndlessExport(SessionCounts* counts) : counts_(counts) { ++counts_->alive; }
  ~EndlessExport() override { --counts_->alive; }
  void Next(std::function<void(absl::StatusOr<Piece>)> done) override {
    ++counts_->calls;
    Piece piece;
    piece.chunk.offset = offset_;
    piece.chunk.data = std::string(kMiBytes, 'x');
    offset_ += kMiBytes;
    done(piece);
  }

 private:
  SessionCounts* const counts_;
  int64_t offset_ = 0;
};

// Takes the first piece and never says so.
class StuckImport : public ImportSession {
 public:
  explicit StuckImport(SessionCounts* counts) : counts_(counts) { ++counts_->alive; }
  ~StuckImport() override { --counts_->alive; }
  const std::string& operation_id() const override { return id_; }
  void Write(ContentChunk, std::function<void(absl::Status)> done) override {
    ++counts_->calls;
    kept_ = std::move(done);
  }
  void Finish(ContentTotal, std::function<void(absl::StatusOr<OperationPtr>)>) override {}

 private:
  SessionCounts* const counts_;
  const std::string id_ = NewId();
  std::function<void(absl::Status)> kept_;
};

class FlowControlTest : public FakeServerTest {
 protected:
  static bool Soon(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(10));
    }
    return false;
  }
  SessionCounts counts_;
};

TEST_F(FlowControlTest, ADownloadIsReadAsFastAsTheClientTakesIt) {
  engine_->export_ = [&](const auto& done) { done(std::make_unique<EndlessExport>(&counts_)); };
  Start();
  v1::ExportVolumeRequest request;
  request.set_volume_id(NewId());
  grpc::ClientContext context;
  auto reader = volumes_->ExportVolume(&context, request);
  ASSERT_TRUE(Soon([&] { return counts_.calls > 0; }));
  absl::SleepFor(absl::Milliseconds(300));
  // What HTTP/2 and the socket hold, not what the volume holds.
  int buffered = counts_.calls;
  EXPECT_LT(buffered, 32);
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(counts_.calls, buffered);
  v1::ExportVolumeResponse message;
  for (int i = 0; i < buffered + 10; ++i) ASSERT_TRUE(reader->Read(&message));
  EXPECT_GT(counts_.calls, buffered);
  EXPECT_EQ(counts_.alive, 1);
  context.TryCancel();
  while (reader->Read(&message)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Soon([&] { return counts_.alive == 0; }));
}

TEST_F(FlowControlTest, AnUploadWaitsForTheShareAndIsGivenUpWithItsCaller) {
  engine_->import_ = [&](const auto& done) { done(std::make_unique<StuckImport>(&counts_)); };
  Start();
  grpc::ClientContext context;
  v1::ImportVolumeResponse response;
  auto writer = volumes_->ImportVolume(&context, &response);
  v1::ImportVolumeRequest message;
  message.mutable_header()->set_size_bytes(1 << 30);
  ASSERT_TRUE(writer->Write(message));
  message.mutable_chunk()->set_data(std::string(kMiBytes, 'x'));
  std::atomic<int> written{0};
  std::thread sender([&] {
    while (written < 1000 && writer->Write(message)) ++written;
  });
  ASSERT_TRUE(Soon([&] { return counts_.calls == 1; }));
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_LT(written, 32);
  EXPECT_EQ(counts_.calls, 1);
  EXPECT_EQ(counts_.alive, 1);
  context.TryCancel();
  sender.join();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Soon([&] { return counts_.alive == 0; }));
}

TEST_F(FlowControlTest, ASessionThatComesAfterItsCallerIsGoneIsGivenUp) {
  std::function<void(absl::StatusOr<std::unique_ptr<ExportSession>>)> late;
  engine_->export_ = [&](auto done) { late = std::move(done); };
  Start();
  v1::ExportVolumeRequest request;
  request.set_volume_id(NewId());
  grpc::ClientContext context;
  auto reader = volumes_->ExportVolume(&context, request);
  ASSERT_TRUE(Soon([&] { return server_->server().calls_in_hand() == 1; }));
  context.TryCancel();
  EXPECT_FALSE(reader->Finish().ok());
  ASSERT_TRUE(Soon([&] { return server_->server().calls_in_hand() == 0; }));
  late(std::make_unique<EndlessExport>(&counts_));
  EXPECT_TRUE(Soon([&] { return counts_.alive == 0; }));
  EXPECT_EQ(counts_.calls, 0);
  late = nullptr;
}

TEST_F(FlowControlTest, AWatcherThatFallsBehindIsToldToBeginAgain) {
  Start();
  v1::WatchVolumesRequest request;
  grpc::ClientContext context;
  auto reader = volumes_->WatchVolumes(&context, request);
  v1::WatchVolumesResponse event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_TRUE(event.has_bookmark());
  // Far more than the connection holds, and than the catalog keeps.
  VolumeRecord volume;
  volume.id = NewId();
  volume.state = VolumeState::kAvailable;
  for (int i = 0; i < 64; ++i) {
    volume.labels[std::string(240, 'k') + std::to_string(i)] = std::string(250, 'v');
  }
  for (int i = 0; i < 300; ++i) {
    volume.name = std::to_string(i);
    Transaction change;
    change.put_volumes.push_back(volume);
    ASSERT_OK(engine_->catalog().CommitAndWait(std::move(change)));
    volume.revision = engine_->catalog().FindVolume(volume.id)->revision;
  }
  int events = 0;
  while (reader->Read(&event)) ++events;
  grpc::Status status = reader->Finish();
  EXPECT_THAT(status, FailsWith("WATCH_TOO_SLOW"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_LT(events, 300);
  // And to one that asks for what is no longer kept it is said differently.
  request.set_from_revision(1);
  grpc::ClientContext again;
  auto resumed = volumes_->WatchVolumes(&again, request);
  EXPECT_FALSE(resumed->Read(&event));
  EXPECT_THAT(resumed->Finish(), FailsWith("WATCH_REVISION_TOO_OLD"));
}

TEST_F(FlowControlTest, AWatcherOfAnOperationAlwaysSeesTheEnd) {
  OperationCallback changed;
  engine_->watch = [&](const std::string&, OperationCallback given) {
    changed = std::move(given);
    return Engine::Subscription{1};
  };
  Start();
  v1::WatchOperationRequest request;
  request.set_operation_id(NewId());
  grpc::ClientContext context;
  auto reader = operations_->WatchOperation(&context, request);
  ASSERT_TRUE(Soon([&] { return server_->server().calls_in_hand() == 1 && changed; }));
  auto operation = std::make_shared<OperationRecord>(*RunningOperation());
  operation->step = std::string(10'000, 's');
  for (int i = 1; i <= 5000; ++i) {
    auto next = std::make_shared<OperationRecord>(*operation);
    next->done_bytes = i;
    if (i == 5000) next->state = OperationState::kSucceeded;
    changed(OperationPtr(next));
  }
  v1::WatchOperationResponse message;
  int messages = 0;
  while (reader->Read(&message)) ++messages;
  EXPECT_THAT(reader->Finish(), Succeeds());
  EXPECT_EQ(message.operation().progress().done_bytes(), 5000);
  EXPECT_LT(messages, 5000);
  changed = nullptr;
}

}  // namespace
}  // namespace cairn::testing
