// A row of the store as the record that it holds.
#ifndef CAIRN_LIB_CATALOG_STORED_RECORD_H_
#define CAIRN_LIB_CATALOG_STORED_RECORD_H_

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "lib/base/status.h"
#include "lib/catalog/checksum.h"
#include "lib/catalog/records.h"

namespace cairn {

struct StoredRow {
  std::string id;
  int64_t revision = 0;
  std::string body;
  uint64_t checksum = 0;
};

// Of an operation that has ended.
struct EndedRow : StoredRow {
  std::string created;  // time_key of create_time
  std::string volume_id;
  std::string request_id;

  static EndedRow Of(const OperationRecord& record);
  uint64_t ChecksumOf() const;
  int64_t bytes() const { return BytesOf(id, body, created, volume_id, request_id); }
  // About what it takes in the file: most columns stand in several B-trees, which are not full.
  static int64_t BytesOf(std::string_view id, std::string_view body, std::string_view created,
                         std::string_view volume_id, std::string_view request_id) {
    const size_t columns = body.size() + 4 * id.size() + 3 * created.size() +
                           2 * (volume_id.size() + request_id.size());
    return static_cast<int64_t>(columns + columns / 4);
  }
};

constexpr RecordKind KindOf(const VolumeRecord*) { return RecordKind::kVolume; }
constexpr RecordKind KindOf(const SnapshotRecord*) { return RecordKind::kSnapshot; }
constexpr RecordKind KindOf(const OperationRecord*) { return RecordKind::kOperation; }
constexpr RecordKind KindOf(const ShareRecord*) { return RecordKind::kShare; }

inline uint64_t ChecksumOf(const StoredRow& row, RecordKind kind) {
  return RowChecksum(kind, row.id, row.revision, row.body).value();
}
inline uint64_t ChecksumOf(const EndedRow& row, RecordKind /*kind*/) { return row.ChecksumOf(); }

// IO_ERROR (DATA_LOSS) naming the file, the table and the id of a row that is not as it was written,
// or cannot be read. `decode` is one of record_json.h.
template <typename Row, typename Decode>
auto RecordFrom(const std::string& path, const char* table, const Row& row, const Decode& decode)
    -> absl::StatusOr<
        std::shared_ptr<const typename decltype(decode(std::string_view()))::value_type>> {
  using Record = typename decltype(decode(std::string_view()))::value_type;
  const ErrorMetadata where{{"file", path}, {"table", table}, {"id", row.id}};
  if (ChecksumOf(row, KindOf(static_cast<const Record*>(nullptr))) != row.checksum) {
    return Error(Reason::kIoError,
                 fmt::format("{}: {} {}: it is not as it was written", path, table, row.id), where);
  }
  auto record = decode(row.body);
  if (!record.ok()) {
    return Annotate(record.status(), fmt::format("{}: {} {}", path, table, row.id), where);
  }
  if (KeyOf(*record) != row.id || row.revision <= 0) {
    return Error(Reason::kIoError,
                 fmt::format("{}: {} {}: its body is of {}, its revision is {}", path, table,
                             row.id, KeyOf(*record), row.revision),
                 where);
  }
  record->revision = row.revision;
  return std::make_shared<const Record>(*std::move(record));
}

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_STORED_RECORD_H_
