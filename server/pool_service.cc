#include "server/pool_service.h"

#include <algorithm>
#include <string>
#include <vector>

#include "server/convert.h"
#include "server/unary.h"

namespace cairn {
namespace {

constexpr int kPageSizeDefault = 50;

// A token is the name of the last pool of its page, so marked.
constexpr std::string_view kTokenPrefix = "after-pool.";

absl::StatusOr<size_t> FirstOfPage(const std::vector<std::string>& names,
                                   std::string_view page_token) {
  if (page_token.empty()) return 0;
  if (page_token.starts_with(kTokenPrefix)) {
    auto last = std::find(names.begin(), names.end(), page_token.substr(kTokenPrefix.size()));
    if (last != names.end()) return last - names.begin() + 1;
  }
  return Error(Reason::kInvalidPageToken, "page_token: not from this server, or for another list",
               {{"field", "page_token"}});
}

absl::Status StartListPools(Engine* engine, const v1::ListPoolsRequest& request,
                            const std::shared_ptr<UnaryCall<v1::ListPoolsResponse>>& call) {
  if (request.page_size() < 0) return InvalidField("page_size", "must not be negative");
  std::vector<std::string> names = engine->PoolNames();
  ASSIGN_OR_RETURN(size_t first, FirstOfPage(names, request.page_token()));
  size_t count = request.page_size() == 0 ? kPageSizeDefault : request.page_size();
  size_t end = std::min(names.size(), first + count);
  v1::ListPoolsResponse response;
  for (size_t i = first; i < end; ++i) {
    ASSIGN_OR_RETURN(PoolStatus pool, engine->GetPool(names[i]));
    *response.add_pools() = ToProto(pool);
  }
  if (end < names.size()) {
    response.set_next_page_token(std::string(kTokenPrefix) + names[end - 1]);
  }
  call->Reply(std::move(response));
  return absl::OkStatus();
}

template <typename Response>
absl::StatusOr<Response> PoolResponse(const Engine& engine, const std::string& name) {
  ASSIGN_OR_RETURN(PoolStatus pool, engine.GetPool(name));
  Response response;
  *response.mutable_pool() = ToProto(pool);
  return response;
}

absl::Status StartGetPool(Engine* engine, const v1::GetPoolRequest& request,
                          const std::shared_ptr<UnaryCall<v1::GetPoolResponse>>& call) {
  call->Note("pool", request.pool());
  call->Reply(PoolResponse<v1::GetPoolResponse>(*engine, request.pool()));
  return absl::OkStatus();
}

absl::Status StartRescanPool(Engine* engine, const v1::RescanPoolRequest& request,
                             const std::shared_ptr<UnaryCall<v1::RescanPoolResponse>>& call) {
  call->Note("pool", request.pool());
  engine->RescanPool(request.pool(), [engine, call, name = request.pool()](absl::Status status) {
    if (!call->open()) return;
    if (!status.ok()) return call->Reply(std::move(status));
    call->Reply(PoolResponse<v1::RescanPoolResponse>(*engine, name));
  });
  return absl::OkStatus();
}

absl::Status StartAcceptShare(Engine* engine, const v1::AcceptShareRequest& request,
                              const std::shared_ptr<UnaryCall<v1::AcceptShareResponse>>& call) {
  call->Note("pool", request.pool());
  call->Note("share", request.share());
  if (request.share().empty()) return InvalidField("share", "is required");
  engine->AcceptShare(request.pool(), request.share(),
                      [engine, call, name = request.pool()](absl::Status status) {
                        if (!call->open()) return;
                        if (!status.ok()) return call->Reply(std::move(status));
                        call->Reply(PoolResponse<v1::AcceptShareResponse>(*engine, name));
                      });
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* PoolService::ListPools(grpc::CallbackServerContext* context,
                                                 const v1::ListPoolsRequest* request,
                                                 v1::ListPoolsResponse* response) {
  return ServeUnary(services_, {"PoolService.ListPools", CallKind::kRead}, context, request,
                    response, StartListPools);
}

grpc::ServerUnaryReactor* PoolService::GetPool(grpc::CallbackServerContext* context,
                                               const v1::GetPoolRequest* request,
                                               v1::GetPoolResponse* response) {
  return ServeUnary(services_, {"PoolService.GetPool", CallKind::kRead}, context, request, response,
                    StartGetPool);
}

grpc::ServerUnaryReactor* PoolService::RescanPool(grpc::CallbackServerContext* context,
                                                  const v1::RescanPoolRequest* request,
                                                  v1::RescanPoolResponse* response) {
  // As slow as the shares are large.
  return ServeUnary(services_, {"PoolService.RescanPool", CallKind::kWait}, context, request,
                    response, StartRescanPool);
}

grpc::ServerUnaryReactor* PoolService::AcceptShare(grpc::CallbackServerContext* context,
                                                   const v1::AcceptShareRequest* request,
                                                   v1::AcceptShareResponse* response) {
  // As slow as mounting the share.
  return ServeUnary(services_, {"PoolService.AcceptShare", CallKind::kWait}, context, request,
                    response, StartAcceptShare);
}

}  // namespace cairn
