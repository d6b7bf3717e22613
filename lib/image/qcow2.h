// qcow2 headers and metadata, natively: a child process would cost more than the work.
//
// The format is qemu's docs/interop/qcow2.txt ("the specification"); section names below are its.
// What we write is version 3 (compat=1.1), 64 KiB clusters, 16-bit refcounts, big-endian, and
// passes `qemu-img check`. Every function reads or writes through a File of the caller's and does
// not Sync; the caller does, before it gives the file a name. Nothing here probes: the caller knows
// that the file is qcow2.
#ifndef CAIRN_LIB_IMAGE_QCOW2_H_
#define CAIRN_LIB_IMAGE_QCOW2_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/cancel.h"
#include "lib/os/file_system.h"

namespace cairn {

// Section "Header" and "Header extensions", as far as Cairn looks at them.
struct Qcow2Header {
  uint32_t version = 3;
  int64_t virtual_size = 0;  // bytes
  uint32_t cluster_bits = 16;
  std::string backing_file;    // empty: none. Taken as it stands: may be hostile
  std::string backing_format;  // header extension 0xE2792ACA; empty: absent
  uint64_t incompatible_features =
      0;  // bit 0 dirty, 1 corrupt, 2 external data file, 3 compression, 4 extended L2
  uint64_t compatible_features = 0;
  uint64_t autoclear_features = 0;
  uint32_t crypt_method = 0;
  uint32_t snapshot_count = 0;  // internal snapshots
  uint64_t l1_table_offset = 0;
  uint32_t l1_size = 0;
  uint64_t refcount_table_offset = 0;
  uint32_t refcount_table_clusters = 0;
  uint32_t refcount_order = 4;
  uint32_t header_length = 104;
  std::string data_file;      // header extension 0x44415441; empty: absent
  uint32_t bitmap_count = 0;  // header extension 0x23852875, as it stands

  bool has_external_data_file() const { return (incompatible_features & 4) != 0; }
};

// Reads and checks a header. IMAGE_CORRUPT when it is truncated, has no magic, or holds values that
// cannot be (cluster bits outside 9..21, tables outside the file or unaligned, a backing name
// longer than 1023 bytes or outside the first cluster ...). Unknown incompatible bits:
// IMAGE_UNSAFE. An external data file, encryption or a suspicious backing name is reported in the
// result, not refused.
absl::StatusOr<Qcow2Header> ReadQcow2Header(File& file);

struct Qcow2CreateOptions {
  int64_t size_bytes = 0;      // a multiple of 512
  std::string backing_file;    // bare name; empty: none
  std::string backing_format;  // required with a backing file
  // As `-o preallocation=metadata`: all mapping tables are written, data clusters are holes. Not
  // with a backing file.
  bool preallocate_metadata = false;
};
// Writes a whole new image into an empty file.
absl::Status CreateQcow2(File& file, const Qcow2CreateOptions& options, const CancelToken& cancel);

// Changes the backing name and its format in the header alone (as `qemu-img rebase -u`); the guest
// data and all tables stay. An empty name removes both. IMAGE_CORRUPT when the header's first
// cluster has no room. One write of the first cluster: after a crash the header is the old or the
// new.
absl::Status SetQcow2Backing(File& file, const std::string& backing_file,
                             const std::string& backing_format);

// Makes the virtual size larger (never smaller: INVALID_FIELD). Writes new tables to free places
// first and the header last, so that a crash leaves the old size, at worst with leaked clusters: it
// does Sync between these steps. What the last cluster holds behind the end is made zeros first. An
// external data file and encryption are refused with IMAGE_UNSAFE, an image that is marked as corrupt
// with IMAGE_CORRUPT; internal snapshots, bitmaps and an image that was not closed cleanly are
// UNIMPLEMENTED: qemu-img is to grow it. The caller knows that a backing file is not larger than the
// image: its end would become visible.
absl::Status GrowQcow2(File& file, int64_t new_size_bytes);

// Whether a copy of the file can be an image of `size_bytes` of its own: no backing file, nothing
// that GrowQcow2 would refuse, no bitmaps, no feature that a writer would have to know.
absl::StatusOr<bool> IsWholeQcow2(File& file, int64_t size_bytes);

// Takes back a growth that nobody has used yet: the header says the former size again; tables that
// have become larger stay so. Not larger than that: nothing to do. UNIMPLEMENTED as for GrowQcow2.
absl::Status UngrowQcow2(File& file, int64_t former_size_bytes);

// A backing name is acceptable only if it is the bare name of a file of the same chain: not empty,
// no '/', no ':' (a protocol or json:), not "." or "..", at most 255 bytes, printable. IMAGE_UNSAFE
// else.
absl::Status CheckBackingName(const std::string& name);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_QCOW2_H_
