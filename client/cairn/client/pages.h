// A list that fetches its pages as it is walked through.
//
//   for (const absl::StatusOr<v1::Volume>& volume : client.Volumes(request)) {
//     if (!volume.ok()) return volume.status();  // the last element: the range ends here
//     Use(*volume);
//   }
//
// Items that exist from the first page to the last come exactly once, whatever is created and
// deleted meanwhile. A range is walked through once, by one thread.
#ifndef CAIRN_CLIENT_PAGES_H_
#define CAIRN_CLIENT_PAGES_H_

#include <cstddef>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace cairn::client {

template <typename T>
struct Page {
  std::vector<T> items;
  std::string next_token;  // empty: this is the last page
};

template <typename T>
class PageRange {
 public:
  // Gives the page that begins at the token ("": the first one).
  using Fetch = std::function<absl::StatusOr<Page<T>>(const std::string& token)>;

  explicit PageRange(Fetch fetch) : fetch_(std::move(fetch)) {}
  PageRange(PageRange&&) = default;
  PageRange& operator=(PageRange&&) = default;

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = absl::StatusOr<T>;
    using difference_type = std::ptrdiff_t;
    using pointer = value_type*;
    using reference = value_type&;

    Iterator() = default;
    explicit Iterator(PageRange* range) : range_(range) {}
    reference operator*() const { return range_->current_; }
    pointer operator->() const { return &range_->current_; }
    Iterator& operator++() {
      if (!range_->Advance()) range_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(const Iterator& other) const { return range_ == other.range_; }

   private:
    PageRange* range_ = nullptr;  // null: the end
  };

  Iterator begin() { return Advance() ? Iterator(this) : Iterator(); }
  Iterator end() { return Iterator(); }

 private:
  // Puts the next element, or the error that ends the range, into current_; false at the end.
  bool Advance() {
    if (!current_.ok() && started_) return false;
    while (position_ == page_.items.size()) {
      if (started_ && page_.next_token.empty()) return false;
      absl::StatusOr<Page<T>> next = fetch_(page_.next_token);
      started_ = true;
      position_ = 0;
      if (!next.ok()) {
        current_ = next.status();
        return true;
      }
      page_ = *std::move(next);
    }
    current_ = std::move(page_.items[position_++]);
    return true;
  }

  Fetch fetch_;
  Page<T> page_;
  size_t position_ = 0;
  bool started_ = false;
  absl::StatusOr<T> current_;
};

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_PAGES_H_
