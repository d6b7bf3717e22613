#include "lib/share/measure.h"

#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/os/own_file.h"

namespace cairn {
namespace {

// A file that another thread has just removed, or a directory such as lost+found that is not ours.
bool MayBeSkipped(const absl::Status& status) {
  return absl::IsNotFound(status) || HasReason(status, Reason::kShareNotWritable);
}

}  // namespace

absl::StatusOr<int64_t> MeasureApparentBytes(FileSystem& files, const std::string& directory,
                                             const CancelToken& cancel) {
  struct Pending {
    std::string path;
    int depth;
  };
  std::vector<Pending> pending{{directory, 0}};
  int64_t sum = 0;
  while (!pending.empty()) {
    Pending at = std::move(pending.back());
    pending.pop_back();
    auto names = files.List(at.path);
    if (!names.ok()) {
      // The root itself must be readable: an empty answer would be taken for an empty share.
      if (at.depth > 0 && MayBeSkipped(names.status())) continue;
      return names.status();
    }
    for (const std::string& name : *names) {
      RETURN_IF_ERROR(cancel.Check());
      if (name.find("snapshot") != std::string::npos) continue;
      if (at.depth == 0 && name == kPrivateDirectory) continue;
      std::string path = at.path + "/" + name;
      auto stat = files.Stat(path);
      if (!stat.ok()) {
        if (MayBeSkipped(stat.status())) continue;
        return stat.status();
      }
      if (stat->is_regular) sum += stat->size_bytes;
      if (stat->is_directory && at.depth < kMeasureDepthMax) {
        pending.push_back({std::move(path), at.depth + 1});
      }
    }
  }
  return sum;
}

}  // namespace cairn
