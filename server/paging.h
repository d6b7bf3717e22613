// Pages that fit into a message.
//
// A page of many records with large labels can be larger than a client takes (4 MiB unless it says
// otherwise), so a page may hold fewer records than were asked for. Pages that are large, or for
// which a filter may look at every record, are made on a thread of their own, one after the other:
// so many of them, from whomever, hold up each other and not the short calls.
#ifndef CAIRN_SERVER_PAGING_H_
#define CAIRN_SERVER_PAGING_H_

#include <cstddef>
#include <memory>
#include <utility>

#include "lib/base/status.h"
#include "lib/engine/engine.h"
#include "server/unary.h"

namespace cairn {

inline constexpr size_t kPageBytesMax = 3 << 20;
// A page of so many records is made where it is asked for.
inline constexpr int kSmallPage = 100;

// Adds `convert(record)` of each record of the page to `messages` until they fill a message; each
// is converted once. Gives the token of the next page, and adds to `bytes`.
template <typename Page, typename Convert, typename Messages>
std::string FillMessage(const Page& page, Convert convert, Messages* messages, int64_t* bytes) {
  constexpr size_t kFieldOverhead = 8;
  size_t filled = 0;
  for (size_t i = 0; i < page.items.size(); ++i) {
    auto* message = messages->Add();
    *message = convert(*page.items[i]);
    filled += message->ByteSizeLong() + kFieldOverhead;
    if (i == 0 || filled <= kPageBytesMax) {
      *bytes = static_cast<int64_t>(filled);
      continue;
    }
    messages->RemoveLast();
    return page.token_after(page.items[i - 1]);
  }
  return page.next_page_token;
}

// Answers the call with a page: `list(query)` gives the records, `convert(record)` the message,
// `messages(response)` where they go.
template <typename Response, typename List, typename Convert, typename Messages>
absl::Status ServePage(ServiceContext* services, ListQuery query,
                       const std::shared_ptr<UnaryCall<Response>>& call, List list, Convert convert,
                       Messages messages) {
  const bool is_small = query.page_size <= kSmallPage && query.filter.empty();
  auto answer = [query = std::move(query), call, list, convert, messages] {
    if (!call->open()) return;  // nobody waits for it any more
    // Others may have been answered while this one waited for its turn.
    if (absl::Status may = call->MayAnswer(); !may.ok()) return call->Reply(may);
    auto page = list(query);
    if (!page.ok()) return call->Reply(page.status());
    Response response;
    int64_t bytes = 0;
    response.set_next_page_token(FillMessage(*page, convert, messages(&response), &bytes));
    call->Reply(std::move(response), bytes);
  };
  if (is_small) {
    answer();
  } else {
    services->pages.Post(std::move(answer));
  }
  return absl::OkStatus();
}

}  // namespace cairn

#endif  // CAIRN_SERVER_PAGING_H_
