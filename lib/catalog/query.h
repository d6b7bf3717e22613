// Filters, orders and page tokens of the list methods.
//
//   filter     = [ comparison { "AND" comparison } ] ;
//   comparison = field operator value ;
//   field      = word | "labels." key ;
//   operator   = "=" | "!=" | ":" ;     (* ":" is "begins with"; `labels.key : *` is "has" *)
//   value      = bare-word | '"' { char | '\"' | '\\' } '"' ;
//
// This is a subset of AIP-160. Keywords are upper case. Which fields a kind of record has is said
// in the contract (volume_service.proto and its siblings) and stands in listing.cc.
#ifndef CAIRN_LIB_CATALOG_QUERY_H_
#define CAIRN_LIB_CATALOG_QUERY_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace cairn {

struct ListQuery {
  std::string filter;
  std::string order_by;    // "create_time" (default), "name", "size_bytes"; " desc" may follow
  int page_size = 0;       // 0: 50; more than 1,000 is 1,000; negative: INVALID_FIELD
  std::string page_token;  // opaque; bound to filter and order
};

class Filter {
 public:
  // INVALID_FILTER says what is wrong and where. `fields`: the names allowed (labels.* when
  // "labels" is among them).
  static absl::StatusOr<Filter> Parse(std::string_view text,
                                      const std::vector<std::string_view>& fields);
  // `value_of` gives a field's value ("labels.key" too), nothing when the record has none.
  bool Matches(
      const std::function<std::optional<std::string>(std::string_view field)>& value_of) const;
  // The value if the filter demands `field = value`.
  std::optional<std::string> EqualTo(std::string_view field) const;

 private:
  enum class Operator { kEqual, kNotEqual, kPrefix };
  struct Comparison {
    std::string field;
    Operator op;
    std::string value;
    bool quoted = false;
  };
  std::vector<Comparison> comparisons_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_QUERY_H_
