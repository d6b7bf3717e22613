// The orders in which records are listed: by a field, then by id, so that no two stand at one
// place.
#ifndef CAIRN_LIB_CATALOG_SORT_ORDER_H_
#define CAIRN_LIB_CATALOG_SORT_ORDER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>

#include "absl/container/btree_set.h"
#include "absl/time/time.h"
#include "lib/catalog/records.h"

namespace cairn {

enum class SortField { kCreateTime, kName, kSizeBytes };

struct SortOrder {
  SortField field = SortField::kCreateTime;
  bool descending = false;
};

// A place in an order; of the first three members only the one that the order uses counts. It stays
// meaningful when the record that stood there is gone.
struct Position {
  absl::Time create_time;
  std::string name;
  int64_t size_bytes = 0;
  std::string id;
};

// Compares records and positions by `field`, then id. An operation has neither name nor size and is
// only ever ordered by time.
class PositionLess {
 public:
  using is_transparent = void;
  explicit PositionLess(SortField field) : field_(field) {}

  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return Less(Get(a), Get(b));
  }

 private:
  static const Position& Get(const Position& position) { return position; }
  template <typename Record>
  static const Record& Get(const std::shared_ptr<const Record>& record) {
    return *record;
  }
  static std::string_view NameOf(const OperationRecord&) { return {}; }
  static int64_t SizeOf(const OperationRecord&) { return 0; }
  template <typename T>
  static std::string_view NameOf(const T& item) {
    return item.name;
  }
  template <typename T>
  static int64_t SizeOf(const T& item) {
    return item.size_bytes;
  }

  template <typename A, typename B>
  bool Less(const A& a, const B& b) const {
    switch (field_) {
      case SortField::kName:
        if (int order = NameOf(a).compare(NameOf(b)); order != 0) return order < 0;
        break;
      case SortField::kSizeBytes:
        if (SizeOf(a) != SizeOf(b)) return SizeOf(a) < SizeOf(b);
        break;
      case SortField::kCreateTime:
        if (a.create_time != b.create_time) return a.create_time < b.create_time;
        break;
    }
    return a.id < b.id;
  }

  SortField field_;
};

// A B-tree: a node for each of so many records would take three times the memory.
template <typename Ptr>
using OrderedSet = absl::btree_set<Ptr, PositionLess>;

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_SORT_ORDER_H_
