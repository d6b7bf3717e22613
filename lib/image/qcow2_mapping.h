// Where the clusters of a plain qcow2 image are (section "Cluster mapping"): what committing needs
// of a layer and of the file below. Private to lib/image.
//
// Every offset is checked against the file before it is given out. What is not plain, among it all
// that looks corrupt, is UNIMPLEMENTED: qemu's tools are to judge that. One user at a time.
#ifndef CAIRN_LIB_IMAGE_QCOW2_MAPPING_H_
#define CAIRN_LIB_IMAGE_QCOW2_MAPPING_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/image/qcow2_layout.h"

namespace cairn::qcow2 {

// Sections "Standard Cluster Descriptor" (bit 0) and "L2 table entry" (bit 62).
inline constexpr uint64_t kReadsAsZeros = 1;
inline constexpr uint64_t kCompressed = uint64_t{1} << 62;
// Sections "L1 table entry" and "Standard Cluster Descriptor": bits 9..55.
inline constexpr uint64_t kHostOffsetMask = 0x00fffffffffffe00;

// UNIMPLEMENTED, with what is in the way.
absl::Status NotPlain(std::string_view what);
// IMAGE_CORRUPT and IMAGE_UNSAFE become that; the rest stays.
absl::Status CorruptIsNotPlain(const absl::Status& status);

// One cluster of the guest.
struct Mapping {
  int64_t host = 0;    // where its data is; 0: nowhere
  bool zeros = false;  // reads as zeros, whatever is at `host` and below
  bool alone = false;  // the cluster at `host` has no other user, so says bit 63
};

class PlainImage {
 public:
  // Reads the header and the L1 table. Plain: no incompatible and no autoclear features, internal
  // snapshots, bitmaps, encryption or data file, and tables of moderate size. `file` is not owned
  // and must outlive this.
  static absl::StatusOr<PlainImage> Load(File* file);

  const HeaderBlock& block() const { return block_; }
  int64_t virtual_size() const { return block_.header.virtual_size; }
  int64_t cluster_bytes() const { return block_.cluster_bytes(); }
  int64_t clusters_per_table() const { return cluster_bytes() / 8; }
  // The number of clusters and of L2 tables that the virtual size needs.
  int64_t clusters() const { return DivideUp(virtual_size(), cluster_bytes()); }
  int64_t tables() const { return DivideUp(clusters(), clusters_per_table()); }

  // Where the L2 table `index` is; host 0 also for those that the L1 table does not reach.
  Mapping Table(int64_t index) const;
  // Its bytes, one cluster. REQUIRES: Table(index).host is not 0.
  absl::StatusOr<std::string> ReadTable(int64_t index) const;
  // Entry `at` of an L2 table of this image.
  absl::StatusOr<Mapping> Decode(std::string_view table, int64_t at) const;

  // Clusters that hold header, L1 table, refcount table and all L2 tables.
  std::vector<int64_t> MetadataClusters() const;

 private:
  explicit PlainImage(File* file) : file_(file) {}
  absl::Status CheckHeader() const;
  absl::Status CheckL1() const;
  absl::Status CheckHost(uint64_t host) const;

  File* file_;
  HeaderBlock block_;
  std::string l1_;
};

}  // namespace cairn::qcow2

#endif  // CAIRN_LIB_IMAGE_QCOW2_MAPPING_H_
