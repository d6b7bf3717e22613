// A row of the store as the record that it holds.
#ifndef CAIRN_LIB_CATALOG_STORED_RECORD_H_
#define CAIRN_LIB_CATALOG_STORED_RECORD_H_

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "lib/base/status.h"
#include "lib/catalog/records.h"

namespace cairn {

struct StoredRow {
  std::string id;
  int64_t revision = 0;
  std::string body;
};

// IO_ERROR (DATA_LOSS) naming the file, the table and the id of a row that cannot be read.
// `decode` is one of record_json.h.
template <typename Decode>
auto RecordFrom(const std::string& path, const char* table, const StoredRow& row,
                const Decode& decode)
    -> absl::StatusOr<
        std::shared_ptr<const typename decltype(decode(std::string_view()))::value_type>> {
  const ErrorMetadata where{{"file", path}, {"table", table}, {"id", row.id}};
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
  return std::make_shared<const typename decltype(record)::value_type>(*std::move(record));
}

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_STORED_RECORD_H_
