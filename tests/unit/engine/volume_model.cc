#include "tests/unit/engine/volume_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "absl/time/clock.h"
#include "lib/os/own_file.h"
#include "tests/support/qemu.h"

namespace cairn::testing {
namespace {

// Differs whenever the file may have changed.
std::string StateOf(const std::string& path) {
  struct stat s = {};
  if (stat(path.c_str(), &s) != 0) return "missing";
  return fmt::format("{}:{}:{}.{}:{}.{};", s.st_ino, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec,
                     s.st_ctim.tv_sec, s.st_ctim.tv_nsec);
}

std::string FirstDifference(const std::string& found, const std::string& expected) {
  if (found.size() != expected.size()) {
    return fmt::format("{} bytes instead of {}", found.size(), expected.size());
  }
  if (found == expected) return {};
  auto [a, b] = std::mismatch(found.begin(), found.end(), expected.begin());
  return fmt::format("byte {} is {} instead of {}", a - found.begin(), static_cast<uint8_t>(*a),
                     static_cast<uint8_t>(*b));
}

FileFormat FormatAt(const ModelVolume& volume, size_t index) {
  return index == 0 ? BaseFileFormat(volume.format) : FileFormat::kQcow2;
}

}  // namespace

std::vector<std::string> ModelVolume::Files() const {
  std::vector<std::string> files{"volume-" + id};
  for (const ModelSnapshot& snapshot : snapshots) files.push_back(files[0] + "." + snapshot.id);
  return files;
}

void ModelChecker::StartOver() {
  sound_.clear();
  compared_.clear();
}

void ModelChecker::CheckVolume(const ModelVolume& volume) {
  CheckRecords(volume);
  if (::testing::Test::HasFailure()) return;
  const std::string directory = engine_->DirectoryOf(volume.share);
  CheckMap(volume, directory);
  const std::vector<std::string> files = volume.Files();
  std::string below;
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string path = directory + "/" + files[i];
    const FileFormat format = FormatAt(volume, i);
    const std::string state = StateOf(path);
    if (format == FileFormat::kQcow2 && sound_[path] != state) {
      EXPECT_TRUE(QemuCheck(path)) << path;
      sound_[path] = state;
    }
    const bool active = i + 1 == files.size();
    CheckContent(path, format, below, active ? volume.content : volume.snapshots[i].content);
    below += state;
  }
}

void ModelChecker::CheckRecords(const ModelVolume& volume) {
  VolumePtr record = engine_->Volume(volume.id);
  ASSERT_NE(record, nullptr) << volume.id;
  EXPECT_EQ(record->state, VolumeState::kAvailable) << record->state_reason;
  EXPECT_EQ(record->current_operation, "");
  EXPECT_EQ(record->share, volume.share);
  EXPECT_EQ(record->size_bytes, static_cast<int64_t>(volume.content->size()));
  EXPECT_EQ(record->chain, volume.Files());
  EXPECT_EQ(record->active_file, volume.Files().back());
  auto snapshots = (*engine_)->records().SnapshotsOf(volume.id);
  ASSERT_EQ(snapshots.size(), volume.snapshots.size());
  for (size_t i = 0; i < snapshots.size(); ++i) {
    EXPECT_EQ(snapshots[i]->id, volume.snapshots[i].id);
    EXPECT_EQ(snapshots[i]->state, SnapshotState::kAvailable);
    EXPECT_EQ(snapshots[i]->size_bytes, static_cast<int64_t>(volume.snapshots[i].content->size()));
    EXPECT_EQ(snapshots[i]->file, volume.Files()[i]);
  }
}

void ModelChecker::CheckMap(const ModelVolume& volume, const std::string& directory) {
  const std::string path = directory + "/volume-" + volume.id + ".info";
  ASSERT_EQ(std::filesystem::exists(path), volume.has_map) << path;
  if (!volume.has_map) return;
  nlohmann::json expected = {{"active", volume.Files().back()}};
  for (const ModelSnapshot& s : volume.snapshots) {
    expected[s.id] = "volume-" + volume.id + "." + s.id;
  }
  EXPECT_EQ(ReadFile(path), expected.dump(1));
}

void ModelChecker::CheckContent(const std::string& path, FileFormat format,
                                const std::string& below, const Content& expected) {
  const std::string state = below + StateOf(path);
  Compared& last = compared_[path];
  if (last.state == state && last.content == expected) return;
  std::string found;
  if (format == FileFormat::kRaw) {
    found = ReadFile(path);
  } else {
    const std::string flat = engine_->dir().File("flat");
    RunTool({"qemu-img", "convert", "-f", FormatOf(format), "-O", "raw", path, flat});
    found = ReadFile(flat);
  }
  EXPECT_EQ(FirstDifference(found, *expected), "") << path;
  last = {state, expected};
}

std::set<std::string> ModelChecker::FilesOnShares() const {
  std::set<std::string> found;
  for (size_t share = 0; share < 2; ++share) {
    for (const auto& entry : std::filesystem::directory_iterator(engine_->directory(share))) {
      if (entry.path().filename() != kPrivateDirectory) found.insert(entry.path().string());
    }
  }
  return found;
}

void ModelChecker::CheckShares(const std::map<std::string, ModelVolume>& volumes) {
  std::set<std::string> expected;
  for (const auto& [id, volume] : volumes) {
    const std::string directory = engine_->DirectoryOf(volume.share);
    for (const std::string& file : volume.Files()) expected.insert(directory + "/" + file);
    if (volume.has_map) expected.insert(directory + "/volume-" + id + ".info");
  }
  std::set<std::string> found = FilesOnShares();
  // What is removed while the NFS client still reads ahead in it keeps such a name for a moment.
  const auto is_going = [](const std::string& path) {
    return path.find("/.nfs") != std::string::npos;
  };
  const absl::Time until = absl::Now() + absl::Minutes(1);
  while (std::any_of(found.begin(), found.end(), is_going) && absl::Now() < until) {
    absl::SleepFor(absl::Milliseconds(10));
    found = FilesOnShares();
  }
  EXPECT_EQ(found, expected);
}

}  // namespace cairn::testing
