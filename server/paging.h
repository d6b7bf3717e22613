// Pages that fit into a message.
//
// A page of many records with large labels can be larger than a client takes (4 MiB unless it says
// otherwise), so a page may hold fewer records than were asked for.
#ifndef CAIRN_SERVER_PAGING_H_
#define CAIRN_SERVER_PAGING_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "lib/base/status.h"
#include "lib/engine/engine.h"

namespace cairn {

inline constexpr size_t kPageBytesMax = 3 << 20;

// How many of the messages fit, at least one.
template <typename Messages>
int FittingCount(const Messages& messages) {
  constexpr size_t kFieldOverhead = 8;
  size_t bytes = 0;
  int count = 0;
  for (const auto& message : messages) {
    bytes += message.ByteSizeLong() + kFieldOverhead;
    if (count > 0 && bytes > kPageBytesMax) break;
    ++count;
  }
  return count;
}

// Fills `messages` with `convert(record)` of each record that `list(query)` gives; gives the token
// of the next page.
template <typename List, typename Convert, typename Messages>
absl::StatusOr<std::string> FillPage(ListQuery query, List list, Convert convert,
                                     Messages* messages) {
  ASSIGN_OR_RETURN(auto page, list(query));
  for (const auto& item : page.items) *messages->Add() = convert(*item);
  int count = FittingCount(*messages);
  if (count == messages->size()) return page.next_page_token;
  // The token must stand after the last record that is sent, so a shorter page is asked for.
  messages->Clear();
  query.page_size = count;
  ASSIGN_OR_RETURN(page, list(query));
  for (const auto& item : page.items) *messages->Add() = convert(*item);
  return page.next_page_token;
}

}  // namespace cairn

#endif  // CAIRN_SERVER_PAGING_H_
