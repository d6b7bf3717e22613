#include "lib/image/commit_pieces.h"

#include <algorithm>
#include <string>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/qcow2_commit.h"

namespace cairn::qcow2 {
namespace {

// As much as is written at a time, and kept in memory.
constexpr int64_t kWriteBytesMax = 4 * kMiB;
// Zeros take no room in a layer: this bounds how many of their clusters are kept in mind.
constexpr size_t kCoveredMax = 1 << 16;

}  // namespace

absl::StatusOr<std::vector<Covered>> FindCovered(const PlainImage& layer) {
  const int64_t stored_max = kNativeCommitBytesMax / layer.cluster_bytes();
  std::vector<Covered> covered;
  int64_t stored = 0;
  for (int64_t index = 0; index < layer.tables(); ++index) {
    if (layer.Table(index).host == 0) continue;
    if (++stored > stored_max) return NotPlain("a layer that is not small");
    ASSIGN_OR_RETURN(const std::string table, layer.ReadTable(index));
    const int64_t first = index * layer.clusters_per_table();
    const int64_t end = std::min(layer.clusters_per_table(), layer.clusters() - first);
    for (int64_t at = 0; at < end; ++at) {
      ASSIGN_OR_RETURN(const Mapping mapping, layer.Decode(table, at));
      if (mapping.host == 0 && !mapping.zeros) continue;
      const bool data = !mapping.zeros;
      if (data) ++stored;
      if (stored > stored_max || covered.size() >= kCoveredMax) {
        return NotPlain("a layer that is not small");
      }
      covered.push_back({.cluster = first + at, .host = data ? mapping.host : 0});
    }
  }
  return covered;
}

void Pieces::Add(const Piece& piece) {
  bytes_ += piece.length;
  if (piece.length > kWriteBytesMax) {  // zeros, of any length
    for (int64_t done = 0; done < piece.length; done += kWriteBytesMax) {
      pieces_.push_back({piece.target + done, std::min(kWriteBytesMax, piece.length - done), 0});
    }
    return;
  }
  if (!pieces_.empty()) {
    Piece& last = pieces_.back();
    const bool follows = piece.source == 0
                             ? last.source == 0
                             : last.source != 0 && last.source + last.length == piece.source;
    if (follows && last.target + last.length == piece.target &&
        last.length + piece.length <= kWriteBytesMax) {
      last.length += piece.length;
      return;
    }
  }
  pieces_.push_back(piece);
}

absl::Status Pieces::Write(File& layer, File& base, const CancelToken& cancel,
                           const ProgressFn& progress) {
  std::sort(pieces_.begin(), pieces_.end(),
            [](const Piece& a, const Piece& b) { return a.target < b.target; });
  int64_t done = 0;
  std::string run;
  for (size_t i = 0; i < pieces_.size();) {
    RETURN_IF_ERROR(cancel.Check());
    const int64_t start = pieces_[i].target;
    run.clear();
    do {
      const Piece& piece = pieces_[i];
      const size_t end = run.size() + static_cast<size_t>(piece.length);
      if (piece.source != 0) {
        ASSIGN_OR_RETURN(const std::string data, layer.ReadAt(piece.source, piece.length));
        run += data;
      }
      run.resize(end);  // zeros, also for what lies behind the end of the layer's file
      ++i;
    } while (i < pieces_.size() && pieces_[i].target == start + static_cast<int64_t>(run.size()) &&
             static_cast<int64_t>(run.size()) + pieces_[i].length <= kWriteBytesMax);
    RETURN_IF_ERROR(base.WriteAt(start, run));
    done += static_cast<int64_t>(run.size());
    if (progress) progress(done, bytes_);
  }
  return absl::OkStatus();
}

}  // namespace cairn::qcow2
