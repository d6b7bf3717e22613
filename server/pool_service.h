// PoolService: turns calls into engine calls. Holds no state.
#ifndef CAIRN_SERVER_POOL_SERVICE_H_
#define CAIRN_SERVER_POOL_SERVICE_H_

#include "cairn/v1/pool_service.grpc.pb.h"
#include "server/service_context.h"

namespace cairn {

class PoolService final : public v1::PoolService::CallbackService {
 public:
  explicit PoolService(ServiceContext* services) : services_(services) {}

  grpc::ServerUnaryReactor* ListPools(grpc::CallbackServerContext* context,
                                      const v1::ListPoolsRequest* request,
                                      v1::ListPoolsResponse* response) override;
  grpc::ServerUnaryReactor* GetPool(grpc::CallbackServerContext* context,
                                    const v1::GetPoolRequest* request,
                                    v1::GetPoolResponse* response) override;
  grpc::ServerUnaryReactor* RescanPool(grpc::CallbackServerContext* context,
                                       const v1::RescanPoolRequest* request,
                                       v1::RescanPoolResponse* response) override;
  grpc::ServerUnaryReactor* AcceptShare(grpc::CallbackServerContext* context,
                                        const v1::AcceptShareRequest* request,
                                        v1::AcceptShareResponse* response) override;

 private:
  ServiceContext* const services_;
};

}  // namespace cairn

#endif  // CAIRN_SERVER_POOL_SERVICE_H_
