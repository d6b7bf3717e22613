// The streams over a real socket, with the real engine: upload, download, watches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "lib/base/id.h"
#include "tests/service/test_server.h"
#include "tests/service/wire_error.h"

namespace cairn::testing {
namespace {

using ::testing::AnyOf;

std::string RandomBytes(size_t size) {
  std::mt19937 random(7);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

class StreamTest : public ServiceTest {
 protected:
  // What is sent, and how.
  struct Upload {
    explicit Upload(v1::VolumeService::Stub& stub)
        : writer(stub.ImportVolume(&context, &response)) {}
    bool Header(const v1::ImportHeader& header) {
      v1::ImportVolumeRequest message;
      *message.mutable_header() = header;
      return writer->Write(message);
    }
    bool Data(int64_t offset, const std::string& data) {
      v1::ImportVolumeRequest message;
      message.mutable_chunk()->set_offset(offset);
      message.mutable_chunk()->set_data(data);
      message.mutable_chunk()->set_crc32c(Crc32c(0, data));
      total.set_total_bytes(total.total_bytes() + static_cast<int64_t>(data.size()));
      total.set_crc32c(Crc32c(total.crc32c(), data));
      return writer->Write(message);
    }
    bool Zeros(int64_t offset, int64_t length) {
      v1::ImportVolumeRequest message;
      message.mutable_chunk()->set_offset(offset);
      message.mutable_chunk()->set_zero_length(length);
      message.mutable_chunk()->set_crc32c(Crc32cOfZeros(0, length));
      total.set_total_bytes(total.total_bytes() + length);
      total.set_crc32c(Crc32cOfZeros(total.crc32c(), length));
      return writer->Write(message);
    }
    bool Trailer() {
      v1::ImportVolumeRequest message;
      *message.mutable_trailer() = total;
      return writer->Write(message);
    }
    grpc::Status Finish() {
      writer->WritesDone();
      return writer->Finish();
    }

    grpc::ClientContext context;
    v1::ImportVolumeResponse response;
    v1::ContentTrailer total;
    std::unique_ptr<grpc::ClientWriter<v1::ImportVolumeRequest>> writer;
  };

  static v1::ImportHeader HeaderOf(int64_t size_bytes) {
    v1::ImportHeader header;
    header.set_size_bytes(size_bytes);
    return header;
  }

  std::string Download(const v1::ExportVolumeRequest& request) {
    grpc::ClientContext context;
    auto reader = volumes_->ExportVolume(&context, request);
    v1::ExportVolumeResponse message;
    std::string content;
    bool trailer = false;
    EXPECT_TRUE(reader->Read(&message));
    EXPECT_TRUE(message.has_header());
    int64_t length = message.header().length();
    EXPECT_EQ(message.header().offset(), request.offset());
    while (reader->Read(&message)) {
      EXPECT_FALSE(trailer);
      if (message.has_trailer()) {
        trailer = true;
        EXPECT_EQ(message.trailer().total_bytes(), static_cast<int64_t>(content.size()));
        EXPECT_EQ(message.trailer().crc32c(), Crc32c(0, content));
        continue;
      }
      const v1::ContentChunk& chunk = message.chunk();
      EXPECT_EQ(chunk.offset(), request.offset() + static_cast<int64_t>(content.size()));
      std::string piece = chunk.has_data() ? chunk.data() : std::string(chunk.zero_length(), '\0');
      EXPECT_EQ(chunk.crc32c(), Crc32c(0, piece));
      content += piece;
    }
    EXPECT_THAT(reader->Finish(), Succeeds());
    EXPECT_TRUE(trailer);
    EXPECT_EQ(static_cast<int64_t>(content.size()), length);
    return content;
  }

  int64_t VolumeCount() {
    v1::ListVolumesResponse response;
    EXPECT_THAT(CALL(volumes_, ListVolumes, v1::ListVolumesRequest(), &response), Succeeds());
    return response.volumes_size();
  }
  // A given-up upload is undone in the background.
  void ExpectNoVolumeSoon() {
    for (int i = 0; i < 500 && VolumeCount() > 0; ++i) absl::SleepFor(absl::Milliseconds(10));
    EXPECT_EQ(VolumeCount(), 0);
  }
};

TEST_F(StreamTest, WhatIsUploadedIsDownloaded) {
  std::string head = RandomBytes(3 * kMiBytes / 2);
  for (v1::VolumeFormat format :
       {v1::VOLUME_FORMAT_RAW_SPARSE, v1::VOLUME_FORMAT_QCOW2, v1::VOLUME_FORMAT_RAW_THICK}) {
    SCOPED_TRACE(format);
    Upload upload(*volumes_);
    v1::ImportHeader header = HeaderOf(8 * kMiBytes);
    header.set_name("uploaded");
    header.set_format(format);
    ASSERT_TRUE(upload.Header(header));
    ASSERT_TRUE(upload.Data(0, head.substr(0, kMiBytes)));
    ASSERT_TRUE(upload.Data(kMiBytes, head.substr(kMiBytes)));
    ASSERT_TRUE(upload.Zeros(3 * kMiBytes / 2, kMiBytes));
    ASSERT_TRUE(upload.Data(5 * kMiBytes / 2, "tail"));
    ASSERT_TRUE(upload.Trailer());
    grpc::Status status = upload.Finish();
    v1::Volume volume = Succeeded(status, upload.response.operation()).volume();
    EXPECT_EQ(volume.name(), "uploaded");
    EXPECT_TRUE(volume.source().imported());
    EXPECT_EQ(volume.format(), format);
    std::string expected = head + std::string(kMiBytes, '\0') + "tail";
    expected.resize(8 * kMiBytes, '\0');
    v1::ExportVolumeRequest request;
    request.set_volume_id(volume.id());
    EXPECT_TRUE(Download(request) == expected);
    request.set_offset(512);
    request.set_length(2 * kMiBytes);
    request.set_chunk_bytes(4096);
    EXPECT_TRUE(Download(request) == expected.substr(512, 2 * kMiBytes));
    v1::ExportVolumeRequest of_snapshot;
    of_snapshot.set_snapshot_id(CreateSnapshot(volume.id()).id());
    EXPECT_TRUE(Download(of_snapshot) == expected);
  }
}

TEST_F(StreamTest, AnUploadThatIsRepeatedIsAnsweredAtOnce) {
  v1::ImportHeader header = HeaderOf(kMiBytes);
  header.set_request_id("upload");
  std::string id;
  for (int i = 0; i < 2; ++i) {
    Upload upload(*volumes_);
    upload.Header(header);
    if (i == 0) {
      ASSERT_TRUE(upload.Data(0, "x"));
      ASSERT_TRUE(upload.Trailer());
    }
    grpc::Status status = upload.Finish();
    v1::Operation operation = Succeeded(status, upload.response.operation());
    if (i == 0) id = operation.id();
    EXPECT_EQ(operation.id(), id);
  }
  EXPECT_EQ(VolumeCount(), 1);
}

TEST_F(StreamTest, ValidateOnlyNeedsOnlyTheHeader) {
  Upload upload(*volumes_);
  v1::ImportHeader header = HeaderOf(kMiBytes);
  header.set_validate_only(true);
  upload.Header(header);
  EXPECT_THAT(upload.writer->Finish(), Succeeds());
  EXPECT_FALSE(upload.response.has_operation());
  EXPECT_EQ(VolumeCount(), 0);
}

TEST_F(StreamTest, UploadsThatAreWrongLeaveNothing) {
  auto status_of = [&](const std::function<void(Upload&)>& send) {
    Upload upload(*volumes_);
    send(upload);
    return upload.Finish();
  };
  EXPECT_THAT(status_of([](Upload&) {}), FailsOnField("header"));
  EXPECT_THAT(status_of([](Upload& u) { u.Data(0, "x"); }), FailsOnField("header"));
  EXPECT_THAT(status_of([](Upload& u) { u.Header(HeaderOf(1000)); }),
              FailsOnField("header.size_bytes"));
  EXPECT_THAT(status_of([](Upload& u) {
                v1::ImportHeader header = HeaderOf(kMiBytes);
                header.mutable_wait()->set_seconds(-1);
                u.Header(header);
              }),
              FailsOnField("header.wait"));
  EXPECT_THAT(status_of([](Upload& u) { u.Header(HeaderOf(kMiBytes)); }), FailsOnField("trailer"));
  EXPECT_THAT(status_of([](Upload& u) {
                u.Header(HeaderOf(kMiBytes));
                u.Header(HeaderOf(kMiBytes));
              }),
              FailsOnField("part"));
  EXPECT_THAT(status_of([](Upload& u) {
                u.Header(HeaderOf(kMiBytes));
                u.Data(0, std::string(2 * kMiBytes + 1, 'x'));
              }),
              FailsOnField("chunk.data"));
  EXPECT_THAT(status_of([](Upload& u) {
                u.Header(HeaderOf(kMiBytes));
                u.Zeros(0, 0);
              }),
              FailsOnField("chunk.zero_length"));
  // A gap, an overlap, content beyond the end.
  for (auto [first, second] : {std::pair<int64_t, int64_t>{512, 0}, {0, 5}, {0, 3}}) {
    grpc::Status status = status_of([first = first, second = second](Upload& u) {
      u.Header(HeaderOf(kMiBytes));
      u.Data(first, "abcd");
      u.Data(second, "efgh");
      u.Trailer();
    });
    EXPECT_THAT(status, FailsWith("INVALID_FIELD"));
  }
  EXPECT_THAT(status_of([](Upload& u) {
                u.Header(HeaderOf(512));
                u.Zeros(0, 1024);
                u.Trailer();
              }),
              FailsWith("INVALID_FIELD"));
  EXPECT_THAT(status_of([](Upload& u) {
                u.Header(HeaderOf(kMiBytes));
                u.Data(0, "abcd");
                u.total.set_total_bytes(5);
                u.Trailer();
              }),
              FailsWith("INVALID_FIELD"));
  EXPECT_THAT(status_of([](Upload& u) {
                u.Header(HeaderOf(kMiBytes));
                u.Data(0, "abcd");
                u.total.set_crc32c(1);
                u.Trailer();
              }),
              FailsWith("CHECKSUM_MISMATCH"));
  EXPECT_THAT(status_of([](Upload& u) {
                u.Header(HeaderOf(kMiBytes));
                v1::ImportVolumeRequest message;
                message.mutable_chunk()->set_data("abcd");
                message.mutable_chunk()->set_crc32c(1);
                u.writer->Write(message);
              }),
              FailsWith("CHECKSUM_MISMATCH"));
  ExpectNoVolumeSoon();
}

TEST_F(StreamTest, AnUploadThatIsCancelledLeavesNothing) {
  {
    Upload upload(*volumes_);
    upload.Header(HeaderOf(64 * kMiBytes));
    ASSERT_TRUE(upload.Data(0, RandomBytes(kMiBytes)));
    upload.context.TryCancel();
    EXPECT_EQ(upload.Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  ExpectNoVolumeSoon();
}

TEST_F(StreamTest, ADownloadThatIsCancelledLetsTheVolumeGo) {
  v1::Volume volume = CreateVolume(256 * kMiBytes);
  v1::ExportVolumeRequest request;
  request.set_volume_id(volume.id());
  request.set_chunk_bytes(4096);
  {
    grpc::ClientContext context;
    auto reader = volumes_->ExportVolume(&context, request);
    v1::ExportVolumeResponse message;
    EXPECT_TRUE(reader->Read(&message));
    context.TryCancel();
    while (reader->Read(&message)) {
    }
    reader->Finish();
  }
  // Waits for the session to end.
  v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.id());
  v1::DeleteVolumeResponse removed;
  grpc::Status status = CALL(volumes_, DeleteVolume, remove, &removed);
  Succeeded(status, removed.operation());
}

TEST_F(StreamTest, DownloadsThatCannotBe) {
  v1::Volume volume = CreateVolume();
  auto status_of = [&](const std::function<void(v1::ExportVolumeRequest*)>& change) {
    v1::ExportVolumeRequest request;
    request.set_volume_id(volume.id());
    change(&request);
    grpc::ClientContext context;
    auto reader = volumes_->ExportVolume(&context, request);
    v1::ExportVolumeResponse message;
    EXPECT_FALSE(reader->Read(&message));
    return reader->Finish();
  };
  EXPECT_THAT(status_of([](auto* r) { r->clear_source(); }), FailsOnField("source"));
  EXPECT_THAT(status_of([](auto* r) { r->set_volume_id("x"); }), FailsOnField("volume_id"));
  EXPECT_THAT(status_of([](auto* r) { r->set_snapshot_id(""); }), FailsOnField("snapshot_id"));
  EXPECT_THAT(status_of([](auto* r) { r->set_volume_id(NewId()); }), FailsWith("VOLUME_NOT_FOUND"));
  EXPECT_THAT(status_of([](auto* r) { r->set_snapshot_id(NewId()); }),
              FailsWith("SNAPSHOT_NOT_FOUND"));
  EXPECT_THAT(status_of([](auto* r) { r->set_offset(1); }), FailsOnField("offset"));
  EXPECT_THAT(status_of([](auto* r) { r->set_offset(-512); }), FailsOnField("offset"));
  EXPECT_THAT(status_of([](auto* r) { r->set_offset(2 * kMiBytes); }), FailsOnField("offset"));
  EXPECT_THAT(status_of([](auto* r) { r->set_length(2 * kMiBytes); }), FailsOnField("length"));
  EXPECT_THAT(status_of([](auto* r) { r->set_length(7); }), FailsOnField("length"));
  EXPECT_THAT(status_of([](auto* r) { r->set_chunk_bytes(1); }), FailsOnField("chunk_bytes"));
}

class WatchTest : public StreamTest {
 protected:
  struct Watch {
    Watch(v1::VolumeService::Stub& stub, int64_t revision, const std::string& filter) {
      v1::WatchVolumesRequest request;
      request.set_from_revision(revision);
      request.set_filter(filter);
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
      reader = stub.WatchVolumes(&context, request);
    }
    ~Watch() {
      context.TryCancel();
      reader->Finish();
    }
    v1::WatchVolumesResponse Next() {
      v1::WatchVolumesResponse event;
      EXPECT_TRUE(reader->Read(&event));
      return event;
    }
    // The next event that is not about a change on the way, such as CREATING.
    v1::WatchVolumesResponse NextSettled() {
      while (true) {
        v1::WatchVolumesResponse event = Next();
        const v1::Volume* volume = event.has_added()     ? &event.added()
                                   : event.has_changed() ? &event.changed()
                                                         : nullptr;
        if (volume == nullptr || (volume->state() == v1::VOLUME_STATE_AVAILABLE &&
                                  volume->current_operation().empty())) {
          return event;
        }
      }
    }
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::WatchVolumesResponse>> reader;
  };
};

TEST_F(WatchTest, TellsWhatThereIsThenEveryChange) {
  v1::Volume first = CreateVolume();
  Watch watch(*volumes_, 0, "");
  v1::WatchVolumesResponse event = watch.Next();
  EXPECT_EQ(event.added().id(), first.id());
  EXPECT_EQ(event.revision(), 0);
  event = watch.Next();
  EXPECT_TRUE(event.has_bookmark());
  EXPECT_GE(event.revision(), first.revision());

  v1::Volume second = CreateVolume();
  event = watch.Next();
  EXPECT_EQ(event.added().id(), second.id());
  int64_t revision = event.revision();
  event = watch.NextSettled();
  EXPECT_EQ(event.changed().id(), second.id());
  EXPECT_GT(event.revision(), revision);
  revision = event.revision();

  v1::DeleteVolumeRequest remove;
  remove.set_volume_id(first.id());
  v1::DeleteVolumeResponse removed;
  grpc::Status status = CALL(volumes_, DeleteVolume, remove, &removed);
  Succeeded(status, removed.operation());
  do {
    event = watch.Next();
    EXPECT_GT(event.revision(), revision);
    revision = event.revision();
  } while (!event.has_removed());
  EXPECT_EQ(event.removed().volume_id(), first.id());
  EXPECT_FALSE(event.removed().left_filter());

  // Going on from there tells only what came later.
  v1::Volume third = CreateVolume();
  Watch resumed(*volumes_, revision, "");
  event = resumed.Next();
  EXPECT_EQ(event.added().id(), third.id());
  EXPECT_GT(event.revision(), revision);
}

TEST_F(WatchTest, AFilterTurnsChangesIntoComingAndGoing) {
  Watch watch(*volumes_, 0, "labels.tier = gold AND state = AVAILABLE");
  EXPECT_TRUE(watch.Next().has_bookmark());
  CreateVolume();
  v1::CreateVolumeRequest request;
  request.set_size_bytes(kMiBytes);
  (*request.mutable_labels())["tier"] = "gold";
  v1::Volume gold = CreateVolume(request);
  v1::WatchVolumesResponse event = watch.Next();
  EXPECT_EQ(event.added().id(), gold.id());
  v1::UpdateVolumeRequest update;
  update.set_volume_id(gold.id());
  update.mutable_update_mask()->add_paths("labels");
  v1::UpdateVolumeResponse updated;
  grpc::Status status = CALL(volumes_, UpdateVolume, update, &updated);
  Succeeded(status, updated.operation());
  do {
    event = watch.Next();
  } while (!event.has_removed());
  EXPECT_EQ(event.removed().volume_id(), gold.id());
  EXPECT_TRUE(event.removed().left_filter());
}

TEST_F(WatchTest, BookmarksComeWhenNothingHappens) {
  Watch watch(*volumes_, 0, "");
  EXPECT_TRUE(watch.Next().has_bookmark());
  absl::Time before = absl::Now();
  EXPECT_TRUE(watch.Next().has_bookmark());
  EXPECT_GT(absl::Now() - before, absl::Seconds(2));
}

TEST_F(WatchTest, EndsWhenTheServerStops) {
  Watch watch(*volumes_, 0, "");
  EXPECT_TRUE(watch.Next().has_bookmark());
  server_->Stop();
  v1::WatchVolumesResponse event;
  EXPECT_FALSE(watch.reader->Read(&event));
}

}  // namespace
}  // namespace cairn::testing
