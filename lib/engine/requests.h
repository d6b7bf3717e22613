// What the engine can be asked to do. Ids are checked and made lower case by the engine; an empty
// optional id is replaced by a new one. Each request is kept as JSON in its operation, so that one
// that was queued when the server stopped can begin again.
#ifndef CAIRN_LIB_ENGINE_REQUESTS_H_
#define CAIRN_LIB_ENGINE_REQUESTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/format.h"
#include "lib/catalog/records.h"

namespace cairn {

struct CreateVolumeRequest {
  std::string volume_id;  // empty: a new one
  std::string name;
  std::string pool;                    // empty: the only pool, or the one called "default"
  std::string share;                   // empty: placement chooses
  int64_t size_bytes = 0;              // 0 with a source: the source's
  std::optional<VolumeFormat> format;  // nothing: the pool's default
  Labels labels;
  VolumeSource source;  // kNone, kSnapshot, kVolume or kImage
  FileFormat image_format =
      FileFormat::kRaw;        // of a kImage source: said by the caller, never probed
  bool source_in_use = false;  // filled in: the source's chain will be changed
};

struct UpdateVolumeRequest {
  std::string volume_id;
  std::optional<std::string> name;
  std::optional<Labels> labels;   // the whole map
  int64_t expected_revision = 0;  // 0: any
};

struct DeleteVolumeRequest {
  std::string volume_id;
  bool allow_missing = false;
  bool cascade = false;
};

struct ExtendVolumeRequest {
  std::string volume_id;
  int64_t size_bytes = 0;  // the new size
};

struct MigrateVolumeRequest {
  std::string volume_id;
  std::string share;  // empty: placement chooses another one of the pool
};

struct AttachVolumeRequest {
  std::string volume_id;
  std::string attachment_id;  // empty: a new one
  std::string instance_id;
  std::string host;
  AccessMode access = AccessMode::kReadWrite;
  HypervisorAddress hypervisor;
};

struct DetachVolumeRequest {
  std::string volume_id;
  std::string attachment_id;  // empty: the only one
  bool force = false;
  std::string reason;  // required with force; logged
};

struct AdoptVolumeRequest {
  std::string volume_id;  // empty: the UUID in the file's name
  std::string pool;
  std::string share;
  std::string file_name;  // the base file, "volume-<uuid>"
  std::string name;
  VolumeFormat format = VolumeFormat::kRawSparse;  // of the base file; never probed
  Labels labels;
};

struct ImportVolumeRequest {
  std::string volume_id;
  std::string name;
  std::string pool;
  std::string share;
  int64_t size_bytes = 0;
  std::optional<VolumeFormat> format;
  Labels labels;
};

struct SnapshotGroupMember {
  std::string volume_id;
  std::string snapshot_id;  // empty: a new one
};

struct CreateSnapshotRequest {
  std::string volume_id;
  std::string snapshot_id;  // empty: a new one
  std::string name;
  Labels labels;
  bool quiesce = false;
  std::string group_id;
  std::vector<SnapshotGroupMember> more{};  // taken at the same instant
  bool temporary = false;                   // SnapshotRecord::temporary
};

struct UpdateSnapshotRequest {
  std::string snapshot_id;
  std::optional<std::string> name;
  std::optional<Labels> labels;
  int64_t expected_revision = 0;
};

struct DeleteSnapshotRequest {
  std::string snapshot_id;
  bool allow_missing = false;
};

struct RevertToSnapshotRequest {
  std::string snapshot_id;
  bool discard_newer = false;
};

// Asked for by the engine alone, of a volume that nobody uses.
struct MergeLayersRequest {
  std::string volume_id;
};

using Request =
    std::variant<CreateVolumeRequest, UpdateVolumeRequest, DeleteVolumeRequest, ExtendVolumeRequest,
                 MigrateVolumeRequest, AttachVolumeRequest, DetachVolumeRequest, AdoptVolumeRequest,
                 ImportVolumeRequest, CreateSnapshotRequest, UpdateSnapshotRequest,
                 DeleteSnapshotRequest, RevertToSnapshotRequest, MergeLayersRequest>;

OperationKind KindOf(const Request& request);

// The JSON kept in the operation; also what tells a retry (same request_id) from another request.
std::string RequestToJson(const Request& request);
absl::StatusOr<Request> RequestFromJson(OperationKind kind, std::string_view json);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_REQUESTS_H_
