#include <utility>

#include "cairn/client/client.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/internal/list.h"

namespace cairn::client {

namespace {
using Stub = v1::PoolService::StubInterface;
}  // namespace

absl::StatusOr<v1::Pool> Client::GetPool(const std::string& name,
                                         const CallOptions& options) const {
  v1::GetPoolRequest request;
  request.set_pool(name);
  auto response =
      internal::Call(*connection_, connection_->pools.get(), &Stub::GetPool, request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_pool());
}

absl::StatusOr<v1::ListPoolsResponse> Client::ListPools(const v1::ListPoolsRequest& request,
                                                        const CallOptions& options) const {
  return internal::Call(*connection_, connection_->pools.get(), &Stub::ListPools, request, options);
}

PageRange<v1::Pool> Client::Pools(v1::ListPoolsRequest request, CallOptions options) const {
  return internal::MakePages<v1::Pool>(
      connection_, connection_->pools.get(), &Stub::ListPools, std::move(request),
      std::move(options), [](v1::ListPoolsResponse* page) { return page->mutable_pools(); });
}

absl::StatusOr<v1::Pool> Client::RescanPool(const std::string& name,
                                            const CallOptions& options) const {
  v1::RescanPoolRequest request;
  request.set_pool(name);
  auto response =
      internal::Call(*connection_, connection_->pools.get(), &Stub::RescanPool, request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_pool());
}

absl::StatusOr<v1::Pool> Client::AcceptShare(const v1::AcceptShareRequest& request,
                                             const CallOptions& options) const {
  auto response =
      internal::Call(*connection_, connection_->pools.get(), &Stub::AcceptShare, request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_pool());
}

}  // namespace cairn::client
