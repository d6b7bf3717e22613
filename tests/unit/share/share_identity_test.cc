// Which share lies in a directory, and how old the catalog that asks is.
#include "lib/share/share_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/id.h"
#include "lib/share/share.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/share/fake_mounts.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::FakeMountProgram;
using testing::FakeMountTable;
using testing::FakeSpace;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

// Records in memory.
class FakeRegistry : public ShareRegistry {
 public:
  std::string IdentityOf(const std::string& address) const override {
    auto it = identities.find(address);
    return it == identities.end() ? "" : it->second;
  }
  absl::Status CheckFree(const std::string& address, const std::string& identity) const override {
    for (const auto& [other, its] : identities) {
      if (other != address && its == identity) return Error(Reason::kShareOwned, "it is " + other);
    }
    return absl::OkStatus();
  }
  absl::Status Record(const std::string& address, const std::string& identity) override {
    RETURN_IF_ERROR(CheckFree(address, identity));
    RETURN_IF_ERROR(record_fails);
    identities[address] = identity;
    return absl::OkStatus();
  }
  void Forget(const std::string& address) override { identities.erase(address); }
  std::vector<std::string> FilesOn(const std::string&) const override { return files; }
  RevisionMark MarkOf(const std::string&) const override { return mark; }
  absl::Status CheckMark(const std::string& identity, const RevisionMark& found) const override {
    if (found.catalog != mark.catalog || found.revision <= loaded) return absl::OkStatus();
    if (auto it = left.find(identity); it != left.end() && found.revision <= it->second) {
      return absl::OkStatus();
    }
    return Error(Reason::kCatalogOlder, "it has seen a later one");
  }
  void Leaves(const std::string& identity, const RevisionMark& leaves) override {
    left[identity] = std::max(left[identity], leaves.revision);
  }

  std::map<std::string, std::string> identities;
  std::map<std::string, int64_t> left;
  absl::Status record_fails;
  std::vector<std::string> files;
  RevisionMark mark{.catalog = NewId(), .revision = 0};
  int64_t loaded = 0;
};

class ShareIdentityTest : public ::testing::Test {
 protected:
  ShareIdentityTest() { fs::create_directory(dir_.File("share")); }

  std::unique_ptr<Share> MakeShare(const std::string& name = "share") {
    return std::make_unique<Share>(ShareSpec{"file://" + dir_.File(name), "", 1}, MountOptions{},
                                   Share::System{&files_, &mount_, &table_, &registry_});
  }
  std::string Address(const std::string& name = "share") const {
    return "file://" + dir_.File(name);
  }
  std::string Private(const std::string& file) const { return dir_.File("share/.cairn/") + file; }
  // As when its mount is gone, or another file system lies there.
  void PutAway() {
    fs::rename(dir_.File("share"), dir_.File("away"));
    fs::create_directory(dir_.File("share"));
  }
  void BringBack() {
    fs::remove_all(dir_.File("share"));
    fs::rename(dir_.File("away"), dir_.File("share"));
  }
  static absl::Status Accept(Share& share) {
    std::promise<absl::Status> accepted;
    share.Accept([&](absl::Status status) { accepted.set_value(std::move(status)); });
    return accepted.get_future().get();
  }
  void ExpectNothingIsThere() { EXPECT_TRUE(fs::is_empty(dir_.File("share"))); }
  void WriteMark(const std::string& catalog, int64_t revision) {
    WriteFile(Private("catalog"),
              "{\"catalog\":\"" + catalog + "\",\"revision\":" + std::to_string(revision) + "}");
  }

  TempDir dir_;
  FakeSpace files_;
  FakeMountTable table_;
  FakeMountProgram mount_{&table_};
  FakeRegistry registry_;
};

TEST_F(ShareIdentityTest, IsGivenWhenAShareIsFirstUsedAndStays) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  const std::string identity = registry_.IdentityOf(Address());
  EXPECT_TRUE(IsCanonicalId(identity));
  EXPECT_EQ(share->status().identity, identity);
  EXPECT_THAT(ReadFile(Private("identity")), HasSubstr(identity));
  const auto written = fs::last_write_time(Private("identity"));
  ASSERT_OK(share->Probe());
  share = nullptr;
  ASSERT_OK(MakeShare()->Probe());
  EXPECT_EQ(registry_.IdentityOf(Address()), identity);
  EXPECT_EQ(fs::last_write_time(Private("identity")), written);
}

TEST_F(ShareIdentityTest, AnyFailingCallOfTheFirstProbeIsMadeUpForByTheNext) {
  int64_t runs = 0;
  files_.EnumerateFaults({.call = "*", .error_number = EIO}, [&](int64_t) {
    ++runs;
    fs::remove_all(dir_.File("share"));
    fs::create_directory(dir_.File("share"));
    registry_.identities.clear();
    registry_.mark.revision = 7;
    auto share = MakeShare();
    absl::Status status = share->Probe();
    EXPECT_EQ(status.ok(), !files_.fired()) << status;
    files_.Clear();
    EXPECT_OK(share->Probe());
    EXPECT_THAT(ReadFile(Private("identity")), HasSubstr(registry_.IdentityOf(Address())));
    EXPECT_THAT(ReadFile(Private("catalog")), HasSubstr("\"revision\":7"));
  });
}

TEST_F(ShareIdentityTest, OneThatCouldNotBeRecordedIsTakenOver) {
  registry_.record_fails = absl::UnavailableError("the catalog stands still");
  auto share = MakeShare();
  EXPECT_FALSE(share->Probe().ok());
  const std::string made = ReadFile(Private("identity"));
  registry_.record_fails = absl::OkStatus();
  ASSERT_OK(share->Probe());
  EXPECT_EQ(ReadFile(Private("identity")), made);
  EXPECT_THAT(made, HasSubstr(registry_.IdentityOf(Address())));
}

TEST_F(ShareIdentityTest, ABareDirectoryIsNotTheShareAndIsLeftBare) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  PutAway();
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_THAT(share->CheckUsable(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_EQ(share->status().state, ShareState::kUnreachable);
  EXPECT_THAT(share->status().last_error, HasSubstr("cairnctl pool accept " + Address()));
  share = MakeShare();  // as after a restart
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareUnavailable));
  ExpectNothingIsThere();
  BringBack();
  EXPECT_OK(share->Probe());
  EXPECT_EQ(share->status().state, ShareState::kOnline);
}

TEST_F(ShareIdentityTest, WorkFindsAtOnceThatTheDirectoryIsAnotherOne) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  PutAway();
  std::promise<absl::Status> told;
  ASSERT_OK(share->Submit(
      Lane::kFast, {.run = [&](const absl::Status& admitted) { told.set_value(admitted); }}));
  EXPECT_THAT(told.get_future().get(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_EQ(share->status().state, ShareState::kUnreachable);
  ExpectNothingIsThere();
}

TEST_F(ShareIdentityTest, AnotherShareInItsPlaceIsNotUsed) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  PutAway();
  fs::create_directory(dir_.File("share/.cairn"));
  const std::string other = "{\"share\":\"" + NewId() + "\"}";
  WriteFile(Private("identity"), other);
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareReplaced));
  EXPECT_THAT(share->CheckUsable(), HasReasonOf(Reason::kShareReplaced));
  EXPECT_EQ(share->CheckUsable().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReadFile(Private("identity")), other);
  EXPECT_FALSE(fs::exists(Private("owner")));
  BringBack();
  EXPECT_OK(share->Probe());
}

TEST_F(ShareIdentityTest, AnIdentityThatCannotBeReadIsNotReplaced) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  for (const std::string& text : {std::string(), std::string("{"), std::string("[1]"),
                                  std::string("{\"share\":\"x\"}"), std::string(1 << 20, ' ')}) {
    WriteFile(Private("identity"), text);
    EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareReplaced)) << text.substr(0, 20);
    EXPECT_EQ(ReadFile(Private("identity")), text);
    registry_.identities.clear();
    EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareReplaced)) << text.substr(0, 20);
  }
  EXPECT_OK(Accept(*share));
  EXPECT_OK(share->Probe());
}

TEST_F(ShareIdentityTest, FilesOfStrangersInItsPlaceAreLeftAsTheyAre) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  const std::string victim = dir_.File("victim");
  for (const std::string name : {"identity", "catalog"}) {
    fs::copy_file(Private("identity"), victim, fs::copy_options::overwrite_existing);
    const std::string before = ReadFile(victim);
    const std::string kept = ReadFile(Private("identity"));
    for (bool hard : {false, true}) {
      fs::remove(Private(name));
      hard ? fs::create_hard_link(victim, Private(name))
           : fs::create_symlink(victim, Private(name));
      share = MakeShare();
      EXPECT_FALSE(share->Probe().ok()) << name << hard;
      EXPECT_EQ(ReadFile(victim), before);
    }
    fs::remove(Private(name));
    ASSERT_EQ(mkfifo(Private(name).c_str(), 0600), 0);
    EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kImageUnsafe));
    fs::remove(Private(name));
    if (name == "identity") WriteFile(Private(name), kept);
    EXPECT_OK(share->Probe());
  }
}

TEST_F(ShareIdentityTest, AnotherServersFormerShareIsTakenOver) {
  fs::create_directory(dir_.File("share/.cairn"));
  const std::string identity = NewId();
  WriteFile(Private("identity"), "{\"share\":\"" + identity + "\"}");
  WriteMark(NewId(), 1000);
  ASSERT_OK(MakeShare()->Probe());
  EXPECT_EQ(registry_.IdentityOf(Address()), identity);
  EXPECT_THAT(ReadFile(Private("catalog")), HasSubstr(registry_.mark.catalog));
}

TEST_F(ShareIdentityTest, RecordsFromBeforeThereWereIdentitiesMustFindTheirFiles) {
  registry_.files = {"volume-a", "volume-b"};
  auto share = MakeShare();
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareUnavailable));
  ExpectNothingIsThere();
  WriteFile(dir_.File("share/volume-b"), "");
  ASSERT_OK(share->Probe());
  EXPECT_NE(registry_.IdentityOf(Address()), "");
}

TEST_F(ShareIdentityTest, TheSameDirectoryUnderTwoAddressesServesOnce) {
  fs::create_directory_symlink("share", dir_.File("again"));
  auto first = MakeShare();
  ASSERT_OK(first->Probe());
  auto second = MakeShare("again");
  EXPECT_THAT(second->Probe(), HasReasonOf(Reason::kShareOwned));
  EXPECT_THAT(second->status().last_error, HasSubstr(Address()));
  EXPECT_OK(first->Probe());
}

TEST_F(ShareIdentityTest, AcceptingMakesWhatLiesThereTheShare) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  const std::string before = registry_.IdentityOf(Address());
  PutAway();
  EXPECT_FALSE(share->Probe().ok());
  ASSERT_OK(Accept(*share));
  EXPECT_OK(share->CheckUsable());
  const std::string accepted = registry_.IdentityOf(Address());
  EXPECT_NE(accepted, before);
  EXPECT_THAT(ReadFile(Private("identity")), HasSubstr(accepted));
  ASSERT_OK(Accept(*share));  // of one that is well nothing changes
  EXPECT_EQ(registry_.IdentityOf(Address()), accepted);
  BringBack();
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kShareReplaced));
  ASSERT_OK(Accept(*share));
  EXPECT_EQ(registry_.IdentityOf(Address()), before);
}

TEST_F(ShareIdentityTest, AcceptingDoesNotMendWhatIsBroken) {
  auto share = MakeShare("absent");
  EXPECT_THAT(Accept(*share), HasReasonOf(Reason::kFileNotFound));
  EXPECT_FALSE(fs::exists(dir_.File("absent")));
}

TEST_F(ShareIdentityTest, AMarkIsLeftWhenThereIsMoreToSay) {
  auto share = MakeShare();
  ASSERT_OK(share->Probe());
  EXPECT_FALSE(fs::exists(Private("catalog")));  // nothing is known of it yet
  registry_.mark.revision = 5;
  ASSERT_OK(share->Probe());
  EXPECT_THAT(ReadFile(Private("catalog")), HasSubstr("\"revision\":5"));
  const int64_t writes = files_.calls("WriteAt");
  for (int i = 0; i < 3; ++i) ASSERT_OK(share->Probe());
  EXPECT_EQ(files_.calls("WriteAt"), writes);
  registry_.mark.revision = 9;
  EXPECT_TRUE(share->Shutdown(absl::Seconds(10)));
  EXPECT_THAT(ReadFile(Private("catalog")), HasSubstr("\"revision\":9"));
}

TEST_F(ShareIdentityTest, AnOlderCatalogIsNotUsed) {
  ASSERT_OK(MakeShare()->Probe());
  WriteMark(registry_.mark.catalog, 100);
  registry_.loaded = registry_.mark.revision = 99;
  auto share = MakeShare();
  EXPECT_THAT(share->Probe(), HasReasonOf(Reason::kCatalogOlder));
  EXPECT_THAT(share->CheckUsable(), HasReasonOf(Reason::kCatalogOlder));
  EXPECT_THAT(share->status().last_error, HasSubstr("cairnctl pool accept " + Address()));
  EXPECT_THAT(ReadFile(Private("catalog")), HasSubstr("\"revision\":100"));
  registry_.loaded = 100;
  EXPECT_OK(share->Probe());
}

TEST_F(ShareIdentityTest, AcceptingAnOlderCatalogLeavesItsOwnMark) {
  ASSERT_OK(MakeShare()->Probe());
  WriteMark(registry_.mark.catalog, 100);
  registry_.loaded = registry_.mark.revision = 50;
  auto share = MakeShare();
  EXPECT_FALSE(share->Probe().ok());
  ASSERT_OK(Accept(*share));
  EXPECT_THAT(ReadFile(Private("catalog")), HasSubstr("\"revision\":50"));
  share = nullptr;
  EXPECT_OK(MakeShare()->Probe());
}

TEST_F(ShareIdentityTest, WhatItHasLeftItselfIsNotTooNewForIt) {
  auto share = MakeShare();
  registry_.mark.revision = 200;  // since the start
  ASSERT_OK(share->Probe());
  PutAway();
  EXPECT_FALSE(share->Probe().ok());
  BringBack();
  EXPECT_OK(share->Probe());
  share = nullptr;
  EXPECT_OK(MakeShare()->Probe());  // listed again
}

TEST_F(ShareIdentityTest, AFullShareIsUsedWithoutAnIdentityAndGetsItLater) {
  files_.Inject({.call = "Create", .error_number = ENOSPC, .from_then_on = true});
  auto share = MakeShare();
  EXPECT_OK(share->Probe());
  EXPECT_EQ(share->status().state, ShareState::kDegraded);
  EXPECT_EQ(registry_.IdentityOf(Address()), "");
  files_.Clear();
  EXPECT_OK(share->Probe());
  EXPECT_EQ(share->status().state, ShareState::kOnline);
  EXPECT_NE(registry_.IdentityOf(Address()), "");
}

}  // namespace
}  // namespace cairn
