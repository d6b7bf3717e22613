#include "lib/image/qcow2_commit.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/image/commit_pieces.h"
#include "lib/image/qcow2.h"
#include "lib/image/qcow2_mapping.h"
#include "lib/image/qcow2_refcount.h"

namespace cairn {
namespace {

using qcow2::Covered;
using qcow2::FindCovered;
using qcow2::Mapping;
using qcow2::NotPlain;
using qcow2::Pieces;
using qcow2::PlainImage;
using qcow2::Refcounts;

// How many bytes of a cluster belong to the guest; the last one may be cut by the virtual size.
int64_t GuestBytes(const PlainImage& layer, int64_t cluster) {
  const int64_t start = cluster * layer.cluster_bytes();
  return std::min(layer.cluster_bytes(), layer.virtual_size() - start);
}

// ---- into a raw file

// Zeros only where the file has data: holes stay holes, and what is allocated stays so.
absl::Status AddZerosOverData(File& base, int64_t start, int64_t end, Pieces& pieces) {
  while (start < end) {
    ASSIGN_OR_RETURN(const DataExtent extent, base.NextData(start));
    const int64_t data = std::max(start, extent.offset);
    if (extent.length <= 0 || data >= end) return absl::OkStatus();
    const int64_t data_end = std::min(end, extent.offset + extent.length);
    if (pieces.bytes() + (data_end - data) > kNativeCommitBytesMax) {
      return NotPlain("more than a few zeros to write");
    }
    pieces.AddZeros(data, data_end - data);
    start = data_end;
  }
  return absl::OkStatus();
}

absl::StatusOr<Pieces> PlanRaw(const PlainImage& layer, const std::vector<Covered>& covered,
                               File& base, int64_t base_bytes) {
  Pieces pieces;
  for (size_t i = 0; i < covered.size();) {
    const int64_t start = covered[i].cluster * layer.cluster_bytes();
    int64_t end = start + GuestBytes(layer, covered[i].cluster);
    if (covered[i].host != 0) {
      pieces.AddData(start, end - start, covered[i].host);
      ++i;
      continue;
    }
    // A run of zeros is looked up at once.
    for (++i; i < covered.size() && covered[i].host == 0 &&
              covered[i].cluster == covered[i - 1].cluster + 1;
         ++i) {
      end += GuestBytes(layer, covered[i].cluster);
    }
    RETURN_IF_ERROR(AddZerosOverData(base, start, std::min(end, base_bytes), pieces));
  }
  return pieces;
}

absl::Status CommitIntoRaw(const PlainImage& layer, const std::vector<Covered>& covered,
                           File& layer_file, File& base, const CancelToken& cancel,
                           const ProgressFn& progress) {
  ASSIGN_OR_RETURN(const FileStat stat, base.Stat());
  if (stat.size_bytes % kSectorBytes != 0) return NotPlain("a raw file with half a sector");
  ASSIGN_OR_RETURN(Pieces pieces, PlanRaw(layer, covered, base, stat.size_bytes));
  RETURN_IF_ERROR(cancel.Check());
  if (layer.virtual_size() > stat.size_bytes) RETURN_IF_ERROR(base.Truncate(layer.virtual_size()));
  RETURN_IF_ERROR(pieces.Write(layer_file, base, cancel, progress));
  return base.Sync();
}

// ---- into a qcow2 file

class Qcow2Merge {
 public:
  // Decides everything and writes nothing. All must outlive the merge.
  static absl::StatusOr<std::unique_ptr<Qcow2Merge>> Prepare(const PlainImage& layer,
                                                             const std::vector<Covered>& covered,
                                                             File& base);

  absl::Status Run(File& layer, const CancelToken& cancel, const ProgressFn& progress);

  const PlainImage& base() const { return base_; }

 private:
  // An L2 table of the base that changes.
  struct Table {
    int64_t host = 0;  // 0: a new one, its place is given out last
    std::string bytes;
    int64_t changed_first = -1;  // entries; -1: none
    int64_t changed_last = -1;
  };

  Qcow2Merge(File* file, PlainImage base) : file_(*file), base_(std::move(base)) {}

  absl::StatusOr<Table*> TableAt(int64_t index);
  absl::Status Take(const PlainImage& layer, const Covered& covered);
  absl::Status TakeZeros(const Covered& covered, int64_t at, const Mapping& present);
  absl::Status UseInPlace(const Mapping& present);
  void SetEntry(int64_t index, int64_t at, uint64_t entry);
  absl::Status CheckPlaces();
  absl::Status PlaceNew();
  absl::Status WriteNew(File& layer, const CancelToken& cancel, const ProgressFn& progress);
  absl::Status WriteEntries();

  int64_t cluster_bytes() const { return base_.cluster_bytes(); }
  int64_t new_clusters() const {
    return static_cast<int64_t>(new_data_.size() + new_tables_.size());
  }

  File& file_;
  const PlainImage base_;
  std::optional<Refcounts> refcounts_;
  std::map<int64_t, Table> tables_;  // by L1 index: those that have been looked at
  Pieces pieces_;                    // into clusters that are there
  // Data for new clusters: where it is in the layer (0: zeros) and which entry gets the place.
  struct NewData {
    int64_t source;
    int64_t length;
    int64_t table;
    int64_t at;
  };
  std::vector<NewData> new_data_;
  std::vector<int64_t> new_tables_;  // L1 indices
  std::vector<int64_t> in_place_;    // clusters of the file that are written as they stand
  Refcounts::Run run_;
};

absl::StatusOr<std::unique_ptr<Qcow2Merge>> Qcow2Merge::Prepare(const PlainImage& layer,
                                                                const std::vector<Covered>& covered,
                                                                File& base) {
  ASSIGN_OR_RETURN(PlainImage image, PlainImage::Load(&base));
  if (image.cluster_bytes() != layer.cluster_bytes()) return NotPlain("two cluster sizes");
  const bool grows = layer.virtual_size() > image.virtual_size();
  if (grows && !image.block().header.backing_file.empty()) {
    return NotPlain("growth above another file, whose end could appear");
  }
  if (grows && image.virtual_size() % image.cluster_bytes() != 0) {
    return NotPlain("growth inside a cluster, whose end could appear");
  }
  if (layer.virtual_size() < image.virtual_size() &&
      layer.virtual_size() % layer.cluster_bytes() != 0) {
    return NotPlain("a layer that covers a part of a cluster");
  }
  auto merge = std::unique_ptr<Qcow2Merge>(new Qcow2Merge(&base, std::move(image)));
  auto refcounts = Refcounts::Load(&base, &merge->base_.block());
  RETURN_IF_ERROR(qcow2::CorruptIsNotPlain(refcounts.status()));
  merge->refcounts_ = *std::move(refcounts);
  for (const Covered& each : covered) RETURN_IF_ERROR(merge->Take(layer, each));
  RETURN_IF_ERROR(merge->CheckPlaces());
  RETURN_IF_ERROR(merge->PlaceNew());
  return merge;
}

// Null: there is none yet.
absl::StatusOr<Qcow2Merge::Table*> Qcow2Merge::TableAt(int64_t index) {
  if (auto it = tables_.find(index); it != tables_.end()) return &it->second;
  const Mapping present = base_.Table(index);
  if (present.host == 0) return nullptr;
  if (!present.alone) return NotPlain("a shared L2 table");
  Table table{.host = present.host, .bytes = {}};
  ASSIGN_OR_RETURN(table.bytes, base_.ReadTable(index));
  return &tables_.emplace(index, std::move(table)).first->second;
}

void Qcow2Merge::SetEntry(int64_t index, int64_t at, uint64_t entry) {
  auto [it, added] = tables_.try_emplace(index);
  Table& table = it->second;
  if (added) {
    table.bytes.resize(static_cast<size_t>(cluster_bytes()));
    new_tables_.push_back(index);
  }
  qcow2::Store64(table.bytes, static_cast<size_t>(at) * 8, entry);
  table.changed_first = table.changed_first < 0 ? at : std::min(table.changed_first, at);
  table.changed_last = std::max(table.changed_last, at);
}

absl::Status Qcow2Merge::UseInPlace(const Mapping& present) {
  if (!present.alone) return NotPlain("a shared cluster");
  in_place_.push_back(present.host / cluster_bytes());
  return absl::OkStatus();
}

absl::Status Qcow2Merge::Take(const PlainImage& layer, const Covered& covered) {
  const int64_t index = covered.cluster / base_.clusters_per_table();
  const int64_t at = covered.cluster % base_.clusters_per_table();
  ASSIGN_OR_RETURN(const Table* table, TableAt(index));
  Mapping present;
  if (table != nullptr) {
    ASSIGN_OR_RETURN(present, base_.Decode(table->bytes, at));
  }
  if (covered.host == 0) return TakeZeros(covered, at, present);
  const int64_t length = GuestBytes(layer, covered.cluster);
  if (present.host == 0) {
    new_data_.push_back({covered.host, length, index, at});
    SetEntry(index, at, 0);  // the place comes later
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(UseInPlace(present));
  pieces_.AddData(present.host, length, covered.host);
  // What lies behind the guest's end would appear when the base grows.
  if (length < cluster_bytes()) {
    pieces_.AddZeros(present.host + length, cluster_bytes() - length);
  }
  if (present.zeros) {
    SetEntry(index, at, static_cast<uint64_t>(present.host) | qcow2::kCopied);
  }
  return absl::OkStatus();
}

absl::Status Qcow2Merge::TakeZeros(const Covered& covered, int64_t at, const Mapping& present) {
  if (present.zeros) return absl::OkStatus();
  const int64_t index = covered.cluster / base_.clusters_per_table();
  const bool has_flag = base_.block().header.version >= 3;
  if (present.host == 0) {
    if (base_.block().header.backing_file.empty()) return absl::OkStatus();
    if (has_flag) {
      SetEntry(index, at, qcow2::kReadsAsZeros);
    } else {
      new_data_.push_back({0, cluster_bytes(), index, at});
      SetEntry(index, at, 0);
    }
  } else {
    RETURN_IF_ERROR(UseInPlace(present));
    if (has_flag) {
      SetEntry(index, at,
               static_cast<uint64_t>(present.host) | qcow2::kCopied | qcow2::kReadsAsZeros);
    } else {
      pieces_.AddZeros(present.host, cluster_bytes());
    }
  }
  const int64_t written =
      pieces_.bytes() + static_cast<int64_t>(new_data_.size()) * cluster_bytes();
  if (written > 2 * kNativeCommitBytesMax) return NotPlain("more than a few zeros to write");
  return absl::OkStatus();
}

// A header that is not what it seems must not lead a write into the base's own tables.
absl::Status Qcow2Merge::CheckPlaces() {
  auto blocks = refcounts_->BlockClusters();
  RETURN_IF_ERROR(qcow2::CorruptIsNotPlain(blocks.status()));
  std::vector<int64_t> metadata = base_.MetadataClusters();
  metadata.insert(metadata.end(), blocks->begin(), blocks->end());
  std::sort(metadata.begin(), metadata.end());
  const auto twice = [](const std::vector<int64_t>& sorted) {
    return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
  };
  if (twice(metadata)) return NotPlain("tables that overlap");
  std::sort(in_place_.begin(), in_place_.end());
  if (twice(in_place_)) return NotPlain("a cluster that is mapped twice");
  std::vector<int64_t> both;
  std::set_intersection(in_place_.begin(), in_place_.end(), metadata.begin(), metadata.end(),
                        std::back_inserter(both));
  if (!both.empty()) return NotPlain("data in a table");
  std::vector<int64_t> changed = in_place_;
  for (const auto& [index, table] : tables_) {
    if (table.host != 0 && table.changed_first >= 0) {
      changed.push_back(table.host / cluster_bytes());
    }
  }
  auto once = refcounts_->AreUsedOnce(changed);
  RETURN_IF_ERROR(qcow2::CorruptIsNotPlain(once.status()));
  return *once ? absl::OkStatus() : NotPlain("a cluster that is not counted once");
}

// New clusters go behind the end: first the data, in the guest's order, then the tables.
absl::Status Qcow2Merge::PlaceNew() {
  if (new_clusters() == 0) return absl::OkStatus();
  auto run = refcounts_->Plan(new_clusters());
  RETURN_IF_ERROR(qcow2::CorruptIsNotPlain(run.status()));
  run_ = *run;
  // A new table would have to be named by the header.
  if (run_.table_clusters > 0) return NotPlain("a full refcount table");
  int64_t place = run_.first * cluster_bytes();
  for (const NewData& data : new_data_) {
    if (data.source == 0) {
      pieces_.AddZeros(place, cluster_bytes());
    } else {
      pieces_.AddData(place, data.length, data.source);
      if (data.length < cluster_bytes()) {
        pieces_.AddZeros(place + data.length, cluster_bytes() - data.length);
      }
    }
    SetEntry(data.table, data.at, static_cast<uint64_t>(place) | qcow2::kCopied);
    place += cluster_bytes();
  }
  return absl::OkStatus();
}

// Nothing names the new clusters yet: their refcounts, data and tables become durable together, and
// data where it is already has no order, because the layer covers it.
absl::Status Qcow2Merge::WriteNew(File& layer, const CancelToken& cancel,
                                  const ProgressFn& progress) {
  if (new_clusters() > 0) {
    RETURN_IF_ERROR(file_.Truncate((run_.first + run_.clusters()) * cluster_bytes()));
  }
  RETURN_IF_ERROR(pieces_.Write(layer, file_, cancel, progress));
  if (new_tables_.empty()) return absl::OkStatus();
  std::string tables;
  for (const int64_t index : new_tables_) tables += tables_[index].bytes;
  const auto data = static_cast<int64_t>(new_data_.size());
  return file_.WriteAt((run_.first + data) * cluster_bytes(), tables);
}

// An entry is eight bytes that are aligned: a write of several that is torn leaves each of them old
// or new, and any mixture is right.
absl::Status Qcow2Merge::WriteEntries() {
  for (const auto& [index, table] : tables_) {
    if (table.host == 0 || table.changed_first < 0) continue;
    const int64_t bytes = (table.changed_last - table.changed_first + 1) * 8;
    RETURN_IF_ERROR(file_.WriteAt(
        table.host + table.changed_first * 8,
        std::string_view(table.bytes)
            .substr(static_cast<size_t>(table.changed_first) * 8, static_cast<size_t>(bytes))));
  }
  int64_t place = (run_.first + static_cast<int64_t>(new_data_.size())) * cluster_bytes();
  for (const int64_t index : new_tables_) {
    std::string entry(8, '\0');
    qcow2::Store64(entry, 0, static_cast<uint64_t>(place) | qcow2::kCopied);
    RETURN_IF_ERROR(file_.WriteAt(
        static_cast<int64_t>(base_.block().header.l1_table_offset) + index * 8, entry));
    place += cluster_bytes();
  }
  return absl::OkStatus();
}

absl::Status Qcow2Merge::Run(File& layer, const CancelToken& cancel, const ProgressFn& progress) {
  RETURN_IF_ERROR(cancel.Check());
  absl::Status status = WriteNew(layer, cancel, progress);
  if (!status.ok()) {
    // The room that nothing uses, in particular when there was too little of it.
    if (new_clusters() > 0) file_.Truncate(base_.block().file_bytes).IgnoreError();
    return status;
  }
  if (new_clusters() > 0) RETURN_IF_ERROR(refcounts_->Take(run_));
  RETURN_IF_ERROR(WriteEntries());
  return file_.Sync();
}

absl::Status CommitIntoQcow2(const PlainImage& layer, const std::vector<Covered>& covered,
                             File& layer_file, File& base, const CancelToken& cancel,
                             const ProgressFn& progress) {
  ASSIGN_OR_RETURN(auto merge, Qcow2Merge::Prepare(layer, covered, base));
  if (layer.virtual_size() > merge->base().virtual_size()) {
    RETURN_IF_ERROR(cancel.Check());
    RETURN_IF_ERROR(GrowQcow2(base, layer.virtual_size()));
    RETURN_IF_ERROR(base.Sync());
    ASSIGN_OR_RETURN(merge, Qcow2Merge::Prepare(layer, covered, base));
  }
  return merge->Run(layer_file, cancel, progress);
}

}  // namespace

absl::Status CommitQcow2(File& layer, File& base, FileFormat base_format, const CancelToken& cancel,
                         const ProgressFn& progress) {
  ASSIGN_OR_RETURN(const PlainImage image, PlainImage::Load(&layer));
  if (!CheckVolumeSize("size_bytes", image.virtual_size()).ok()) {
    return NotPlain("a size that no volume has");
  }
  ASSIGN_OR_RETURN(const std::vector<Covered> covered, FindCovered(image));
  return base_format == FileFormat::kRaw
             ? CommitIntoRaw(image, covered, layer, base, cancel, progress)
             : CommitIntoQcow2(image, covered, layer, base, cancel, progress);
}

}  // namespace cairn
