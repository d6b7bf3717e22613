// A share whose mount is gone, that was replaced, or that has seen a later catalog: nothing is made there,
// nothing is forgotten, and it serves again when it is back or accepted.
#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "lib/os/faulty_file_system.h"
#include "tests/support/engine_fixture.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::HasReasonOf;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::TestEngine;

class ReplacedShareTest : public ::testing::Test {
 protected:
  ReplacedShareTest() : engine_(Setup(&files_)) {}
  static TestEngine::Setup Setup(FileSystem* files) {
    TestEngine::Setup setup;
    setup.engine.files = files;
    setup.engine.probe_period = absl::Milliseconds(50);
    return setup;
  }
  void SetUp() override {
    if (getenv("CAIRN_TEST_SHARES") != nullptr) GTEST_SKIP() << "a directory is to be replaced";
  }

  PoolStatus Pool() {
    auto pool = engine_->GetPool("");
    EXPECT_OK(pool);
    return pool.ok() ? *std::move(pool) : PoolStatus();
  }
  ShareStatus StatusOf(size_t share) { return Pool().shares.at(share).share.status; }
  void AwaitState(size_t share, ShareState state) {
    const absl::Time until = absl::Now() + absl::Seconds(60);
    while (absl::Now() < until) {
      if (StatusOf(share).state == state) return;
      absl::SleepFor(absl::Milliseconds(5));
    }
    ADD_FAILURE() << "the share did not become " << ShareStateName(state);
  }
  void PutAway() {
    fs::rename(engine_.directory(0), engine_.directory(0) + ".away");
    fs::create_directory(engine_.directory(0));
  }
  void BringBack() {
    fs::remove_all(engine_.directory(0));
    fs::rename(engine_.directory(0) + ".away", engine_.directory(0));
  }
  CreateVolumeRequest CreateOnTheFirst() const {
    CreateVolumeRequest create = NewVolume(VolumeFormat::kQcow2, kMiB);
    create.share = engine_.address(0);
    return create;
  }
  absl::Status ReadTheChain(const std::string& id) {
    auto answer = std::make_shared<std::promise<absl::Status>>();
    engine_->DescribeChain(id, [answer](const absl::StatusOr<std::vector<ChainFile>>& chain) {
      answer->set_value(chain.status());
    });
    return answer->get_future().get();
  }
  absl::Status Accept(const std::string& address) {
    std::promise<absl::Status> accepted;
    engine_->AcceptShare("", address,
                         [&](absl::Status status) { accepted.set_value(std::move(status)); });
    return accepted.get_future().get();
  }
  void ExpectItServesNothing(const std::string& id, Reason reason) {
    for (const Request& request : std::initializer_list<Request>{
             CreateOnTheFirst(), NewSnapshot(id),
             DeleteVolumeRequest{.volume_id = id, .cascade = true},
             MigrateVolumeRequest{.volume_id = id, .share = engine_.address(1)}}) {
      EXPECT_THAT(engine_.Do(request), HasReasonOf(reason));
    }
    EXPECT_THAT(ReadTheChain(id), HasReasonOf(reason));
    EXPECT_NE(engine_.Volume(id), nullptr);
  }

  FaultyFileSystem files_{FileSystem::Posix()};
  TestEngine engine_;
};

TEST_F(ReplacedShareTest, ABareDirectoryIsFoundAtOnceAndWhenItIsBackItServesByItself) {
  ASSERT_OK_AND_ASSIGN(std::string id,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  ASSERT_OK_AND_ASSIGN(std::string other,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(1)));
  PutAway();
  // Before the next probe.
  EXPECT_THAT(engine_.Do(CreateOnTheFirst()), HasReasonOf(Reason::kShareUnavailable));
  ExpectItServesNothing(id, Reason::kShareUnavailable);
  AwaitState(0, ShareState::kUnreachable);
  ExpectItServesNothing(id, Reason::kShareUnavailable);
  EXPECT_THAT(engine_.Do(MigrateVolumeRequest{.volume_id = other, .share = engine_.address(0)}),
              HasReasonOf(Reason::kShareUnavailable));
  EXPECT_OK(engine_.Snapshot(other));
  EXPECT_TRUE(fs::is_empty(engine_.directory(0)));
  BringBack();
  AwaitState(0, ShareState::kOnline);
  EXPECT_OK(engine_.Snapshot(id));
  EXPECT_OK(ReadTheChain(id));
}

// It finds files missing: that is the share's loss, not the volume's.
TEST_F(ReplacedShareTest, AShareThatGoesAwayUnderAnOperationIsAnOutage) {
  ASSERT_OK_AND_ASSIGN(std::string id,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  files_.Stall(engine_.directory(0) + "/volume-" + id);
  const int64_t before = files_.calls("RefreshDirectory");
  auto done = std::async(std::launch::async, [&] { return engine_.Do(NewSnapshot(id)); });
  while (files_.calls("RefreshDirectory") == before) absl::SleepFor(absl::Milliseconds(1));
  PutAway();
  files_.Resume();
  EXPECT_THAT(done.get(), HasReasonOf(Reason::kShareUnavailable));
  BringBack();
  AwaitState(0, ShareState::kOnline);
  EXPECT_OK(engine_.Snapshot(id));
}

TEST_F(ReplacedShareTest, AStartBeforeTheMountIsThereWaitsForIt) {
  ASSERT_OK_AND_ASSIGN(std::string id,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  engine_.Stop();
  PutAway();
  engine_.Start();
  EXPECT_EQ(StatusOf(0).state, ShareState::kUnreachable);
  ExpectItServesNothing(id, Reason::kShareUnavailable);
  EXPECT_TRUE(fs::is_empty(engine_.directory(0)));
  BringBack();
  AwaitState(0, ShareState::kOnline);
  EXPECT_OK(engine_.Snapshot(id));
}

TEST_F(ReplacedShareTest, AnotherShareServesWhenItIsAccepted) {
  ASSERT_OK_AND_ASSIGN(std::string id,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  const std::string identity = StatusOf(0).identity;
  PutAway();
  AwaitState(0, ShareState::kUnreachable);
  fs::create_directory(engine_.directory(0) + "/.cairn");
  fs::copy_file(engine_.directory(1) + "/.cairn/identity",
                engine_.directory(0) + "/.cairn/identity");
  // A copy of the other share is not taken even so.
  EXPECT_THAT(Accept(engine_.address(0)), HasReasonOf(Reason::kShareOwned));
  fs::remove_all(engine_.directory(0) + "/.cairn");
  ASSERT_OK(Accept(engine_.address(0)));
  EXPECT_NE(StatusOf(0).identity, identity);
  ASSERT_OK(engine_.Do(CreateOnTheFirst()));
  // The records of what lies elsewhere are what they were.
  EXPECT_THAT(ReadTheChain(id), HasReasonOf(Reason::kChainCorrupt));
  EXPECT_THAT(Accept("file:///none"), HasReasonOf(Reason::kShareNotFound));
  engine_.Restart();
  EXPECT_EQ(StatusOf(0).state, ShareState::kOnline);
}

TEST_F(ReplacedShareTest, ACatalogFromABackupIsNotUsedOnWhatHasChangedSince) {
  ASSERT_OK_AND_ASSIGN(std::string id,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  engine_.Stop();
  const std::string backup = engine_.dir().File("backup");
  fs::copy(engine_.state_path(), backup, fs::copy_options::recursive);
  engine_.Start();
  ASSERT_OK_AND_ASSIGN(std::string snapshot, engine_.Snapshot(id));
  engine_.Stop();
  fs::remove_all(engine_.state_path());
  fs::copy(backup, engine_.state_path(), fs::copy_options::recursive);
  engine_.Start();
  EXPECT_EQ(StatusOf(0).state, ShareState::kUnreachable);
  ExpectItServesNothing(id, Reason::kCatalogOlder);
  EXPECT_EQ(StatusOf(1).state, ShareState::kOnline);  // nothing has changed there
  ASSERT_OK(Accept(engine_.address(0)));
  EXPECT_OK(engine_.Do(CreateOnTheFirst()));
  engine_.Restart();
  EXPECT_EQ(StatusOf(0).state, ShareState::kOnline);
}

TEST_F(ReplacedShareTest, RestartsAndCrashesAreNoOlderCatalog) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(std::string id,
                         engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
    ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = id}));
    engine_.Restart();
    EXPECT_EQ(StatusOf(0).state, ShareState::kOnline) << StatusOf(0).last_error;
  }
}

TEST_F(ReplacedShareTest, AShareThatIsNoLongerListedIsForgotten) {
  ASSERT_NE(engine_->records().FindShare(engine_.address(1)), nullptr);
  testing::WriteFile(engine_.dir().File("shares"), engine_.address(0) + "\n");
  const absl::Time until = absl::Now() + absl::Seconds(60);
  while (engine_->records().FindShare(engine_.address(1)) != nullptr && absl::Now() < until) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_EQ(engine_->records().FindShare(engine_.address(1)), nullptr);
  EXPECT_NE(engine_->records().FindShare(engine_.address(0)), nullptr);
  // Whatever lies there when it is listed again is the share.
  fs::remove_all(engine_.directory(1));
  fs::create_directory(engine_.directory(1));
  testing::WriteFile(engine_.dir().File("shares"),
                     engine_.address(0) + "\n" + engine_.address(1) + "\n");
  while (Pool().shares.size() < 2 && absl::Now() < until) absl::SleepFor(absl::Milliseconds(5));
  AwaitState(1, ShareState::kOnline);
}

TEST_F(ReplacedShareTest, TheRoomOfOneFileSystemCountsOnce) {
  const PoolStatus pool = Pool();
  EXPECT_EQ(pool.total_bytes, pool.shares.at(0).share.status.capacity.total_bytes);
  EXPECT_THAT(pool.shares.at(0).share.same_file_system, ::testing::ElementsAre(engine_.address(1)));
}

TEST_F(ReplacedShareTest, TheSameDirectoryListedTwiceServesOnce) {
  const std::string link = engine_.dir().File("again");
  fs::create_directory_symlink(engine_.directory(0), link);
  testing::WriteFile(engine_.dir().File("shares"),
                     engine_.address(0) + "\n" + engine_.address(1) + "\nfile://" + link + "\n");
  std::promise<absl::Status> read;
  engine_->RescanPool("", [&](absl::Status status) { read.set_value(std::move(status)); });
  ASSERT_OK(read.get_future().get());
  AwaitState(2, ShareState::kUnreachable);
  EXPECT_THAT(StatusOf(2).last_error, ::testing::HasSubstr(engine_.address(0)));
  EXPECT_EQ(StatusOf(0).state, ShareState::kOnline);
}

}  // namespace
}  // namespace cairn
