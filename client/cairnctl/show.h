// Records as tables and as details, for people. Functions over messages; `now` is for ages.
#ifndef CAIRN_CLIENT_CAIRNCTL_SHOW_H_
#define CAIRN_CLIENT_CAIRNCTL_SHOW_H_

#include <chrono>
#include <string>
#include <vector>

#include "cairn/v1/operation.pb.h"
#include "cairn/v1/pool.pb.h"
#include "cairn/v1/snapshot.pb.h"
#include "cairn/v1/volume.pb.h"

namespace cairn::cairnctl {

using SystemTime = std::chrono::system_clock::time_point;

// For ages.
inline SystemTime WallTime() { return std::chrono::system_clock::now(); }

std::string VolumeTable(const std::vector<v1::Volume>& volumes, SystemTime now);
std::string VolumeDetails(const v1::Volume& volume, SystemTime now);
std::string AttachmentDetails(const v1::Attachment& attachment, SystemTime now);
std::string SnapshotTable(const std::vector<v1::Snapshot>& snapshots, SystemTime now);
std::string SnapshotDetails(const v1::Snapshot& snapshot, SystemTime now);
std::string PoolTable(const std::vector<v1::Pool>& pools);
std::string PoolDetails(const v1::Pool& pool, SystemTime now);
std::string OperationTable(const std::vector<v1::Operation>& operations, SystemTime now);
std::string OperationDetails(const v1::Operation& operation, SystemTime now);
// "RUNNING 52%".
std::string OperationStateText(const v1::Operation& operation);
// "RUNNING 52%, copying to nfs2:/pool": on one line.
std::string OperationProgressText(const v1::Operation& operation);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_SHOW_H_
