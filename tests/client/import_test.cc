// Uploads over streams that break, and how files are read.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cairn/client/crc32c.h"
#include "tests/client/faulty_server.h"

namespace cairn::client {
namespace {

using testing::Fault;
using testing::FaultyServer;
using Reader = grpc::ServerReader<v1::ImportVolumeRequest>;

constexpr int64_t kMiB = 1 << 20;

// A file without a name.
class ScratchFile {
 public:
  ScratchFile() : fd_(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) { EXPECT_GE(fd_, 0); }
  ~ScratchFile() { close(fd_); }
  void Write(int64_t offset, const std::string& data) const {
    EXPECT_EQ(pwrite(fd_, data.data(), data.size(), offset), static_cast<ssize_t>(data.size()));
  }
  void SetSize(int64_t size_bytes) const { EXPECT_EQ(ftruncate(fd_, size_bytes), 0); }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// What one stream brought.
struct Upload {
  v1::ImportHeader header;
  std::string content;
  int64_t data_bytes = 0;
  bool complete = false;
};

Upload Receive(Reader* reader, int chunks = -1) {
  Upload upload;
  v1::ImportVolumeRequest message;
  while (chunks-- != 0 && reader->Read(&message)) {
    if (message.has_header()) {
      upload.header = message.header();
      ++chunks;
    } else if (message.has_chunk()) {
      const auto& chunk = message.chunk();
      EXPECT_EQ(chunk.offset(), static_cast<int64_t>(upload.content.size()));
      const std::string piece = chunk.data().empty()
                                    ? std::string(static_cast<size_t>(chunk.zero_length()), '\0')
                                    : chunk.data();
      EXPECT_EQ(chunk.crc32c(), ExtendCrc32c(0, piece));
      upload.data_bytes += static_cast<int64_t>(chunk.data().size());
      upload.content += piece;
    } else {
      EXPECT_EQ(message.trailer().total_bytes(), static_cast<int64_t>(upload.content.size()));
      EXPECT_EQ(message.trailer().crc32c(), ExtendCrc32c(0, upload.content));
      upload.complete = true;
    }
  }
  return upload;
}

void Answer(v1::ImportVolumeResponse* response, v1::OperationState state) {
  response->mutable_operation()->set_id("op");
  response->mutable_operation()->set_state(state);
}

class Import : public ::testing::Test {
 protected:
  Import() {
    file_.SetSize(6 * kMiB);
    file_.Write(kMiB, std::string(3 * kMiB / 2, 'x'));
    file_.Write(4 * kMiB, std::string(kMiB, '\0'));  // written, but zeros
    file_.Write(6 * kMiB - 5, "tail!");
    expected_.assign(6 * kMiB, '\0');
    expected_.replace(kMiB, 3 * kMiB / 2, std::string(3 * kMiB / 2, 'x'));
    expected_.replace(6 * kMiB - 5, 5, "tail!");
  }

  absl::StatusOr<PendingOperation> Run(v1::ImportHeader header = {}) {
    const auto source = NewFileSource(file_.fd());
    EXPECT_TRUE(source.ok());
    return server_.MakeClient().ImportVolume(std::move(header), source->get());
  }

  FaultyServer server_;
  ScratchFile file_;
  std::string expected_;
  std::vector<Upload> uploads_;
};

TEST_F(Import, SendsTheContentWithoutItsZeros) {
  server_.on_import = [&](int, Reader* reader, auto* response) {
    uploads_.push_back(Receive(reader));
    Answer(response, v1::OPERATION_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  v1::ImportHeader header;
  header.set_name("disk");
  const auto pending = Run(header);
  ASSERT_TRUE(pending.ok()) << pending.status();
  EXPECT_TRUE(pending->Wait().ok());
  ASSERT_EQ(uploads_.size(), 1u);
  EXPECT_TRUE(uploads_[0].complete);
  EXPECT_TRUE(uploads_[0].content == expected_);
  EXPECT_LT(uploads_[0].data_bytes, 2 * kMiB);
  EXPECT_EQ(uploads_[0].header.name(), "disk");
  EXPECT_TRUE(IsUuid(uploads_[0].header.request_id()));
}

TEST_F(Import, BeginsAgainAfterABreakWithTheSameRequestId) {
  server_.on_import = [&](int n, Reader* reader, auto* response) {
    uploads_.push_back(Receive(reader, n < 2 ? 1 : -1));
    if (n < 2) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
    Answer(response, v1::OPERATION_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  ASSERT_TRUE(Run().ok());
  ASSERT_EQ(uploads_.size(), 3u);
  EXPECT_TRUE(uploads_[2].content == expected_);
  EXPECT_EQ(uploads_[0].header.request_id(), uploads_[2].header.request_id());
}

TEST_F(Import, AnUploadThatWasUndoneIsMadeAnew) {
  server_.on_import = [&](int n, Reader* reader, auto* response) {
    uploads_.push_back(Receive(reader, n == 0 ? 1 : (n == 1 ? 0 : -1)));
    if (n == 0) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
    // The first request_id's operation was given up when its stream broke.
    Answer(response, n == 1 ? v1::OPERATION_STATE_CANCELLED : v1::OPERATION_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  v1::ImportHeader header;
  header.set_request_id("mine");
  const auto pending = Run(header);
  ASSERT_TRUE(pending.ok()) << pending.status();
  EXPECT_TRUE(pending->Wait().ok());
  ASSERT_EQ(uploads_.size(), 3u);
  EXPECT_EQ(uploads_[0].header.request_id(), "mine");
  EXPECT_EQ(uploads_[2].header.request_id(), "mine/2");
  EXPECT_TRUE(uploads_[2].content == expected_);
}

TEST_F(Import, AnUploadThatWasInterruptedIsMadeAnew) {
  server_.on_import = [&](int n, Reader* reader, auto* response) {
    uploads_.push_back(Receive(reader, n == 0 ? 1 : -1));
    if (n == 0) return Fault(grpc::StatusCode::ABORTED, "INTERRUPTED");
    Answer(response, v1::OPERATION_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  ASSERT_TRUE(Run().ok());
  ASSERT_EQ(uploads_.size(), 2u);
  EXPECT_EQ(uploads_[1].header.request_id(), uploads_[0].header.request_id() + "/2");
}

TEST_F(Import, AnUploadThatHadSucceededIsKnownByItsRequestId) {
  server_.on_import = [&](int n, Reader* reader, auto* response) {
    uploads_.push_back(Receive(reader, n == 0 ? -1 : 0));
    if (n == 0) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the answer was lost");
    Answer(response, v1::OPERATION_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(uploads_.size(), 2u);
}

TEST_F(Import, AnOperationThatFailsIsNotMadeAnew) {
  server_.on_import = [&](int, Reader* reader, auto* response) {
    Receive(reader);
    Answer(response, v1::OPERATION_STATE_FAILED);
    response->mutable_operation()->mutable_error()->set_code(8);
    return grpc::Status::OK;
  };
  const auto pending = Run();
  ASSERT_TRUE(pending.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(pending->Wait().status()));
  EXPECT_EQ(server_.calls("ImportVolume"), 1);
}

TEST_F(Import, ARefusalEndsIt) {
  server_.on_import = [&](int, Reader*, auto*) {
    return Fault(grpc::StatusCode::INVALID_ARGUMENT, "CHECKSUM_MISMATCH");
  };
  EXPECT_EQ(GetReason(Run().status()), "CHECKSUM_MISMATCH");
  EXPECT_EQ(server_.calls("ImportVolume"), 1);
}

TEST_F(Import, WithoutAnySuccessItGivesUp) {
  server_.on_import = [&](int, Reader*, auto*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "no");
  };
  EXPECT_TRUE(absl::IsUnavailable(Run().status()));
}

TEST_F(Import, APipeIsSentOnceOnly) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "hello", 5), 5);
  close(ends[1]);
  server_.on_import = [&](int n, Reader* reader, auto*) {
    uploads_.push_back(Receive(reader, n == 0 ? 1 : -1));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
  };
  const auto source = NewFileSource(ends[0]);
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->size_bytes(), 0);
  EXPECT_TRUE(absl::IsUnavailable(server_.MakeClient().ImportVolume({}, source->get()).status()));
  ASSERT_EQ(uploads_.size(), 1u);
  EXPECT_EQ(uploads_[0].content, "hello");
  close(ends[0]);
}

}  // namespace
}  // namespace cairn::client
