#include "cairnctl/table.h"

#include <algorithm>
#include <utility>

namespace cairn::cairnctl {
namespace {

constexpr char kGap[] = "  ";

void AppendCell(std::string* line, const std::string& cell, size_t width, Align align) {
  const std::string padding(width - std::min(width, DisplayWidth(cell)), ' ');
  *line += align == Align::kRight ? padding + cell : cell + padding;
}

void TrimEnd(std::string* line) {
  while (!line->empty() && line->back() == ' ') line->pop_back();
}

}  // namespace

size_t DisplayWidth(std::string_view text) {
  // Every byte but those that continue a character.
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = cell.empty() ? "-" : Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::Render(size_t indent) const {
  std::vector<std::string> titles;
  std::vector<size_t> widths;
  for (const Column& column : columns_) {
    titles.push_back(column.title);
    widths.push_back(DisplayWidth(column.title));
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string text;
  const auto append = [&](const std::vector<std::string>& cells) {
    std::string line(indent, ' ');
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) line += kGap;
      AppendCell(&line, cells[i], widths[i], columns_[i].align);
    }
    TrimEnd(&line);
    text += line + '\n';
  };
  append(titles);
  for (const auto& row : rows_) append(row);
  return text;
}

void FieldList::Add(std::string name, std::string value) {
  if (value.empty()) return;
  fields_.emplace_back(std::move(name) + ":", Printable(value));
}

std::string FieldList::Render() const {
  size_t width = 0;
  for (const auto& [name, value] : fields_) width = std::max(width, DisplayWidth(name));
  std::string text;
  for (const auto& [name, value] : fields_) {
    AppendCell(&text, name, width, Align::kLeft);
    text += kGap + value + '\n';
  }
  return text;
}

}  // namespace cairn::cairnctl
