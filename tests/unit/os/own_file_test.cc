// What strangers put in the place of files of ours, and who would pay for it if it were followed.
#include "lib/os/own_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "lib/os/file_system.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

class OwnFileTest : public ::testing::Test {
 protected:
  OwnFileTest() {
    fs::create_directory(dir_.File("share"));
    fs::create_directory(dir_.File("victim"));
    WriteFile(dir_.File("victim/owner"), "precious");
  }
  std::string Private(const std::string& name = "") const {
    return dir_.File("share/.cairn") + (name.empty() ? "" : "/" + name);
  }

  TempDir dir_;
  FileSystem& files_ = *FileSystem::Posix();
};

TEST_F(OwnFileTest, APrivateDirectoryIsUsedAsAnyOther) {
  ASSERT_OK(files_.MakeDirectories(Private()));
  ASSERT_OK(files_.MakeDirectories(Private()));
  ASSERT_OK(ReplaceFile(files_, {.directory = Private(), .name = "f", .temporary = "f.new"}, "a"));
  EXPECT_EQ(*ReadWholeFile(files_, Private("f"), 100), "a");
  EXPECT_OK(files_.Rename(Private("f"), Private("g")));
  EXPECT_TRUE(files_.Stat(Private("g"))->is_regular);
  EXPECT_THAT(*files_.List(Private()), ::testing::ElementsAre("g"));
  EXPECT_OK(files_.RefreshDirectory(Private()));
  EXPECT_OK(files_.Remove(Private("g")));
  EXPECT_OK(files_.Remove(Private("g")));
  fs::remove(Private());
  EXPECT_OK(files_.Remove(Private("g")));
  EXPECT_THAT(files_.Stat(Private("g")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(OwnFileTest, ALinkInThePlaceOfThePrivateDirectoryIsNeverEntered) {
  fs::create_directory_symlink(dir_.File("victim"), Private());
  for (OpenMode mode :
       {OpenMode::kRead, OpenMode::kReadWrite, OpenMode::kCreate, OpenMode::kCreateNew}) {
    for (const char* name : {"owner", "new"}) {
      auto file = files_.Open(Private(name), mode);
      ASSERT_THAT(file, HasReasonOf(Reason::kImageUnsafe));
      EXPECT_EQ(GetErrorDetails(file.status())->metadata.at("file"), ".cairn");
    }
  }
  EXPECT_THAT(files_.Stat(Private("owner")), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(files_.Remove(Private("owner")), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(files_.Rename(Private("owner"), dir_.File("share/x")),
              HasReasonOf(Reason::kImageUnsafe));
  WriteFile(dir_.File("share/x"), "");
  EXPECT_THAT(files_.Rename(dir_.File("share/x"), Private("owner")),
              HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(files_.List(Private()), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(files_.SyncDirectory(Private()), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_FALSE(files_.MakeDirectories(Private()).ok());
  EXPECT_EQ(ReadFile(dir_.File("victim/owner")), "precious");
  EXPECT_FALSE(fs::exists(dir_.File("victim/new")));
}

TEST_F(OwnFileTest, AFileInThePlaceOfThePrivateDirectoryIsNamed) {
  WriteFile(Private(), "");
  EXPECT_THAT(files_.Open(Private("owner"), OpenMode::kRead), HasReasonOf(Reason::kImageUnsafe));
}

TEST_F(OwnFileTest, AHardLinkIsReadAndNeverWritten) {
  const std::string link = dir_.File("share/link");
  fs::create_hard_link(dir_.File("victim/owner"), link);
  EXPECT_EQ(*ReadWholeFile(files_, link, 100), "precious");
  for (OpenMode mode : {OpenMode::kReadWrite, OpenMode::kCreateNew}) {
    auto file = files_.Open(link, mode);
    ASSERT_THAT(file, HasReasonOf(Reason::kImageUnsafe));
    EXPECT_EQ(GetErrorDetails(file.status())->metadata.at("file"), "link");
    EXPECT_THAT(std::string(file.status().message()), HasSubstr("hard link"));
  }
  EXPECT_THAT(CheckWritableInPlace(files_, link), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_EQ(ReadFile(dir_.File("victim/owner")), "precious");
  // What is written is a file of its own.
  ASSERT_OK(ReplaceFile(
      files_, {.directory = dir_.File("share"), .name = "link", .temporary = "link.new"}, "ours"));
  EXPECT_EQ(ReadFile(dir_.File("victim/owner")), "precious");
  EXPECT_OK(CheckWritableInPlace(files_, link));
}

TEST_F(OwnFileTest, WhatIsNotRegularIsNamedByItsKind) {
  fs::create_symlink("nowhere", dir_.File("share/link"));
  ASSERT_EQ(mkfifo(dir_.File("share/fifo").c_str(), 0600), 0);
  fs::create_directory(dir_.File("share/directory"));
  const std::pair<const char*, const char*> kinds[] = {
      {"link", "a symbolic link"}, {"fifo", "a FIFO"}, {"directory", "a directory"}};
  for (const auto& [name, kind] : kinds) {
    absl::Status error = files_.Open(dir_.File("share/") + name, OpenMode::kReadWrite).status();
    ASSERT_THAT(error, HasReasonOf(Reason::kImageUnsafe));
    EXPECT_THAT(std::string(error.message()), HasSubstr(kind));
    EXPECT_EQ(GetErrorDetails(error)->metadata.at("file"), name);
  }
}

TEST_F(OwnFileTest, ADirectoryInTheWayIsToldAndStays) {
  fs::create_directory(dir_.File("share/f"));
  WriteFile(dir_.File("share/g"), "");
  EXPECT_THAT(files_.Remove(dir_.File("share/f")), HasReasonOf(Reason::kImageUnsafe));
  EXPECT_THAT(files_.Rename(dir_.File("share/g"), dir_.File("share/f")),
              HasReasonOf(Reason::kImageUnsafe));
  EXPECT_TRUE(fs::is_directory(dir_.File("share/f")));
}

TEST_F(OwnFileTest, AnEmptiedFileHoldsNothingOfBefore) {
  WriteFile(dir_.File("share/f"), "old content");
  ASSERT_OK_AND_ASSIGN(auto file, files_.Open(dir_.File("share/f"), OpenMode::kCreateNew));
  EXPECT_THAT(*file->ReadAt(0, 100), IsEmpty());
}

}  // namespace
}  // namespace cairn
