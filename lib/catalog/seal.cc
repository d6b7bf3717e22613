#include "lib/catalog/seal.h"

#include <algorithm>

#include "lib/catalog/checksum.h"

namespace cairn {

uint64_t Seal::ChecksumOf() const {
  const auto number = [](int64_t value) { return static_cast<uint64_t>(value); };
  return Checksum(0)
      .Add(id)
      .Add(timeline)
      .Add(number(commits))
      .Add(chain)
      .Add(digest)
      .Add(number(revision))
      .Add(number(volume_revision))
      .Add(number(closed_revision))
      .value();
}

void Seal::Add(const Changes& changes) {
  revision = changes.revision;
  digest += changes.digest;
  for (const VolumePtr& volume : changes.volumes) {
    volume_revision = std::max(volume_revision, volume->revision);
  }
  for (const Changes::Removal& removal : changes.removed_volumes) {
    volume_revision = std::max(volume_revision, removal.revision);
  }
}

void Seal::CountCommit() {
  ++commits;
  chain = Checksum(chain)
              .Add(static_cast<uint64_t>(commits))
              .Add(static_cast<uint64_t>(revision))
              .Add(digest)
              .value();
}

}  // namespace cairn
