// Requests with what a test does not care about left out.
#ifndef CAIRN_TESTS_UNIT_ENGINE_REQUESTS_OF_TESTS_H_
#define CAIRN_TESTS_UNIT_ENGINE_REQUESTS_OF_TESTS_H_

#include <optional>
#include <string>

#include "lib/base/size.h"
#include "lib/engine/requests.h"

namespace cairn::testing {

// What the tests write and read at a time.
inline constexpr int64_t kPiece = 64 * kKiB;

inline CreateVolumeRequest NewVolume(std::optional<VolumeFormat> format, int64_t size_bytes,
                                     VolumeSource source = {}) {
  CreateVolumeRequest request;
  request.size_bytes = size_bytes;
  request.format = format;
  request.source = std::move(source);
  return request;
}

inline VolumeSource FromSnapshot(const std::string& id) {
  return {VolumeSource::Kind::kSnapshot, id};
}
inline VolumeSource FromVolume(const std::string& id) { return {VolumeSource::Kind::kVolume, id}; }
inline Caller OnlyValidated(const std::string& request_id = {}) {
  Caller caller;
  caller.request_id = request_id;
  caller.validate_only = true;
  return caller;
}

inline VolumeSource FromImage(const std::string& path) {
  return {VolumeSource::Kind::kImage, path};
}

inline CreateSnapshotRequest NewSnapshot(const std::string& volume_id,
                                         const std::string& snapshot_id = {}) {
  CreateSnapshotRequest request;
  request.volume_id = volume_id;
  request.snapshot_id = snapshot_id;
  return request;
}

inline AttachVolumeRequest Attach(const std::string& volume_id, const std::string& instance_id,
                                  AccessMode access = AccessMode::kReadWrite) {
  AttachVolumeRequest request;
  request.volume_id = volume_id;
  request.instance_id = instance_id;
  request.host = "host-of-" + instance_id;
  request.access = access;
  return request;
}

inline DetachVolumeRequest Detach(const std::string& volume_id,
                                  const std::string& attachment_id = {}) {
  DetachVolumeRequest request;
  request.volume_id = volume_id;
  request.attachment_id = attachment_id;
  return request;
}

inline AdoptVolumeRequest Adopt(const std::string& share, const std::string& volume_id,
                                VolumeFormat format) {
  AdoptVolumeRequest request;
  request.share = share;
  request.file_name = "volume-" + volume_id;
  request.format = format;
  return request;
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_REQUESTS_OF_TESTS_H_
