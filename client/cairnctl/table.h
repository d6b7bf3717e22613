// Aligned columns of text. A value; belongs to one thread.
#ifndef CAIRN_CLIENT_CAIRNCTL_TABLE_H_
#define CAIRN_CLIENT_CAIRNCTL_TABLE_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairnctl/text.h"

namespace cairn::cairnctl {

enum class Align { kLeft, kRight };

class Table {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as there are columns; missing ones are empty.
  void AddRow(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  // The titles and one line a row, two spaces between columns, no spaces at the ends of lines. Each
  // line begins with `indent` spaces. Empty cells are shown as "-".
  std::string Render(size_t indent = 0) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "name:   value" lines with the values below one another. Pairs with an empty value are left out.
class FieldList {
 public:
  void Add(std::string name, std::string value);
  std::string Render() const;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// The number of characters of UTF-8 text.
size_t DisplayWidth(std::string_view text);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_TABLE_H_
