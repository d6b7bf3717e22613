// The C++ client of Cairn's gRPC service.
//
//   #include "cairn/client/client.h"
//   using namespace cairn;
//
//   auto client = client::Client::Connect({.target = "unix:/run/cairn/cairn.sock"});
//   if (!client.ok()) return client.status();
//
//   v1::CreateVolumeRequest request;
//   request.set_name("web-1");
//   request.set_size_bytes(int64_t{10} << 30);
//   auto pending = client->CreateVolume(request);
//   if (!pending.ok()) return pending.status();
//   auto operation = pending->Wait();
//   if (!operation.ok()) return operation.status();
//   Use(operation->volume().id());
//
// Messages are the generated ones of package cairn.v1; their fields are described in
// proto/cairn/v1. There is one method here for each of the service's, which takes its request and
// gives what the response holds. What this library adds:
//
//   Retries     A call that ends with UNAVAILABLE, or that lost a race (ABORTED), is repeated with
//               growing random pauses until Options::timeout is over; see retry.h.
//   Once only   A change whose request has no request_id gets a new one, the same for all its
//               tries, so it is done once, however often it is sent. Give one yourself to be able
//               to repeat it after your own process has failed.
//   Operations  Changes are answered with a PendingOperation: wait for it with progress, on this
//               thread or as a future, or cancel it; see operation.h.
//   Lists       Volumes(), Snapshots(), Operations(), Pools() fetch their pages as they are walked
//               through; see pages.h.
//   Content     Export and import check every byte's checksum, do not send zeros, and are taken up
//               again when the connection breaks; see transfer.h.
//   Watching    WatchVolumes follows all changes, across broken connections and restarts of the
//               server.
//   Errors      absl::Status with the server's code; the reason and its metadata: see errors.h. No
//               method throws.
//
// Threads: a Client is a small value. Copies share one connection; all methods may be called from
// any thread at the same time. Methods block their thread until they are done: for many things at
// once use threads, or PendingOperation::WaitAsync. Callbacks are called on the thread that made
// the call, and may use the client.
#ifndef CAIRN_CLIENT_CLIENT_H_
#define CAIRN_CLIENT_CLIENT_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cairn/client/errors.h"
#include "cairn/client/operation.h"
#include "cairn/client/options.h"
#include "cairn/client/pages.h"
#include "cairn/client/transfer.h"
#include "cairn/client/uuid.h"
#include "cairn/v1/operation_service.pb.h"
#include "cairn/v1/pool_service.pb.h"
#include "cairn/v1/snapshot_service.pb.h"
#include "cairn/v1/volume_service.pb.h"

namespace grpc {
class Channel;
}

namespace cairn::client {

struct WatchOptions {
  // Called before the present volumes are told again from the beginning, because the changes in
  // between are lost: forget what you know; everything that exists follows as `added`. Unset:
  // WatchVolumes then ends with the error instead.
  std::function<void()> on_restart{};
  std::stop_token stop{};
};

class Client {
 public:
  // INVALID_ARGUMENT for options that cannot be right, and what the credentials factory says. The
  // connection itself is made by the first call, and made again whenever it breaks.
  static absl::StatusOr<Client> Connect(Options options);

  // Over a channel that exists already, such as a server's InProcessChannel. `options.target`,
  // credentials and channel arguments are not used.
  static Client FromChannel(std::shared_ptr<grpc::Channel> channel, Options options = {});

  // Waits until the server can be reached. UNAVAILABLE when it cannot in that time.
  absl::Status WaitForConnection(std::chrono::milliseconds timeout) const;

  // --- Volumes: cairn/v1/volume_service.proto
  absl::StatusOr<PendingOperation> CreateVolume(v1::CreateVolumeRequest request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<v1::Volume> GetVolume(const v1::GetVolumeRequest& request,
                                       const CallOptions& options = {}) const;
  absl::StatusOr<v1::Volume> GetVolume(const std::string& volume_id,
                                       const CallOptions& options = {}) const;
  absl::StatusOr<v1::ListVolumesResponse> ListVolumes(const v1::ListVolumesRequest& request,
                                                      const CallOptions& options = {}) const;
  // Walks through all pages. The client is kept alive by the range.
  PageRange<v1::Volume> Volumes(v1::ListVolumesRequest request = {},
                                CallOptions options = {}) const;
  absl::StatusOr<PendingOperation> UpdateVolume(v1::UpdateVolumeRequest request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<PendingOperation> DeleteVolume(v1::DeleteVolumeRequest request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<PendingOperation> ExtendVolume(v1::ExtendVolumeRequest request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<PendingOperation> MigrateVolume(v1::MigrateVolumeRequest request,
                                                 const CallOptions& options = {}) const;
  absl::StatusOr<PendingOperation> AttachVolume(v1::AttachVolumeRequest request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<PendingOperation> DetachVolume(v1::DetachVolumeRequest request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<PendingOperation> AdoptVolume(v1::AdoptVolumeRequest request,
                                               const CallOptions& options = {}) const;

  // Uploads content into a new volume. When the connection breaks, or the server restarts, the
  // upload begins again at the beginning of the source, for RetryPolicy::max_outage without any
  // success; it is known for certain whether the volume was made. Such a new beginning is a new
  // operation, with "/2", "/3", ... behind the request_id.
  absl::StatusOr<PendingOperation> ImportVolume(v1::ImportHeader header, ContentSource* source,
                                                const TransferOptions& options = {}) const;

  // Downloads content. When the connection breaks, it is taken up where it was, provided that the
  // content is still the same: a snapshot's always is, a volume's if it is attached to nothing and
  // has not changed. Otherwise the download ends with ABORTED: take a snapshot and download that.
  //
  // DATA_LOSS when the bytes that came are not what their checksums say.
  absl::StatusOr<TransferSummary> ExportVolume(const v1::ExportVolumeRequest& request,
                                               ContentSink* sink,
                                               const TransferOptions& options = {}) const;

  // Downloads into a new file. It is written under the name "<path>.part" and renamed when it is
  // complete, checked and on disk, so that a file of the name `path` is always whole; a file of
  // that name is replaced. After an error the part is removed. A symbolic link stays, and stands
  // for what it leads to. A device or a FIFO is written itself, zeros included. FAILED_PRECONDITION,
  // before anything is downloaded, for a directory or a socket.
  absl::StatusOr<TransferSummary> ExportVolumeToFile(const v1::ExportVolumeRequest& request,
                                                     const std::string& path,
                                                     const TransferOptions& options = {}) const;

  // Follows the volumes until on_event returns false (OK), a stop is requested (CANCELLED), or an
  // error that does not pass. After a broken connection it goes on after the last revision that was
  // told, so nothing is missed or told twice.
  absl::Status WatchVolumes(v1::WatchVolumesRequest request,
                            const std::function<bool(const v1::WatchVolumesResponse&)>& on_event,
                            const WatchOptions& options = {}) const;

  // --- Snapshots: cairn/v1/snapshot_service.proto
  absl::StatusOr<PendingOperation> CreateSnapshot(v1::CreateSnapshotRequest request,
                                                  const CallOptions& options = {}) const;
  absl::StatusOr<v1::Snapshot> GetSnapshot(const std::string& snapshot_id,
                                           const CallOptions& options = {}) const;
  absl::StatusOr<v1::ListSnapshotsResponse> ListSnapshots(const v1::ListSnapshotsRequest& request,
                                                          const CallOptions& options = {}) const;
  PageRange<v1::Snapshot> Snapshots(v1::ListSnapshotsRequest request = {},
                                    CallOptions options = {}) const;
  absl::StatusOr<PendingOperation> UpdateSnapshot(v1::UpdateSnapshotRequest request,
                                                  const CallOptions& options = {}) const;
  absl::StatusOr<PendingOperation> DeleteSnapshot(v1::DeleteSnapshotRequest request,
                                                  const CallOptions& options = {}) const;
  absl::StatusOr<PendingOperation> RevertToSnapshot(v1::RevertToSnapshotRequest request,
                                                    const CallOptions& options = {}) const;

  // --- Pools: cairn/v1/pool_service.proto

  // An empty name is the default pool.
  absl::StatusOr<v1::Pool> GetPool(const std::string& name, const CallOptions& options = {}) const;
  absl::StatusOr<v1::ListPoolsResponse> ListPools(const v1::ListPoolsRequest& request,
                                                  const CallOptions& options = {}) const;
  PageRange<v1::Pool> Pools(v1::ListPoolsRequest request = {}, CallOptions options = {}) const;
  // Takes as long as a walk through the largest share: give it a long timeout.
  absl::StatusOr<v1::Pool> RescanPool(const std::string& name,
                                      const CallOptions& options = {}) const;
  // What lies on the share is the share from now on.
  absl::StatusOr<v1::Pool> AcceptShare(const v1::AcceptShareRequest& request,
                                       const CallOptions& options = {}) const;

  // --- Operations: cairn/v1/operation_service.proto
  absl::StatusOr<v1::Operation> GetOperation(const std::string& operation_id,
                                             const CallOptions& options = {}) const;
  // Takes up an operation that was begun elsewhere, to wait for it or to cancel it.
  absl::StatusOr<PendingOperation> GetPendingOperation(const std::string& operation_id,
                                                       const CallOptions& options = {}) const;
  absl::StatusOr<v1::ListOperationsResponse> ListOperations(
      const v1::ListOperationsRequest& request, const CallOptions& options = {}) const;
  PageRange<v1::Operation> Operations(v1::ListOperationsRequest request = {},
                                      CallOptions options = {}) const;
  // Waits at most `request.timeout` and gives the operation as it is then. PendingOperation::Wait
  // waits for the end and survives restarts of the server.
  absl::StatusOr<v1::Operation> WaitOperation(const v1::WaitOperationRequest& request,
                                              const CallOptions& options = {}) const;
  absl::StatusOr<v1::Operation> CancelOperation(const v1::CancelOperationRequest& request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<v1::Operation> AbandonOperation(const v1::AbandonOperationRequest& request,
                                                 const CallOptions& options = {}) const;
  absl::StatusOr<v1::Operation> ReportHypervisorStep(const v1::ReportHypervisorStepRequest& request,
                                                     const CallOptions& options = {}) const;

 private:
  explicit Client(std::shared_ptr<const internal::Connection> connection);

  std::shared_ptr<const internal::Connection> connection_;
};

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_CLIENT_H_
