// Page tokens: where the last page ended, bound to the list that it was of.
//
// base64url of {"h": hash, "k": sort key, "i": id}. The hash covers the key, the id and the binding
// (list, filter, order), so that a token that was altered or belongs to another list is found out.
// It is no signature: a token gives no right to anything, it only says where to go on.
#ifndef CAIRN_LIB_CATALOG_PAGE_TOKEN_H_
#define CAIRN_LIB_CATALOG_PAGE_TOKEN_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace cairn {

struct PageKey {
  std::string key;  // the sort key of the last item, as text
  std::string id;
};

// `binding` names the list, its filter and its order.
std::string MakePageToken(std::string_view binding, const PageKey& last);
// INVALID_PAGE_TOKEN for anything that MakePageToken(binding, ...) did not make.
absl::StatusOr<PageKey> ParsePageToken(std::string_view binding, std::string_view token);

absl::Status InvalidPageToken(std::string_view problem);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_PAGE_TOKEN_H_
