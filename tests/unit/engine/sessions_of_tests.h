// Import and export sessions with calls that wait.
#ifndef CAIRN_TESTS_UNIT_ENGINE_SESSIONS_OF_TESTS_H_
#define CAIRN_TESTS_UNIT_ENGINE_SESSIONS_OF_TESTS_H_

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "tests/support/engine_fixture.h"

namespace cairn::testing {

// Calls `start` with a callback and waits for what that gets.
template <typename T, typename F>
T Await(F&& start) {
  auto promise = std::make_shared<std::promise<T>>();
  start([promise](T value) { promise->set_value(std::move(value)); });
  return promise->get_future().get();
}

inline absl::StatusOr<std::unique_ptr<ImportSession>> StartImport(TestEngine& engine,
                                                                  ImportVolumeRequest request,
                                                                  Caller caller = {}) {
  return Await<absl::StatusOr<std::unique_ptr<ImportSession>>>(
      [&](auto done) { engine->StartImport(std::move(request), std::move(caller), done); });
}

inline absl::Status WriteChunk(ImportSession& session, ContentChunk chunk) {
  return Await<absl::Status>([&](auto done) { session.Write(std::move(chunk), done); });
}

inline ContentChunk DataChunk(int64_t offset, const std::string& data) {
  ContentChunk chunk;
  chunk.offset = offset;
  chunk.data = data;
  chunk.crc32c = Crc32c(0, data);
  return chunk;
}

inline ContentChunk ZeroChunk(int64_t offset, int64_t length) {
  ContentChunk chunk;
  chunk.offset = offset;
  chunk.zero_length = length;
  chunk.crc32c = Crc32cOfZeros(0, length);
  return chunk;
}

inline absl::StatusOr<OperationPtr> Finish(ImportSession& session, ContentTotal total) {
  return Await<absl::StatusOr<OperationPtr>>([&](auto done) { session.Finish(total, done); });
}

inline absl::StatusOr<std::unique_ptr<ExportSession>> StartExport(TestEngine& engine,
                                                                  ExportRequest request) {
  return Await<absl::StatusOr<std::unique_ptr<ExportSession>>>(
      [&](auto done) { engine->StartExport(std::move(request), done); });
}

inline absl::StatusOr<ExportSession::Piece> NextPiece(ExportSession& session) {
  return Await<absl::StatusOr<ExportSession::Piece>>([&](auto done) { session.Next(done); });
}

// All of an export's content; the pieces' order and checksums are checked.
inline absl::StatusOr<std::string> ExportAll(TestEngine& engine, ExportRequest request) {
  const int64_t begin = request.offset;
  ASSIGN_OR_RETURN(auto session, StartExport(engine, std::move(request)));
  std::string content;
  while (true) {
    ASSIGN_OR_RETURN(ExportSession::Piece piece, NextPiece(*session));
    if (piece.last) {
      EXPECT_EQ(piece.total.bytes, static_cast<int64_t>(content.size()));
      EXPECT_EQ(piece.total.crc32c, Crc32c(0, content));
      return content;
    }
    EXPECT_EQ(piece.chunk.offset, begin + static_cast<int64_t>(content.size()));
    std::string bytes = piece.chunk.data;
    if (bytes.empty()) bytes.resize(static_cast<size_t>(piece.chunk.zero_length));
    EXPECT_FALSE(bytes.empty());
    EXPECT_EQ(piece.chunk.crc32c, Crc32c(0, bytes));
    content += bytes;
  }
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_SESSIONS_OF_TESTS_H_
