// Records as the JSON text that the catalog's store keeps; `revision` is kept beside it, not in it.
//
// What a program writes it reads back equal, byte for byte and to the nanosecond. Reading is
// strict: a missing field, a wrong type or an unknown name is DATA_LOSS saying which field, because
// a guess here could make the engine delete the wrong file.
#ifndef CAIRN_LIB_CATALOG_RECORD_JSON_H_
#define CAIRN_LIB_CATALOG_RECORD_JSON_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/catalog/records.h"

namespace cairn {

std::string RecordToJson(const VolumeRecord& record);
std::string RecordToJson(const SnapshotRecord& record);
std::string RecordToJson(const OperationRecord& record);
std::string RecordToJson(const ShareRecord& record);

absl::StatusOr<VolumeRecord> VolumeFromJson(std::string_view text);
absl::StatusOr<SnapshotRecord> SnapshotFromJson(std::string_view text);
absl::StatusOr<OperationRecord> OperationFromJson(std::string_view text);
absl::StatusOr<ShareRecord> ShareFromJson(std::string_view text);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_RECORD_JSON_H_
