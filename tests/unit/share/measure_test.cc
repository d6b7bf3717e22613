#include "lib/share/measure.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "lib/os/faulty_file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::HasReasonOf;
using testing::TempDir;
using testing::WriteFile;

int64_t Measure(const TempDir& dir) {
  auto bytes = MeasureApparentBytes(*FileSystem::Posix(), dir.path(), CancelToken());
  EXPECT_OK(bytes);
  return bytes.value_or(-1);
}

void MakeSparse(const std::string& path, uintmax_t size) {
  WriteFile(path, "");
  fs::resize_file(path, size);
}

TEST(MeasureTest, EmptyShareIsZero) {
  TempDir dir;
  EXPECT_EQ(Measure(dir), 0);
}

TEST(MeasureTest, SparseFilesCountTheirApparentSize) {
  TempDir dir;
  MakeSparse(dir.File("volume-a"), uintmax_t{1} << 30);
  EXPECT_EQ(Measure(dir), int64_t{1} << 30);
}

TEST(MeasureTest, SumsOverDirectories) {
  TempDir dir;
  fs::create_directories(dir.File("a/b/c"));
  WriteFile(dir.File("one"), "1");
  WriteFile(dir.File("a/two"), "22");
  WriteFile(dir.File("a/b/c/four"), "4444");
  EXPECT_EQ(Measure(dir), 7);
}

TEST(MeasureTest, TemporaryFilesTakeRoomToo) {
  TempDir dir;
  WriteFile(dir.File(".volume-a.tmp-1"), "12345");
  EXPECT_EQ(Measure(dir), 5);
}

TEST(MeasureTest, NamesWithSnapshotAreLeftOut) {
  TempDir dir;
  fs::create_directories(dir.File(".snapshot/hourly.0"));
  fs::create_directories(dir.File("a/~snapshots"));
  WriteFile(dir.File(".snapshot/hourly.0/volume-a"), "12345");
  WriteFile(dir.File("a/~snapshots/volume-a"), "12345");
  WriteFile(dir.File("my-snapshot-file"), "12345");
  WriteFile(dir.File("a/volume-a"), "12");
  EXPECT_EQ(Measure(dir), 2);
}

TEST(MeasureTest, OnlyNamesBelowTheShareDecide) {
  TempDir dir;
  fs::create_directories(dir.File("snapshot"));
  WriteFile(dir.File("snapshot/volume-a"), "123");
  EXPECT_EQ(*MeasureApparentBytes(*FileSystem::Posix(), dir.File("snapshot"), CancelToken()), 3);
}

TEST(MeasureTest, SymbolicLinksAreNotFollowed) {
  TempDir dir;
  TempDir elsewhere;
  WriteFile(elsewhere.File("big"), std::string(1000, 'x'));
  fs::create_symlink(elsewhere.path(), dir.File("dir-link"));
  fs::create_symlink(elsewhere.File("big"), dir.File("file-link"));
  fs::create_symlink(dir.path(), dir.File("loop"));
  WriteFile(dir.File("volume-a"), "12");
  EXPECT_EQ(Measure(dir), 2);
}

TEST(MeasureTest, DepthIsBounded) {
  TempDir dir;
  std::string path = dir.path();
  for (int depth = 0; depth < kMeasureDepthMax + 5; ++depth) {
    path += "/d";
    fs::create_directory(path);
    WriteFile(path + "/f", "1");
  }
  EXPECT_EQ(Measure(dir), kMeasureDepthMax);
}

TEST(MeasureTest, WhatVanishesDuringTheWalkCountsNothing) {
  TempDir dir;
  WriteFile(dir.File("volume-a"), "12");
  FaultyFileSystem files(FileSystem::Posix());
  files.Inject({.call = "Stat", .nth = 1, .error_number = ENOENT});
  ASSERT_OK_AND_ASSIGN(int64_t bytes, MeasureApparentBytes(files, dir.path(), CancelToken()));
  EXPECT_EQ(bytes, 0);
}

TEST(MeasureTest, DirectoryThatMayNotBeReadCountsNothing) {
  TempDir dir;
  fs::create_directory(dir.File("lost+found"));
  WriteFile(dir.File("volume-a"), "12");
  FaultyFileSystem files(FileSystem::Posix());
  files.Inject({.call = "List", .nth = 2, .error_number = EACCES});
  ASSERT_OK_AND_ASSIGN(int64_t bytes, MeasureApparentBytes(files, dir.path(), CancelToken()));
  EXPECT_EQ(bytes, 2);
  EXPECT_TRUE(files.fired());
}

TEST(MeasureTest, ErrorsOfTheShareAreErrors) {
  TempDir dir;
  WriteFile(dir.File("volume-a"), "12");
  FaultyFileSystem files(FileSystem::Posix());
  files.Inject({.call = "Stat", .nth = 1, .error_number = EIO});
  EXPECT_THAT(MeasureApparentBytes(files, dir.path(), CancelToken()),
              HasReasonOf(Reason::kIoError));
  for (int root_error : {ENOENT, EACCES, ESTALE}) {
    files.Inject({.call = "List", .nth = 1, .error_number = root_error});
    EXPECT_FALSE(MeasureApparentBytes(files, dir.path(), CancelToken()).ok()) << root_error;
  }
}

TEST(MeasureTest, CanBeCancelled) {
  TempDir dir;
  WriteFile(dir.File("volume-a"), "12");
  CancelSource source;
  source.Cancel();
  EXPECT_THAT(MeasureApparentBytes(*FileSystem::Posix(), dir.path(), source.token()),
              testing::StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace cairn
