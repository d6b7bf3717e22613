#include "lib/catalog/stored_record.h"

#include "lib/catalog/record_json.h"
#include "lib/catalog/time_key.h"

namespace cairn {

EndedRow EndedRow::Of(const OperationRecord& record) {
  EndedRow row;
  row.id = record.id;
  row.revision = record.revision;
  row.body = RecordToJson(record);
  row.created = TimeKey(record.create_time);
  row.volume_id = record.volume_id;
  row.request_id = record.request_id;
  row.checksum = row.ChecksumOf();
  return row;
}

uint64_t EndedRow::ChecksumOf() const {
  return RowChecksum(RecordKind::kOperation, id, revision, body)
      .Add(created)
      .Add(volume_id)
      .Add(request_id)
      .value();
}

}  // namespace cairn
