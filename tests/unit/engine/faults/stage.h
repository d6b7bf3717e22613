// The volumes on which one case of the campaign works, and everything that an operation could have
// changed of them, as text in which ids are replaced by names: two stages that were built alike show
// the same text.
#ifndef CAIRN_TESTS_UNIT_ENGINE_FAULTS_STAGE_H_
#define CAIRN_TESTS_UNIT_ENGINE_FAULTS_STAGE_H_

#include <string>
#include <utility>
#include <vector>

#include "tests/support/engine_fixture.h"

namespace cairn::testing {

inline constexpr int64_t kStageBytes = 8 * 64 * kKiB;  // of each volume

// An engine on whose shares nothing happens by itself, so that each call belongs to the change that was
// asked for, and which tries soon again.
TestEngineSetup QuietSetup(FileSystem* files);

class Stage {
 public:
  explicit Stage(TestEngine* engine) : engine_(engine) {}

  TestEngine& engine() { return *engine_; }

  // A new id, shown as `name`.
  std::string Id(std::string name);
  // A volume of the engine's with a byte of its own in its first cluster and in the last.
  std::string Volume(VolumeFormat format, const std::string& share = {});
  // A snapshot, and writes above it: over a part of what lies below, and to a place of its own.
  std::string Snapshot(const std::string& volume_id);
  // Files of a volume with one snapshot that no catalog knows; its id.
  std::string Foreign(bool with_snapshot);
  // The same with the layers named, lowest first: those of snapshots begin with "S".
  std::string ForeignChain(const std::vector<std::string>& layers);

  // The files of that name on the first share, but the base.
  std::vector<std::string> Layers(const std::string& volume_id);

  // Lets a file on the first share take more room than is merged natively, without changing its content.
  void Swell(const std::string& file);

  // Records, maps, names and modes of files, contents of volumes and of snapshots.
  std::string Look();
  // Temporary files of operations on the shares, and others that are not the engine's own.
  std::vector<std::string> Files(bool temporary);

 private:
  void Write(const std::string& path, FileFormat format);
  std::string Named(std::string text) const;

  TestEngine* const engine_;
  std::vector<std::pair<std::string, std::string>> names_;  // id, name
  int volumes_ = 0;
  int snapshots_ = 0;
  int writes_ = 0;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_FAULTS_STAGE_H_
