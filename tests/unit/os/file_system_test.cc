#include "lib/os/file_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "lib/base/size.h"
#include "lib/os/unique_fd.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace {

bool refuse_chmod = false;

}  // namespace

// In place of the C library's: root is refused by no local file system.
extern "C" int fchmod(int fd, mode_t mode) noexcept {
  if (!refuse_chmod) return static_cast<int>(syscall(SYS_fchmod, fd, mode));
  errno = EPERM;
  return -1;
}
extern "C" int chmod(const char* path, mode_t mode) noexcept {
  if (!refuse_chmod) return static_cast<int>(syscall(SYS_chmod, path, mode));
  errno = EPERM;
  return -1;
}

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;
using ::cairn::testing::ReadFile;
using ::cairn::testing::StatusIs;
using ::cairn::testing::TempDir;
using ::cairn::testing::WriteFile;
using ::testing::UnorderedElementsAre;

class FileSystemTest : public ::testing::Test {
 protected:
  std::unique_ptr<File> MustOpen(const std::string& name, OpenMode mode) {
    auto file = files_.Open(dir_.File(name), mode);
    EXPECT_OK(file);
    return file.ok() ? *std::move(file) : nullptr;
  }

  TempDir dir_;
  FileSystem& files_ = *FileSystem::Posix();
};

TEST_F(FileSystemTest, ReadsWhatWasWritten) {
  auto file = MustOpen("f", OpenMode::kCreate);
  EXPECT_OK(file->WriteAt(0, "hello world"));
  EXPECT_OK(file->WriteAt(6, "there"));
  EXPECT_OK(file->WriteAt(0, ""));
  EXPECT_OK(file->Sync());
  EXPECT_EQ(*file->ReadAt(0, 100), "hello there");
  EXPECT_EQ(*file->ReadAt(6, 2), "th");
  EXPECT_EQ(*file->ReadAt(11, 5), "");
  EXPECT_EQ(*file->ReadAt(1000, 5), "");
  EXPECT_EQ(ReadFile(dir_.File("f")), "hello there");
  EXPECT_FALSE(file->ReadAt(-1, 5).ok());
  EXPECT_FALSE(file->ReadAt(0, -5).ok());
}

TEST_F(FileSystemTest, OpenModes) {
  EXPECT_THAT(files_.Open(dir_.File("f"), OpenMode::kRead), HasReasonOf(Reason::kFileNotFound));
  EXPECT_THAT(files_.Open(dir_.File("f"), OpenMode::kReadWrite),
              HasReasonOf(Reason::kFileNotFound));
  EXPECT_OK(MustOpen("f", OpenMode::kCreate)->WriteAt(0, "data"));
  EXPECT_THAT(files_.Open(dir_.File("f"), OpenMode::kCreate), HasReasonOf(Reason::kFileExists));
  EXPECT_OK(MustOpen("f", OpenMode::kReadWrite)->WriteAt(0, "D"));
  EXPECT_FALSE(MustOpen("f", OpenMode::kRead)->WriteAt(0, "x").ok());
  EXPECT_EQ(ReadFile(dir_.File("f")), "Data");
  MustOpen("f", OpenMode::kCreateNew);
  EXPECT_EQ(ReadFile(dir_.File("f")), "");
  MustOpen("g", OpenMode::kCreateNew);
  EXPECT_OK(files_.Stat(dir_.File("g")));
}

TEST_F(FileSystemTest, ErrorsNameThePathAndTheErrno) {
  auto details = GetErrorDetails(files_.Open(dir_.File("none"), OpenMode::kRead).status()).value();
  EXPECT_EQ(details.metadata["path"], dir_.File("none"));
  EXPECT_EQ(details.metadata["errno"], "ENOENT");
}

TEST_F(FileSystemTest, OpenRefusesWhatIsNotARegularFile) {
  WriteFile(dir_.File("target"), "secret");
  ASSERT_EQ(symlink("target", dir_.File("link").c_str()), 0);
  ASSERT_EQ(symlink("nowhere", dir_.File("dangling").c_str()), 0);
  ASSERT_EQ(mkfifo(dir_.File("fifo").c_str(), 0600), 0);
  ASSERT_EQ(mkdir(dir_.File("directory").c_str(), 0700), 0);
  UniqueFd server(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, dir_.File("socket").c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  // Opening the FIFO must not wait for its other end either.
  for (std::string path : {dir_.File("link"), dir_.File("dangling"), dir_.File("fifo"),
                           dir_.File("directory"), dir_.File("socket"), std::string("/dev/null")}) {
    for (OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite, OpenMode::kCreateNew}) {
      EXPECT_THAT(files_.Open(path, mode), HasReasonOf(Reason::kImageUnsafe)) << path;
    }
    EXPECT_THAT(files_.Open(path, OpenMode::kCreate), HasReasonOf(Reason::kFileExists)) << path;
  }
  EXPECT_EQ(ReadFile(dir_.File("target")), "secret");
  EXPECT_THAT(files_.Stat(dir_.File("nowhere")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FileSystemTest, ModesDoNotDependOnTheUmask) {
  for (mode_t mask : {0777, 0077, 0000}) {
    mode_t before = umask(mask);
    auto file = MustOpen(fmt::format("f{}", mask), OpenMode::kCreate);
    absl::Status made = files_.MakeDirectories(dir_.File(fmt::format("d{}/e", mask)));
    umask(before);
    EXPECT_EQ(file->Stat()->mode, 0660u) << mask;
    EXPECT_OK(made);
    EXPECT_EQ(files_.Stat(dir_.File(fmt::format("d{}", mask)))->mode, 0755u) << mask;
    EXPECT_EQ(files_.Stat(dir_.File(fmt::format("d{}/e", mask)))->mode, 0755u) << mask;
  }
}

TEST_F(FileSystemTest, StatTellsKindSizeAndOwner) {
  auto file = MustOpen("f", OpenMode::kCreate);
  EXPECT_OK(file->Truncate(kMiB));
  EXPECT_OK(file->SetOwnerAndMode(static_cast<uid_t>(-1), getgid(), 0640));
  ASSERT_OK_AND_ASSIGN(FileStat stat, file->Stat());
  EXPECT_EQ(stat.size_bytes, kMiB);
  EXPECT_LT(stat.physical_bytes, kMiB) << "a hole takes no room";
  EXPECT_TRUE(stat.is_regular);
  EXPECT_FALSE(stat.is_directory);
  EXPECT_EQ(stat.mode, 0640u);
  EXPECT_EQ(stat.uid, getuid());
  EXPECT_EQ(stat.gid, getgid());
  ASSERT_OK_AND_ASSIGN(FileStat by_path, files_.Stat(dir_.File("f")));
  EXPECT_EQ(by_path.inode, stat.inode);
  EXPECT_EQ(by_path.device, stat.device);
  EXPECT_TRUE(files_.Stat(dir_.path())->is_directory);
  ASSERT_EQ(symlink("f", dir_.File("link").c_str()), 0);
  EXPECT_FALSE(files_.Stat(dir_.File("link"))->is_regular);
  EXPECT_THAT(files_.Stat(dir_.File("none")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FileSystemTest, AllocateTakesTheRoomOrSaysThatItCannot) {
  auto file = MustOpen("f", OpenMode::kCreate);
  absl::Status status = file->Allocate(0, kMiB);
  if (status.code() == absl::StatusCode::kUnimplemented) GTEST_SKIP() << status;
  EXPECT_OK(status);
  EXPECT_GE(file->Stat()->physical_bytes, kMiB);
  EXPECT_EQ(file->Stat()->size_bytes, kMiB);
  EXPECT_OK(file->Allocate(0, 0));
}

TEST_F(FileSystemTest, CloneCopiesOrIsUnimplemented) {
  auto source = MustOpen("source", OpenMode::kCreate);
  EXPECT_OK(source->WriteAt(0, "content"));
  auto copy = MustOpen("copy", OpenMode::kCreate);
  absl::Status status = copy->CloneFrom(*source);
  if (status.ok()) {
    EXPECT_EQ(*copy->ReadAt(0, 100), "content");
  } else {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnimplemented));
    EXPECT_EQ(GetErrorDetails(status)->metadata["path"], dir_.File("copy"));
  }
}

TEST_F(FileSystemTest, CloneAcrossFileSystemsIsUnimplemented) {
  auto proc = files_.Open("/proc/self/status", OpenMode::kRead);
  ASSERT_OK(proc);
  auto copy = MustOpen("copy", OpenMode::kCreate);
  EXPECT_THAT(copy->CloneFrom(**proc), StatusIs(absl::StatusCode::kUnimplemented));
}

TEST_F(FileSystemTest, CopyRangeCopiesUpToTheEnd) {
  auto source = MustOpen("source", OpenMode::kCreate);
  std::string content(100000, 'x');
  EXPECT_OK(source->WriteAt(0, content));
  auto copy = MustOpen("copy", OpenMode::kCreate);
  int64_t offset = 0;
  while (true) {
    auto copied = copy->CopyRangeFrom(*source, offset, kMiB);
    if (copied.status().code() == absl::StatusCode::kUnimplemented) {
      GTEST_SKIP() << copied.status();
    }
    ASSERT_OK(copied);
    if (*copied == 0) break;
    offset += *copied;
  }
  EXPECT_EQ(offset, 100000);
  EXPECT_EQ(*copy->ReadAt(0, kMiB), content);
}

TEST_F(FileSystemTest, NextDataFindsEveryRunOfData) {
  auto file = MustOpen("f", OpenMode::kCreate);
  EXPECT_OK(file->Truncate(8 * kMiB));
  EXPECT_OK(file->WriteAt(2 * kMiB, "one"));
  EXPECT_OK(file->WriteAt(5 * kMiB, "two"));
  int64_t offset = 0;
  int64_t data_bytes = 0;
  std::string found;
  while (true) {
    ASSERT_OK_AND_ASSIGN(DataExtent extent, file->NextData(offset));
    if (extent.length == 0) break;
    ASSERT_GE(extent.offset, offset);
    ASSERT_LE(extent.offset + extent.length, 8 * kMiB);
    ASSERT_OK_AND_ASSIGN(std::string data, file->ReadAt(extent.offset, extent.length));
    for (char c : data) {
      if (c != '\0') found += c;
    }
    data_bytes += extent.length;
    offset = extent.offset + extent.length;
  }
  EXPECT_EQ(found, "onetwo") << "holes may be reported as data, but never data as a hole";
  EXPECT_LE(data_bytes, 8 * kMiB);
}

TEST_F(FileSystemTest, NextDataEndsWithTheFile) {
  auto file = MustOpen("f", OpenMode::kCreate);
  EXPECT_EQ(file->NextData(0)->length, 0);
  EXPECT_OK(file->WriteAt(0, "x"));
  EXPECT_EQ(file->NextData(0)->length, 1);
  EXPECT_EQ(file->NextData(1)->length, 0);
  EXPECT_EQ(file->NextData(kMiB)->length, 0);
}

TEST_F(FileSystemTest, LocksOfOthersOnThoseBytesAreSeen) {
  auto file = MustOpen("f", OpenMode::kCreate);
  auto reader = MustOpen("f", OpenMode::kRead);
  const UniqueFd other(open(dir_.File("f").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(*file->IsLockedByOthers(100, 2));
  for (const short type : {F_RDLCK, F_WRLCK}) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = 101;
    lock.l_len = 1;
    ASSERT_EQ(fcntl(other.get(), F_OFD_SETLK, &lock), 0) << strerror(errno);
    for (const auto& asking : {file.get(), reader.get()}) {
      EXPECT_TRUE(*asking->IsLockedByOthers(101, 1));
      EXPECT_TRUE(*asking->IsLockedByOthers(100, 2));
      EXPECT_FALSE(*asking->IsLockedByOthers(100, 1));
      EXPECT_FALSE(*asking->IsLockedByOthers(102, 100));
    }
  }
}

TEST_F(FileSystemTest, StartSyncLeavesTheContentAsItIs) {
  auto file = MustOpen("f", OpenMode::kCreate);
  EXPECT_OK(file->WriteAt(0, "abc"));
  file->StartSync(0, 3);
  file->StartSync(kMiB, 3);  // where nothing is
  EXPECT_OK(file->Sync());
  EXPECT_EQ(ReadFile(dir_.File("f")), "abc");
}

// As on an appliance with lists of access rights, or where the server's user is squashed.
TEST_F(FileSystemTest, AModeThatIsWideEnoughIsLeft) {
  const mode_t mask = umask(0);
  refuse_chmod = true;
  const bool wide = files_.Open(dir_.File("wide"), OpenMode::kCreate).ok();
  EXPECT_OK(files_.MakeDirectories(dir_.File("directory")));
  umask(0077);
  const absl::Status narrow = files_.Open(dir_.File("narrow"), OpenMode::kCreate).status();
  umask(mask);
  refuse_chmod = false;
  ASSERT_EQ(chmod(dir_.File("wide").c_str(), 0777), 0);
  auto file = MustOpen("wide", OpenMode::kReadWrite);
  refuse_chmod = true;
  EXPECT_OK(file->SetOwnerAndMode(static_cast<uid_t>(-1), static_cast<gid_t>(-1), 0666));
  refuse_chmod = false;
  EXPECT_TRUE(wide);
  EXPECT_THAT(narrow, HasReasonOf(Reason::kShareNotWritable));
  EXPECT_THAT(std::string(narrow.message()), ::testing::HasSubstr("the mode is to be 0660"));
}

TEST_F(FileSystemTest, ANewNameIsGivenToNothingThatIsThere) {
  WriteFile(dir_.File("a"), "mine");
  WriteFile(dir_.File("b"), "a stranger's");
  std::filesystem::create_directory(dir_.File("directory"));
  std::filesystem::create_symlink("nowhere", dir_.File("link"));
  for (const char* taken : {"b", "directory", "link"}) {
    EXPECT_THAT(files_.RenameNew(dir_.File("a"), dir_.File(taken)),
                HasReasonOf(Reason::kFileExists));
  }
  EXPECT_EQ(ReadFile(dir_.File("b")), "a stranger's");
  EXPECT_OK(files_.RenameNew(dir_.File("a"), dir_.File("c")));
  EXPECT_EQ(ReadFile(dir_.File("c")), "mine");
  EXPECT_THAT(files_.Stat(dir_.File("a")), HasReasonOf(Reason::kFileNotFound));
  EXPECT_THAT(files_.RenameNew(dir_.File("a"), dir_.File("d")), HasReasonOf(Reason::kFileNotFound));
  // An earlier try may have been cut off between the two names of a link.
  std::filesystem::create_hard_link(dir_.File("c"), dir_.File("d"));
  EXPECT_OK(files_.RenameNew(dir_.File("c"), dir_.File("d")));
  EXPECT_EQ(ReadFile(dir_.File("d")), "mine");
  EXPECT_THAT(files_.Stat(dir_.File("c")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FileSystemTest, WhereALinkLeads) {
  WriteFile(dir_.File("file"), "x");
  std::filesystem::create_symlink("some/where", dir_.File("link"));
  EXPECT_EQ(files_.ReadLink(dir_.File("link")).value(), "some/where");
  EXPECT_FALSE(files_.ReadLink(dir_.File("file")).ok());
  EXPECT_THAT(files_.ReadLink(dir_.File("none")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FileSystemTest, RenameReplacesAndRemoveCanBeDoneTwice) {
  WriteFile(dir_.File("a"), "a");
  WriteFile(dir_.File("b"), "b");
  EXPECT_OK(files_.Rename(dir_.File("a"), dir_.File("b")));
  EXPECT_OK(files_.SyncDirectory(dir_.path()));
  EXPECT_EQ(ReadFile(dir_.File("b")), "a");
  EXPECT_THAT(files_.Rename(dir_.File("a"), dir_.File("b")), HasReasonOf(Reason::kFileNotFound));
  EXPECT_OK(files_.Remove(dir_.File("b")));
  EXPECT_OK(files_.Remove(dir_.File("b")));
  EXPECT_FALSE(files_.Remove(dir_.path()).ok()) << "a directory stays";
  EXPECT_THAT(files_.SyncDirectory(dir_.File("none")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FileSystemTest, MakeDirectoriesMakesParentsAndCanBeDoneTwice) {
  EXPECT_OK(files_.MakeDirectories(dir_.File("a/b//c/")));
  EXPECT_OK(files_.MakeDirectories(dir_.File("a/b/c")));
  EXPECT_TRUE(files_.Stat(dir_.File("a/b/c"))->is_directory);
  EXPECT_OK(files_.MakeDirectories("/"));
  ASSERT_EQ(symlink("a", dir_.File("link").c_str()), 0);
  EXPECT_OK(files_.MakeDirectories(dir_.File("link/d")));
  EXPECT_TRUE(files_.Stat(dir_.File("a/d"))->is_directory);
  WriteFile(dir_.File("file"), "");
  EXPECT_FALSE(files_.MakeDirectories(dir_.File("file")).ok());
  EXPECT_FALSE(files_.MakeDirectories(dir_.File("file/x")).ok());
  EXPECT_FALSE(files_.MakeDirectories("").ok());
}

TEST_F(FileSystemTest, ListsNames) {
  WriteFile(dir_.File("a"), "");
  WriteFile(dir_.File(".hidden"), "");
  EXPECT_OK(files_.MakeDirectories(dir_.File("d")));
  ASSERT_OK_AND_ASSIGN(auto names, files_.List(dir_.path()));
  EXPECT_THAT(names, UnorderedElementsAre("a", ".hidden", "d"));
  EXPECT_THAT(files_.List(dir_.File("none")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FileSystemTest, StatFileSystemTellsTheRoom) {
  ASSERT_OK_AND_ASSIGN(FileSystemStat stat, files_.StatFileSystem(dir_.path()));
  EXPECT_GT(stat.total_bytes, 0);
  EXPECT_GE(stat.available_bytes, 0);
  EXPECT_LE(stat.available_bytes, stat.total_bytes);
  EXPECT_THAT(files_.StatFileSystem(dir_.File("none")), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FileSystemTest, ReadWholeFileIsBounded) {
  WriteFile(dir_.File("f"), std::string(1000, 'x'));
  EXPECT_EQ(ReadWholeFile(files_, dir_.File("f"), 1000)->size(), 1000u);
  EXPECT_THAT(ReadWholeFile(files_, dir_.File("f"), 999), StatusIs(absl::StatusCode::kDataLoss));
  WriteFile(dir_.File("big"), std::string(300000, 'y'));
  EXPECT_EQ(*ReadWholeFile(files_, dir_.File("big"), kMiB), std::string(300000, 'y'));
  WriteFile(dir_.File("empty"), "");
  EXPECT_EQ(*ReadWholeFile(files_, dir_.File("empty"), 0), "");
  EXPECT_THAT(ReadWholeFile(files_, dir_.File("none"), 10), HasReasonOf(Reason::kFileNotFound));
}

TEST_F(FileSystemTest, ReadWholeFileReadsFilesThatClaimNoSize) {
  ASSERT_OK_AND_ASSIGN(std::string status, ReadWholeFile(files_, "/proc/self/status", kMiB));
  EXPECT_NE(status.find("Pid:"), std::string::npos);
  EXPECT_THAT(ReadWholeFile(files_, "/proc/self/status", 10),
              StatusIs(absl::StatusCode::kDataLoss));
}

// A file system of 1 MiB, in a mount name space of the test's own so that nothing is left behind.
class FullFileSystemTest : public FileSystemTest {
 protected:
  void SetUp() override {
    bool mounted = unshare(CLONE_NEWNS) == 0 &&
                   mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                   mount("cairn-test", dir_.path().c_str(), "tmpfs", 0, "size=1m") == 0;
    if (!mounted) GTEST_SKIP() << "mounting a tmpfs: " << strerror(errno);
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) umount2(dir_.path().c_str(), MNT_DETACH);
  }

  bool mounted_ = false;
};

TEST_F(FullFileSystemTest, WritingIntoAFullFileSystemIsNoSpace) {
  auto file = MustOpen("f", OpenMode::kCreate);
  EXPECT_THAT(file->WriteAt(0, std::string(2 * kMiB, 'x')), HasReasonOf(Reason::kNoSpace));
  EXPECT_THAT(file->WriteAt(kMiB, "x"), HasReasonOf(Reason::kNoSpace));
  EXPECT_LT(files_.StatFileSystem(dir_.path())->available_bytes, 4096);
}

TEST_F(FullFileSystemTest, AllocatingTooMuchIsNoSpace) {
  auto file = MustOpen("f", OpenMode::kCreate);
  EXPECT_THAT(file->Allocate(0, 2 * kMiB), HasReasonOf(Reason::kNoSpace));
  EXPECT_OK(file->Allocate(0, kMiB / 2));
}

TEST_F(FullFileSystemTest, ReplaceFileKeepsTheOldContent) {
  ReplaceFileOptions options{.directory = dir_.path(), .name = "map", .temporary = "map.tmp"};
  ASSERT_OK(ReplaceFile(files_, options, "old"));
  EXPECT_THAT(ReplaceFile(files_, options, std::string(2 * kMiB, 'x')),
              HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(ReadFile(dir_.File("map")), "old");
  EXPECT_THAT(files_.Stat(dir_.File("map.tmp")), HasReasonOf(Reason::kFileNotFound));
  EXPECT_OK(ReplaceFile(files_, options, "new")) << "the room was given back";
}

}  // namespace
}  // namespace cairn
