// A qcow2 file of any content is a status, never a crash, a hang or a gigabyte: read, given another
// backing name, grown and taken back, committed as a layer and committed into.
#include <stddef.h>
#include <stdint.h>

#include <string>

#include "lib/base/size.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_commit.h"
#include "tests/unit/image/image_test_util.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using cairn::testing::MemoryFile;
  const std::string content(reinterpret_cast<const char*>(data), size);
  MemoryFile file(content);
  auto header = cairn::ReadQcow2Header(file);
  if (!header.ok()) return 0;
  MemoryFile renamed(content);
  cairn::SetQcow2Backing(renamed, "volume-x.y", "qcow2").IgnoreError();
  MemoryFile grown(content);
  const int64_t former = header->virtual_size;
  if (former > 0 && former < cairn::kGiB && cairn::GrowQcow2(grown, former + cairn::kMiB).ok()) {
    cairn::UngrowQcow2(grown, former).IgnoreError();
  }
  // Into an empty raw file, and into a copy of itself.
  MemoryFile layer(content);
  MemoryFile raw("");
  cairn::CommitQcow2(layer, raw, cairn::FileFormat::kRaw, {}, {}).IgnoreError();
  MemoryFile base(content);
  cairn::CommitQcow2(layer, base, cairn::FileFormat::kQcow2, {}, {}).IgnoreError();
  return 0;
}
