// A client of grpc.health.v1.Health without its generated code, which no package brings.
#ifndef CAIRN_TESTS_SERVICE_HEALTH_CLIENT_H_
#define CAIRN_TESTS_SERVICE_HEALTH_CLIENT_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace cairn::testing {

// "SERVING", "NOT_SERVING", or the name of an error such as "NOT_FOUND". Waits for the connection.
std::string CheckHealth(const std::shared_ptr<grpc::Channel>& channel, const std::string& service);

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SERVICE_HEALTH_CLIENT_H_
