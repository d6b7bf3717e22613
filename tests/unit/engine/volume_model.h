// What volumes should hold, byte for byte, and the comparison of that with what lies on the shares.
#ifndef CAIRN_TESTS_UNIT_ENGINE_VOLUME_MODEL_H_
#define CAIRN_TESTS_UNIT_ENGINE_VOLUME_MODEL_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/engine_fixture.h"

namespace cairn::testing {

using Content = std::shared_ptr<const std::string>;

struct ModelSnapshot {
  std::string id;
  Content content;
};

struct ModelVolume {
  std::string id;
  VolumeFormat format = VolumeFormat::kQcow2;
  std::string share;
  Content content;
  std::vector<ModelSnapshot> snapshots;  // oldest first
  bool has_map = false;                  // there was a snapshot once

  // The names that its files must have, oldest first.
  std::vector<std::string> Files() const;
};

// Compares volumes with their models by what qemu's tools and the files themselves say. What has
// not changed since the last comparison (by inode, size and times) is not looked at again.
class ModelChecker {
 public:
  explicit ModelChecker(TestEngine* engine) : engine_(engine) {}

  // Records, names, map, qemu-img check of every file, content of the volume and of each snapshot.
  void CheckVolume(const ModelVolume& volume);
  // That each share holds the files of these volumes and nothing else.
  void CheckShares(const std::map<std::string, ModelVolume>& volumes);
  // Forgets what was compared already.
  void StartOver();

 private:
  std::set<std::string> FilesOnShares() const;
  void CheckRecords(const ModelVolume& volume);
  void CheckMap(const ModelVolume& volume, const std::string& directory);
  void CheckContent(const std::string& path, FileFormat format, const std::string& below,
                    const Content& expected);

  struct Compared {
    std::string state;  // of the file and of all below it
    Content content;
  };
  TestEngine* const engine_;
  std::map<std::string, std::string> sound_;  // path -> state when qemu-img check was content
  std::map<std::string, Compared> compared_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_VOLUME_MODEL_H_
