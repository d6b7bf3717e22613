// Downloads over streams that break, and content that is damaged on the way.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <sstream>

#include "cairn/client/crc32c.h"
#include "tests/client/faulty_server.h"

namespace cairn::client {
namespace {

using testing::FaultyServer;
using Writer = grpc::ServerWriter<v1::ExportVolumeResponse>;

constexpr int64_t kPiece = 4'096;
constexpr int64_t kPieces = 16;
constexpr int64_t kSize = kPiece * kPieces;

// Every third piece is zeros.
std::string PieceAt(int64_t index) {
  if (index % 3 == 1) return std::string(kPiece, '\0');
  std::string data(kPiece, '\0');
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<char>(index * 7 + static_cast<int64_t>(i) * 3 + 1);
  return data;
}

std::string Content(int64_t offset = 0, int64_t length = kSize) {
  std::string content;
  for (int64_t i = 0; i < kPieces; ++i) content += PieceAt(i);
  return content.substr(static_cast<size_t>(offset), static_cast<size_t>(length));
}

v1::ExportVolumeResponse Chunk(int64_t index) {
  v1::ExportVolumeResponse response;
  const std::string data = PieceAt(index);
  response.mutable_chunk()->set_offset(index * kPiece);
  response.mutable_chunk()->set_crc32c(ExtendCrc32c(0, data));
  if (index % 3 == 1) {
    response.mutable_chunk()->set_zero_length(kPiece);
  } else {
    response.mutable_chunk()->set_data(data);
  }
  return response;
}

// What the server does: header, `pieces` chunks at most, and the trailer if all were sent.
grpc::Status Serve(const v1::ExportVolumeRequest& request, Writer* writer, int64_t pieces) {
  const int64_t end = request.length() > 0 ? request.offset() + request.length() : kSize;
  v1::ExportVolumeResponse header;
  header.mutable_header()->set_size_bytes(kSize);
  header.mutable_header()->set_offset(request.offset());
  header.mutable_header()->set_length(end - request.offset());
  writer->Write(header);
  for (int64_t i = request.offset() / kPiece; i < end / kPiece; ++i) {
    if (pieces-- == 0) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
    writer->Write(Chunk(i));
  }
  v1::ExportVolumeResponse trailer;
  trailer.mutable_trailer()->set_total_bytes(end - request.offset());
  trailer.mutable_trailer()->set_crc32c(
      ExtendCrc32c(0, Content(request.offset(), end - request.offset())));
  writer->Write(trailer);
  return grpc::Status::OK;
}

class StringSink : public ContentSink {
 public:
  absl::Status Begin(int64_t, int64_t offset, int64_t) override {
    ++begins;
    next = offset;
    return absl::OkStatus();
  }
  absl::Status WriteData(int64_t offset, std::string_view data) override {
    EXPECT_EQ(offset, next);
    content += data;
    next += static_cast<int64_t>(data.size());
    return result;
  }
  absl::Status WriteZeros(int64_t offset, int64_t length) override {
    return WriteData(offset, std::string(static_cast<size_t>(length), '\0'));
  }
  std::string content;
  int64_t next = 0;
  int begins = 0;
  absl::Status result;
};

class Export : public ::testing::Test {
 protected:
  Export() { request_.set_snapshot_id("snap"); }

  absl::StatusOr<TransferSummary> Run() {
    return server_.MakeClient().ExportVolume(request_, &sink_, options_);
  }

  FaultyServer server_;
  v1::ExportVolumeRequest request_;
  StringSink sink_;
  TransferOptions options_;
};

TEST_F(Export, GivesTheContentAndItsChecksum) {
  server_.on_export = [](int, const auto& request, Writer* writer) {
    return Serve(request, writer, -1);
  };
  TransferProgress last;
  options_.on_progress = [&](const TransferProgress& now) { last = now; };
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_TRUE(sink_.content == Content());
  EXPECT_EQ(summary->crc32c, ExtendCrc32c(0, Content()));
  EXPECT_EQ(summary->length_bytes, kSize);
  EXPECT_EQ(summary->resumptions, 0);
  EXPECT_EQ(last.done_bytes, kSize);
  EXPECT_EQ(last.total_bytes, kSize);
}

TEST_F(Export, TakesABrokenStreamUpWhereItWas) {
  std::vector<int64_t> offsets;
  server_.on_export = [&](int, const auto& request, Writer* writer) {
    offsets.push_back(request.offset());
    return Serve(request, writer, 6);
  };
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_TRUE(sink_.content == Content());
  EXPECT_EQ(sink_.begins, 1);
  EXPECT_EQ(summary->resumptions, 2);
  EXPECT_EQ(summary->crc32c, ExtendCrc32c(0, Content()));
  EXPECT_THAT(offsets, ::testing::ElementsAre(0, 6 * kPiece, 12 * kPiece));
}

TEST_F(Export, APartCanBeAskedFor) {
  server_.on_export = [](int, const auto& request, Writer* writer) {
    return Serve(request, writer, 2);
  };
  request_.set_offset(4 * kPiece);
  request_.set_length(5 * kPiece);
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_TRUE(sink_.content == Content(4 * kPiece, 5 * kPiece));
}

TEST_F(Export, AVolumeThatIsTheSameIsTakenUp) {
  request_.set_volume_id("vol");
  server_.on_get = [](int, const auto&, auto* response) {
    response->mutable_volume()->set_revision(7);
    return grpc::Status::OK;
  };
  server_.on_export = [](int, const auto& request, Writer* writer) {
    return Serve(request, writer, 9);
  };
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_TRUE(sink_.content == Content());
}

TEST_F(Export, AVolumeThatHasChangedIsNot) {
  request_.set_volume_id("vol");
  server_.on_get = [](int n, const auto&, auto* response) {
    response->mutable_volume()->set_revision(7 + n);
    return grpc::Status::OK;
  };
  server_.on_export = [](int, const auto& request, Writer* writer) {
    return Serve(request, writer, 9);
  };
  EXPECT_TRUE(absl::IsAborted(Run().status()));
}

TEST_F(Export, AnAttachedVolumeIsNotTakenUp) {
  request_.set_volume_id("vol");
  server_.on_get = [](int, const auto&, auto* response) {
    response->mutable_volume()->add_attachments();
    return grpc::Status::OK;
  };
  server_.on_export = [](int, const auto& request, Writer* writer) {
    return Serve(request, writer, 9);
  };
  EXPECT_TRUE(absl::IsAborted(Run().status()));
}

TEST_F(Export, DamageIsFoundBeforeTheSinkSeesIt) {
  server_.on_export = [](int, const auto& request, Writer* writer) {
    v1::ExportVolumeResponse header;
    header.mutable_header()->set_size_bytes(kSize);
    header.mutable_header()->set_length(kSize);
    writer->Write(header);
    v1::ExportVolumeResponse chunk = Chunk(0);
    (*chunk.mutable_chunk()->mutable_data())[100] ^= 1;
    writer->Write(chunk);
    return Serve(request, writer, -1);
  };
  EXPECT_TRUE(absl::IsDataLoss(Run().status()));
  EXPECT_EQ(sink_.content, "");
  EXPECT_EQ(server_.calls("ExportVolume"), 1);
}

TEST_F(Export, AGapAndAWrongTotalAreDamageToo) {
  server_.on_export = [](int n, const auto&, Writer* writer) {
    v1::ExportVolumeResponse message;
    message.mutable_header()->set_size_bytes(kSize);
    message.mutable_header()->set_length(kSize);
    writer->Write(message);
    for (int64_t i = 0; i < kPieces; ++i) {
      if (n == 0 && i == 3) continue;
      writer->Write(Chunk(i));
    }
    message.mutable_trailer()->set_total_bytes(kSize);
    message.mutable_trailer()->set_crc32c(1);
    writer->Write(message);
    return grpc::Status::OK;
  };
  EXPECT_TRUE(absl::IsDataLoss(Run().status()));
  sink_ = StringSink();
  EXPECT_TRUE(absl::IsDataLoss(Run().status()));
}

TEST_F(Export, TheSinksErrorEndsIt) {
  server_.on_export = [](int, const auto& request, Writer* writer) {
    return Serve(request, writer, -1);
  };
  sink_.result = absl::ResourceExhaustedError("disk full");
  EXPECT_EQ(Run().status(), sink_.result);
  EXPECT_EQ(server_.calls("ExportVolume"), 1);
}

TEST_F(Export, WithoutAnySuccessItGivesUp) {
  server_.on_export = [](int, const auto& request, Writer* writer) {
    return Serve(request, writer, 0);
  };
  EXPECT_TRUE(absl::IsUnavailable(Run().status()));
}

// In a folder of its own, with a server that gives the whole content.
class ExportTarget : public Export {
 protected:
  ExportTarget() {
    std::filesystem::create_directory(folder_);
    server_.on_export = [](int, const auto& request, Writer* writer) {
      return Serve(request, writer, -1);
    };
  }
  ~ExportTarget() override { std::filesystem::remove_all(folder_); }

  absl::Status To(const std::string& path) {
    return server_.MakeClient().ExportVolumeToFile(request_, path, options_).status();
  }
  static std::string Read(const std::string& path) {
    std::ostringstream read;
    read << std::ifstream(path, std::ios::binary).rdbuf();
    return read.str();
  }
  static mode_t TypeOf(const std::string& path) {
    struct stat info = {};
    return lstat(path.c_str(), &info) == 0 ? info.st_mode & S_IFMT : 0;
  }

  const std::filesystem::path folder_ = std::filesystem::temp_directory_path() / NewUuid();
  const std::string path_ = folder_ / "disk.raw";
};

TEST_F(ExportTarget, ALinkStaysAndItsFileIsReplaced) {
  std::filesystem::create_directory(folder_ / "real");
  const std::string real = folder_ / "real" / "file";
  std::ofstream(real) << "old";
  std::filesystem::create_symlink("real/file", folder_ / "second");
  std::filesystem::create_symlink("second", path_);
  EXPECT_EQ(To(path_), absl::OkStatus());
  EXPECT_EQ(TypeOf(path_), S_IFLNK);
  EXPECT_TRUE(Read(real) == Content());
  // A link to nothing yet is no different.
  std::filesystem::remove(real);
  EXPECT_EQ(To(path_), absl::OkStatus());
  EXPECT_EQ(TypeOf(path_), S_IFLNK);
  EXPECT_TRUE(Read(real) == Content());
}

TEST_F(ExportTarget, AFifoIsWrittenZerosIncluded) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  auto reader = std::async(std::launch::async, [this] { return Read(path_); });
  EXPECT_EQ(To(path_), absl::OkStatus());
  EXPECT_TRUE(reader.get() == Content());
  EXPECT_EQ(TypeOf(path_), S_IFIFO);
}

TEST_F(ExportTarget, AFifoThatNobodyReadsIsGivenUpOnRequest) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  std::stop_source stop;
  options_.stop = stop.get_token();
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(To(path_)));
  EXPECT_EQ(server_.calls("ExportVolume"), 0);
}

TEST_F(ExportTarget, ADeviceStaysADevice) {
  if (mknod(path_.c_str(), S_IFCHR | 0600, makedev(1, 3)) != 0)
    GTEST_SKIP() << "devices cannot be made here";
  EXPECT_EQ(To(path_), absl::OkStatus());
  EXPECT_EQ(TypeOf(path_), S_IFCHR);
  const std::string full = folder_ / "full";
  ASSERT_EQ(mknod(full.c_str(), S_IFCHR | 0600, makedev(1, 7)), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(To(full)));
  EXPECT_EQ(TypeOf(full), S_IFCHR);
}

TEST_F(ExportTarget, ADirectoryIsRefusedBeforeTheDownload) {
  ASSERT_TRUE(std::filesystem::create_directory(path_));
  EXPECT_TRUE(absl::IsFailedPrecondition(To(path_)));
  std::filesystem::create_symlink("disk.raw", folder_ / "link");
  EXPECT_TRUE(absl::IsFailedPrecondition(To(folder_ / "link")));
  EXPECT_EQ(server_.calls("ExportVolume"), 0);
}

TEST_F(ExportTarget, AFileWithoutANameIsWrittenItself) {
  const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  std::filesystem::remove(path_);
  const std::string name = "/proc/self/fd/" + std::to_string(fd);
  EXPECT_EQ(To(name), absl::OkStatus());
  EXPECT_TRUE(Read(name) == Content());
  close(fd);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(ExportTarget, APartOfSomebodyElsesIsNotTouched) {
  const std::string part = path_ + ".part";
  const std::string other = folder_ / "other";
  std::ofstream(other) << "precious";
  std::filesystem::create_symlink(other, part);
  EXPECT_FALSE(To(path_).ok());
  std::filesystem::remove(part);
  std::filesystem::create_hard_link(other, part);
  EXPECT_TRUE(absl::IsFailedPrecondition(To(path_)));
  EXPECT_EQ(Read(other), "precious");
  EXPECT_TRUE(std::filesystem::exists(part));
}

TEST_F(ExportTarget, TwoDownloadsDoNotShareAPart) {
  absl::Status second;
  server_.on_export = [&](int n, const auto& request, Writer* writer) {
    if (n == 0) second = To(path_);
    return Serve(request, writer, -1);
  };
  EXPECT_EQ(To(path_), absl::OkStatus());
  EXPECT_TRUE(absl::IsFailedPrecondition(second)) << second;
  EXPECT_TRUE(Read(path_) == Content());
  EXPECT_FALSE(std::filesystem::exists(path_ + ".part"));
}

TEST_F(Export, ToAFileLeavesHolesForZerosAndNothingBehind) {
  server_.on_export = [](int, const auto& request, Writer* writer) {
    return Serve(request, writer, 5);
  };
  const auto folder = std::filesystem::temp_directory_path() / NewUuid();
  ASSERT_TRUE(std::filesystem::create_directory(folder));
  const std::string path = folder / "disk.raw";
  const auto summary = server_.MakeClient().ExportVolumeToFile(request_, path);
  ASSERT_TRUE(summary.ok()) << summary.status();
  std::ostringstream read;
  read << std::ifstream(path, std::ios::binary).rdbuf();
  EXPECT_TRUE(read.str() == Content());
  struct stat info = {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_LT(info.st_blocks * 512, kSize);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));

  server_.on_export = [](int, const auto&, Writer*) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "gone");
  };
  EXPECT_TRUE(absl::IsNotFound(server_.MakeClient().ExportVolumeToFile(request_, path).status()));
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace cairn::client
