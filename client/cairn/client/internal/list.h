// The pages of a list method as a range.
#ifndef CAIRN_CLIENT_INTERNAL_LIST_H_
#define CAIRN_CLIENT_INTERNAL_LIST_H_

#include <iterator>
#include <string>
#include <utility>

#include "cairn/client/internal/call.h"
#include "cairn/client/pages.h"

namespace cairn::client::internal {

// The pages of a list method. `items` gives the response's repeated field.
template <typename T, typename Stub, typename Request, typename Response, typename Items>
PageRange<T> MakePages(ConnectionPtr connection, Stub* stub,
                       grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                    Response*),
                       Request request, CallOptions options, Items items) {
  return PageRange<T>([connection = std::move(connection), stub, method,
                       request = std::move(request), options = std::move(options),
                       items](const std::string& token) mutable -> absl::StatusOr<Page<T>> {
    if (!token.empty()) request.set_page_token(token);
    auto response = Call(*connection, stub, method, request, options);
    if (!response.ok()) return response.status();
    Page<T> page;
    auto* list = items(&*response);
    page.items.assign(std::make_move_iterator(list->begin()), std::make_move_iterator(list->end()));
    page.next_token = response->next_page_token();
    return page;
  });
}

}  // namespace cairn::client::internal

#endif  // CAIRN_CLIENT_INTERNAL_LIST_H_
