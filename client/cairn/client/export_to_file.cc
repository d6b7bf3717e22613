#include "cairn/client/client.h"
#include "cairn/client/internal/export_target.h"

namespace cairn::client {

absl::StatusOr<TransferSummary> Client::ExportVolumeToFile(const v1::ExportVolumeRequest& request,
                                                           const std::string& path,
                                                           const TransferOptions& options) const {
  auto target = internal::ExportTarget::Open(path, options.stop);
  if (!target.ok()) return target.status();
  const auto sink = NewFileSink((*target)->fd(), (*target)->sequential());
  auto summary = ExportVolume(request, sink.get(), options);
  if (!summary.ok()) return summary;
  if (const absl::Status status = (*target)->Publish(); !status.ok()) return status;
  return summary;
}

}  // namespace cairn::client
