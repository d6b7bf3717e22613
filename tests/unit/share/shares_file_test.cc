#include "lib/share/shares_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/support/seed.h"

namespace cairn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

ShareSpec Spec(std::string address, std::string options = "", int line = 1) {
  return {std::move(address), std::move(options), line};
}

std::vector<std::string> Addresses(const SharesFile& file) {
  std::vector<std::string> addresses;
  for (const ShareSpec& share : file.shares) addresses.push_back(share.address);
  return addresses;
}

// One line that must serve.
ShareSpec Only(std::string_view line) {
  SharesFile file = ParseSharesFile(line);
  EXPECT_THAT(file.problems, IsEmpty()) << line;
  EXPECT_EQ(file.shares.size(), 1u) << line;
  return file.shares.empty() ? ShareSpec{} : file.shares[0];
}

// One line that must be refused, and why.
std::string ProblemOf(std::string_view line) {
  SharesFile file = ParseSharesFile(line);
  EXPECT_THAT(file.shares, IsEmpty()) << line;
  EXPECT_EQ(file.problems.size(), 1u) << line;
  return file.problems.empty() ? "" : file.problems[0];
}

TEST(SharesFileTest, PlainLine) { EXPECT_EQ(Only("h1:/a"), Spec("h1:/a")); }

TEST(SharesFileTest, LineWithOptions) {
  EXPECT_EQ(Only("h3:/opt -o vers=3,rw"), Spec("h3:/opt", "vers=3,rw"));
}

TEST(SharesFileTest, SeveralOptionFieldsAreJoinedByACommaInTheirOrder) {
  EXPECT_EQ(Only("h:/a -o rw -o vers=4.2,hard -o nconnect=4"),
            Spec("h:/a", "rw,vers=4.2,hard,nconnect=4"));
}

TEST(SharesFileTest, TabsSeparate) { EXPECT_EQ(Only("\th6:/tab\t-o\tx\t"), Spec("h6:/tab", "x")); }

TEST(SharesFileTest, LeadingBlanksAreNoMatter) { EXPECT_EQ(Only("  h2:/lead"), Spec("h2:/lead")); }

TEST(SharesFileTest, SpaceEscapeIsUndone) {
  EXPECT_EQ(Only("h4:/sp\\040ace\\040s"), Spec("h4:/sp ace s"));
  EXPECT_EQ(Only("file:///srv/my\\040share"), Spec("file:///srv/my share"));
}

TEST(SharesFileTest, OtherBackslashesStay) { EXPECT_EQ(Only("h:/a\\041b"), Spec("h:/a\\041b")); }

TEST(SharesFileTest, Ipv6HostInBrackets) {
  EXPECT_EQ(Only("[fd00::1]:/v6"), Spec("[fd00::1]:/v6"));
  EXPECT_EQ(Only("[fe80::1%eth0]:/v6 -o vers=4.2"), Spec("[fe80::1%eth0]:/v6", "vers=4.2"));
  EXPECT_EQ(Only("[::ffff:10.0.0.1]:/v6"), Spec("[::ffff:10.0.0.1]:/v6"));
}

TEST(SharesFileTest, BadIpv6HostsAreRefused) {
  EXPECT_THAT(ProblemOf("fd00::1:/v6"), HasSubstr("brackets"));
  EXPECT_THAT(ProblemOf("[fd00::1:/v6"), HasSubstr("[IPv6]:/export"));
  EXPECT_THAT(ProblemOf("[fd00::1]/v6"), HasSubstr("[IPv6]:/export"));
  EXPECT_THAT(ProblemOf("[]:/v6"), HasSubstr("IPv6"));
  EXPECT_THAT(ProblemOf("[host]:/v6"), HasSubstr("IPv6"));
}

TEST(SharesFileTest, CommentsAndBlankLinesAreSkipped) {
  SharesFile file = ParseSharesFile("# one\n\n   \t \n  # indented\n\t#tab\nh:/a\n#h:/b");
  EXPECT_THAT(file.shares, ElementsAre(Spec("h:/a", "", 6)));
  EXPECT_THAT(file.problems, IsEmpty());
}

TEST(SharesFileTest, TrailingCommentAfterABlank) {
  EXPECT_EQ(Only("h7:/x # trailing -o no"), Spec("h7:/x"));
  EXPECT_EQ(Only("h7:/x -o rw #trailing"), Spec("h7:/x", "rw"));
}

TEST(SharesFileTest, HashInsideAFieldIsNoComment) {
  EXPECT_EQ(Only("h:/a#b -o x=#1"), Spec("h:/a#b", "x=#1"));
}

TEST(SharesFileTest, LinesOfAnotherFormAreReportedWithTheirNumberAndTheOthersServe) {
  SharesFile file = ParseSharesFile(
      "nfs-host1:/export\nbroken:share_format\n\nnfs-host2:/export -o intr\nnocolon/abc\nh5:/\n");
  EXPECT_THAT(file.shares,
              ElementsAre(Spec("nfs-host1:/export", "", 1), Spec("nfs-host2:/export", "intr", 4)));
  EXPECT_THAT(file.problems, ElementsAre(StartsWith("line 2: "), StartsWith("line 5: "),
                                         AllOf(StartsWith("line 6: "), HasSubstr("export"))));
}

// The share list of the original's own suite: comment, blank line, options, a line of another form.
TEST(SharesFileTest, UpstreamShareConfigGivesTwoShares) {
  SharesFile file = ParseSharesFile(
      "nfs-host1:/export\n"
      "#nfs-host2:/export\n"
      "\n"
      "nfs-host3:/export -o intr\n"
      "broken:share_format\n");
  EXPECT_THAT(Addresses(file), ElementsAre("nfs-host1:/export", "nfs-host3:/export"));
}

TEST(SharesFileTest, RootExportIsRefused) {
  EXPECT_THAT(ProblemOf("h5:/"), HasSubstr("export"));
  EXPECT_THAT(ProblemOf("h5://"), HasSubstr("export"));
  EXPECT_THAT(ProblemOf("[fd00::1]:/"), HasSubstr("export"));
}

TEST(SharesFileTest, HostsThatAreNoneAreRefused) {
  EXPECT_THAT(ProblemOf(":/a"), HasSubstr("host"));
  EXPECT_THAT(ProblemOf("-o:/a"), HasSubstr("'-'"));
  EXPECT_THAT(ProblemOf("/etc:/a"), HasSubstr("host"));
  EXPECT_THAT(ProblemOf("a\\040b:/a"), HasSubstr("host"));
}

TEST(SharesFileTest, AnythingElseAfterTheAddressIsAProblem) {
  EXPECT_THAT(ProblemOf("h3:/opt -o vers=3,rw --other"), HasSubstr("--other"));
  EXPECT_THAT(ProblemOf("h:/a rw"), HasSubstr("\"rw\""));
  EXPECT_THAT(ProblemOf("h:/a -orw"), HasSubstr("-orw"));
  EXPECT_THAT(ProblemOf("h:/a -o"), HasSubstr("without options"));
  EXPECT_THAT(ProblemOf("h:/a -o # comment"), HasSubstr("without options"));
  EXPECT_THAT(ProblemOf("h:/a -o rw -o"), HasSubstr("without options"));
  EXPECT_THAT(ProblemOf("h:/a -o -o rw"), HasSubstr("without options"));
}

TEST(SharesFileTest, DirectoryShare) {
  ShareSpec share = Only("file:///srv/share");
  EXPECT_EQ(share, Spec("file:///srv/share"));
  EXPECT_TRUE(share.is_directory());
  EXPECT_FALSE(Only("h:/a").is_directory());
}

TEST(SharesFileTest, DirectoryShareMustBeAnAbsoluteNormalisedPath) {
  for (const char* line :
       {"file://srv/share", "file://", "file:///", "file:////srv", "file:///srv/",
        "file:///srv/../etc", "file:///srv/./a", "file:///srv//a", "file:///..", "file:///."}) {
    EXPECT_NE(ProblemOf(line), "") << line;
  }
  EXPECT_EQ(Only("file:///srv/..a/b..").address, "file:///srv/..a/b..");
}

TEST(SharesFileTest, DirectoryShareTakesNoOptions) {
  EXPECT_THAT(ProblemOf("file:///srv/share -o rw"), HasSubstr("no options"));
}

TEST(SharesFileTest, DuplicateIsReportedAndTheFirstLineServes) {
  SharesFile file = ParseSharesFile("h:/a -o one\nh:/b\nh:/a -o two\nh:/b/\n");
  EXPECT_THAT(file.shares, ElementsAre(Spec("h:/a", "one", 1), Spec("h:/b", "", 2)));
  EXPECT_THAT(file.problems, ElementsAre(AllOf(StartsWith("line 3: "), HasSubstr("duplicate")),
                                         AllOf(StartsWith("line 4: "), HasSubstr("duplicate"))));
}

TEST(SharesFileTest, ALineThatIsRefusedIsNoFirstOne) {
  SharesFile file = ParseSharesFile("h:/a junk\nh:/a\n");
  EXPECT_THAT(file.shares, ElementsAre(Spec("h:/a", "", 2)));
}

TEST(SharesFileTest, NulAndOtherControlBytesAreRefused) {
  EXPECT_THAT(ProblemOf(std::string_view("h:/a\0b", 6)), HasSubstr("control character"));
  EXPECT_THAT(ProblemOf("h:/a\x1b[2J"), HasSubstr("control character"));
  // What is echoed is fit for a terminal.
  EXPECT_EQ(ProblemOf("h:/a\x1b[2J").find('\x1b'), std::string::npos);
}

TEST(SharesFileTest, LongLinesAreRefused) {
  std::string longest = "h:/" + std::string(4093, 'a');
  EXPECT_EQ(Only(longest).address, longest);
  EXPECT_THAT(ProblemOf(longest + "a"),
              AllOf(HasSubstr("longer than 4096 bytes"),
                    ::testing::ResultOf([](const std::string& s) { return s.size(); },
                                        ::testing::Lt(200u))));
}

TEST(SharesFileTest, LineEndsOfOtherSystemsAndAMissingLastOneServe) {
  SharesFile file = ParseSharesFile("h:/a\r\nh:/b -o rw\r\nh:/c");
  EXPECT_THAT(file.shares,
              ElementsAre(Spec("h:/a", "", 1), Spec("h:/b", "rw", 2), Spec("h:/c", "", 3)));
  EXPECT_THAT(ParseSharesFile("").shares, IsEmpty());
}

TEST(MountPointTest, IsNamedByTheMd5OfTheAddressAsCinders) {
  EXPECT_EQ(MountPointOf("/mnt/test", Spec("nfs-host1:/export")),
            "/mnt/test/2f4f60214cf43c595666dd815f0360a4");
}

TEST(MountPointTest, OptionsDoNotChangeTheName) {
  EXPECT_EQ(MountPointOf("/m", Spec("nfs-host1:/export", "vers=3", 9)),
            "/m/2f4f60214cf43c595666dd815f0360a4");
}

TEST(MountPointTest, DoubleSlashesInTheBaseAreCollapsed) {
  EXPECT_EQ(MountPointOf("//mnt//test///", Spec("nfs-host1:/export")),
            "/mnt/test/2f4f60214cf43c595666dd815f0360a4");
}

TEST(MountPointTest, DirectoryShareIsItsDirectory) {
  EXPECT_EQ(MountPointOf("/mnt", Spec("file:///srv/my share")), "/srv/my share");
}

// Whatever the bytes are: no crash, and what is accepted is sound.
void ExpectSound(const std::string& text) {
  SharesFile file = ParseSharesFile(text);
  int last_line = 0;
  for (const ShareSpec& share : file.shares) {
    EXPECT_GT(share.line, last_line);
    last_line = share.line;
    EXPECT_LE(share.address.size() + share.mount_options.size(), 4096u);
    for (unsigned char c : share.address + share.mount_options) EXPECT_GE(c, 0x20);
    EXPECT_FALSE(share.address.starts_with('-'));
    EXPECT_FALSE(share.mount_options.starts_with('-'));
    std::string directory = MountPointOf("/base", share);
    EXPECT_TRUE(directory.starts_with('/'));
    if (share.is_directory()) {
      EXPECT_EQ((directory + "/").find("/../"), std::string::npos);
    } else {
      EXPECT_EQ(directory.size(), std::string("/base/").size() + 32);
    }
  }
  for (const std::string& problem : file.problems) EXPECT_THAT(problem, StartsWith("line "));
}

TEST(SharesFileTest, HostileBytesNeverCrash) {
  std::mt19937_64 random(testing::TestSeed());
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 600, '\0');
    for (char& c : text) c = static_cast<char>(random());
    ExpectSound(text);
  }
}

TEST(SharesFileTest, HostileMixturesOfValidPiecesNeverCrash) {
  const std::vector<std::string> pieces = {"h:/a",
                                           "file://",
                                           "/",
                                           "..",
                                           ".",
                                           "//",
                                           " ",
                                           "\t",
                                           "\n",
                                           "\r\n",
                                           "-o",
                                           " -o ",
                                           ",",
                                           "rw",
                                           "#",
                                           "[",
                                           "]",
                                           ":",
                                           ":/",
                                           "\\040",
                                           "\\",
                                           "fd00::1",
                                           "%",
                                           std::string(1, '\0'),
                                           std::string(5000, 'x'),
                                           "\xff\xfe",
                                           "é"};
  std::mt19937_64 random(testing::TestSeed());
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (uint64_t i = random() % 20; i > 0; --i) text += pieces[random() % pieces.size()];
    ExpectSound(text);
  }
}

}  // namespace
}  // namespace cairn
