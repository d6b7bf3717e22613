// A hundred files of strangers beside a volume, at random: whatever is done to the volume, none of them
// changes, nor does what any of them shows.
//
// CAIRN_SEED=N repeats a run.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>
#include <random>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/chain/info_map.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using testing::IsOk;
using testing::QemuReads;
using testing::QemuWrite;
using testing::ReadFile;
using testing::RunTool;
using testing::TestEngine;
using testing::WriteFile;

constexpr int kStrangers = 100;

uint32_t Seed() {
  const char* given = getenv("CAIRN_SEED");
  return given != nullptr ? static_cast<uint32_t>(std::strtoul(given, nullptr, 10))
                          : std::random_device()();
}

// Somebody gives a file a name just before the server does.
class Intruder : public FaultyFileSystem {
 public:
  Intruder() : FaultyFileSystem(FileSystem::Posix()) {}
  void Take(const std::string& name) { name_ = name; }
  absl::Status RenameNew(const std::string& from, const std::string& to) override {
    if (to.ends_with("/" + name_)) WriteFile(to, "a stranger's");
    return FaultyFileSystem::RenameNew(from, to);
  }

 private:
  std::string name_ = "nothing";
};

class ForeignCrowdTest : public ::testing::Test {
 protected:
  void SetUp() override {
    RecordProperty("seed", std::to_string(seed_));
    std::printf("CAIRN_SEED=%u\n", seed_);
    ASSERT_OK_AND_ASSIGN(volume_, engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
    for (int i = 0; i < 3; ++i) {
      QemuWrite(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kMiB / 4, i + 1);
      ASSERT_OK_AND_ASSIGN(snapshots_.emplace_back(), engine_.Snapshot(volume_));
    }
    chain_ = engine_.Volume(volume_)->chain;
  }

  static TestEngine::Setup With(FileSystem* files) {
    TestEngine::Setup setup;
    setup.engine.files = files;
    return setup;
  }

  uint32_t Random(uint32_t below) {
    return std::uniform_int_distribution<uint32_t>(0, below - 1)(random_);
  }

  std::string NewName() {
    switch (Random(5)) {
      case 0:
        return LayerFileName(volume_, NewId());
      case 1:
        return BaseFileName(NewId());
      case 2:
        return BaseFileName(volume_) + ".tmp-snap-" + NewId();
      case 3:
        return "disk " + NewId() + ".qcow2";
      default:
        return "." + NewId();
    }
  }

  std::string PathTo(const std::string& file) {
    const std::string directory = engine_.directory();
    switch (Random(7)) {
      case 0:
        return directory + "/" + file;
      case 1:
        return "./" + file;
      case 2:
        return "../" + std::filesystem::path(directory).filename().string() + "/" + file;
      case 3:
        return "file:" + file;
      case 4:
        return R"(json:{"file":{"driver":"file","filename":")" + directory + "/" + file + R"("}})";
      case 5:
        return link_ + "/" + file;
      default:
        return file;
    }
  }

  // One that stands on nothing of the volume's.
  void PutHarmless() {
    const std::string path = engine_.directory() + "/" + NewName();
    const std::string size = "1M";
    switch (Random(6)) {
      case 0:
        WriteFile(path, std::string(Random(5000), static_cast<char>(Random(256))));
        break;
      case 1:
        WriteFile(path, std::string("QFI\xfb", 4) +
                            std::string(Random(600), static_cast<char>(Random(256))));
        break;
      case 2:
        RunTool({"qemu-img", "create", "-q", "-f", Random(2) == 0 ? "qcow2" : "vmdk", path, size});
        break;
      case 3:
        RunTool({"qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b",
                 PathTo(BaseFileName(NewId())), path, size});
        break;
      case 4:
        std::filesystem::create_symlink(chain_[Random(4)], path);
        break;
      default:
        ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    }
  }

  // Its path.
  std::string PutOn(const std::string& file) {
    const std::string path = engine_.directory() + "/" + NewName();
    RunTool({"qemu-img", "create", "-q", "-u", "-f", Random(3) == 0 ? "qed" : "qcow2", "-F",
             "qcow2", "-b", PathTo(file), path, "1M"});
    return path;
  }

  // What every other file of the share holds.
  std::map<std::string, std::string> Strangers() {
    std::map<std::string, std::string> contents;
    const VolumePtr volume = engine_.Volume(volume_);
    for (const auto& entry : std::filesystem::directory_iterator(engine_.directory())) {
      const std::string name = entry.path().filename();
      const bool own = name == InfoFileName(volume_) || entry.is_directory() ||
                       std::find(chain_.begin(), chain_.end(), name) != chain_.end();
      if (own) continue;
      contents[name] = entry.is_regular_file() && !entry.is_symlink() ? ReadFile(entry.path())
                                                                      : "no regular file";
    }
    return contents;
  }

  // The first question after a start lists in any case.
  void ListAnew() { engine_.Restart(); }

  const uint32_t seed_ = Seed();
  std::mt19937 random_{seed_};
  Intruder files_;
  TestEngine engine_{With(&files_)};
  std::string link_ = engine_.dir().File("link");
  std::string volume_;
  std::vector<std::string> snapshots_;  // oldest first
  std::vector<std::string> chain_;
};

TEST_F(ForeignCrowdTest, NothingIsTakenFromUnderAnyOfThem) {
  std::filesystem::create_directory_symlink(engine_.directory(), link_);
  for (int i = 1; i < kStrangers; ++i) PutHarmless();
  // What each call changes or removes, of the chain base, 1, 2, 3 (active).
  struct Case {
    Request request;
    std::set<size_t> touched;
  };
  const std::vector<Case> cases = {
      {DeleteSnapshotRequest{.snapshot_id = snapshots_[0]}, {0, 1}},
      {DeleteSnapshotRequest{.snapshot_id = snapshots_[1]}, {1, 2}},
      {DeleteSnapshotRequest{.snapshot_id = snapshots_[2]}, {2, 3}},
      {RevertToSnapshotRequest{.snapshot_id = snapshots_[1], .discard_newer = true}, {2, 3}},
      {RevertToSnapshotRequest{.snapshot_id = snapshots_[0], .discard_newer = true}, {1, 2, 3}},
      {MigrateVolumeRequest{.volume_id = volume_, .share = engine_.address(1)}, {0, 1, 2, 3}},
      {DeleteVolumeRequest{.volume_id = volume_, .cascade = true}, {0, 1, 2, 3}}};
  for (size_t on = 0; on < chain_.size(); ++on) {
    const std::string overlay = PutOn(chain_[on]);
    ListAnew();
    const auto before = Strangers();
    for (const Case& one : cases) {
      if (one.touched.count(on) == 0) continue;
      EXPECT_THAT(engine_.Do(one.request), HasReasonOf(Reason::kBackingFileShared))
          << "a file on " << chain_[on];
      EXPECT_EQ(engine_.Volume(volume_)->chain, chain_);
      EXPECT_EQ(engine_.Volume(volume_)->state, VolumeState::kAvailable);
    }
    EXPECT_TRUE(Strangers() == before);
    std::filesystem::remove(overlay);
  }
  // Without it all of them work beside the others.
  ListAnew();
  const auto before = Strangers();
  EXPECT_OK(engine_.Do(cases[0].request));
  EXPECT_OK(engine_.Do(cases[3].request));
  EXPECT_TRUE(QemuReads(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kMiB / 4, 2));
  EXPECT_OK(engine_.Do(cases[5].request));
  EXPECT_OK(engine_.Do(cases[6].request));
  EXPECT_TRUE(Strangers() == before);
}

// Names that a move gives on the share where it goes.
TEST_F(ForeignCrowdTest, AMoveLeavesWhatHasItsNamesThere) {
  std::vector<std::string> names = chain_;
  names.push_back(InfoFileName(volume_));
  for (const std::string& name : names) {
    const std::string path = engine_.directory(1) + "/" + name;
    WriteFile(path, "a stranger's");
    EXPECT_THAT(engine_.Do(MigrateVolumeRequest{.volume_id = volume_, .share = engine_.address(1)}),
                HasReasonOf(Reason::kFileExists));
    EXPECT_EQ(ReadFile(path), "a stranger's");
    std::filesystem::remove(path);
  }
  EXPECT_OK(engine_.Do(MigrateVolumeRequest{.volume_id = volume_, .share = engine_.address(1)}));
  EXPECT_TRUE(QemuReads(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kMiB / 4, 3));
}

TEST_F(ForeignCrowdTest, ANameThatIsTakenMeanwhileIsLeftToWhoTookIt) {
  std::vector<std::string> names = chain_;
  names.push_back(InfoFileName(volume_));
  for (const std::string& name : names) {
    const std::string path = engine_.directory(1) + "/" + name;
    files_.Take(name);
    EXPECT_THAT(engine_.Do(MigrateVolumeRequest{.volume_id = volume_, .share = engine_.address(1)}),
                HasReasonOf(Reason::kFileExists));
    EXPECT_EQ(ReadFile(path), "a stranger's");
    std::filesystem::remove(path);
    for (const std::string& made : names) {
      EXPECT_FALSE(std::filesystem::exists(engine_.directory(1) + "/" + made)) << made;
    }
  }
  const std::string id = NewId();
  files_.Take(BaseFileName(id));
  CreateVolumeRequest create;
  create.volume_id = id;
  create.share = engine_.address(1);
  create.size_bytes = kMiB;
  EXPECT_THAT(engine_.Do(create), HasReasonOf(Reason::kFileExists));
  EXPECT_EQ(ReadFile(engine_.directory(1) + "/" + BaseFileName(id)), "a stranger's");
  EXPECT_EQ(engine_.Volume(id), nullptr);
}

}  // namespace
}  // namespace cairn
