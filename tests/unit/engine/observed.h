// Everything that an operation could have changed, as text: to show that a refused or failed one
// changed nothing.
#ifndef CAIRN_TESTS_UNIT_ENGINE_OBSERVED_H_
#define CAIRN_TESTS_UNIT_ENGINE_OBSERVED_H_

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "lib/os/own_file.h"
#include "tests/support/engine_fixture.h"

namespace cairn::testing {

// Name, size, mode and content of each file in a directory of a share, without the lock on it.
inline std::string ObserveDirectory(const std::string& directory) {
  std::vector<std::string> lines;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().filename() == kPrivateDirectory) continue;
    const std::string path = entry.path().string();
    auto stat = FileSystem::Posix()->Stat(path);
    if (!stat.ok()) continue;
    lines.push_back(fmt::format("{} size={} mode={:o} content={:x}\n", path, stat->size_bytes,
                                stat->mode, std::hash<std::string>()(ReadFile(path))));
  }
  std::sort(lines.begin(), lines.end());
  return fmt::format("{}", fmt::join(lines, ""));
}

// Volumes and snapshots, without times and revisions (a failed operation was there for a while).
inline std::string ObserveRecords(TestEngine& engine) {
  std::string text;
  auto volumes = engine->records().ListVolumes(
      {.filter = {}, .order_by = {}, .page_size = 1000, .page_token = {}});
  if (!volumes.ok()) return Describe(volumes.status());
  for (const VolumePtr& v : volumes->items) {
    text += fmt::format(
        "volume {} name={} size={} state={} reason={} share={} format={} chain={} "
        "active={} attachments={} labels={} operation={}\n",
        v->id, v->name, v->size_bytes, VolumeStateName(v->state), v->state_reason, v->share,
        VolumeFormatName(v->format), fmt::join(v->chain, ","), v->active_file,
        v->attachments.size(), v->labels.size(), v->current_operation);
    for (const SnapshotPtr& s : engine->records().SnapshotsOf(v->id)) {
      text += fmt::format("  snapshot {} name={} size={} state={} reason={} file={} layer={}\n",
                          s->id, s->name, s->size_bytes, SnapshotStateName(s->state),
                          s->state_reason, s->file, s->layer);
    }
  }
  return text;
}

// Records and the files of all shares.
inline std::string Observe(TestEngine& engine) {
  std::string text = ObserveRecords(engine);
  for (const std::string& directory : engine.directories()) text += ObserveDirectory(directory);
  return text;
}

// What the pool holds for running operations: 0 when each has given back what it took, which it does
// just after its end is told.
inline int64_t ReservedBytes(TestEngine& engine) {
  const absl::Time until = absl::Now() + absl::Minutes(1);
  while (true) {
    auto pool = engine->GetPool("");
    if (!pool.ok()) return -1;
    if (pool->reserved_bytes == 0 || absl::Now() > until) return pool->reserved_bytes;
    absl::SleepFor(absl::Milliseconds(1));
  }
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_OBSERVED_H_
