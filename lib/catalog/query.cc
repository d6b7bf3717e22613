#include "lib/catalog/query.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/status.h"

namespace cairn {
namespace {

constexpr size_t kFilterLengthMax = 4096;
constexpr std::string_view kLabelsPrefix = "labels.";
constexpr std::string_view kSpace = " \t\r\n";

bool IsFieldCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == '/';
}

// Walks over the text of a filter; every error says at which character it stands.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  // False at the end.
  bool SkipSpace() {
    position_ = std::min(text_.find_first_not_of(kSpace, position_), text_.size());
    return position_ < text_.size();
  }

  std::string_view Word() {
    size_t begin = position_;
    while (position_ < text_.size() && IsFieldCharacter(text_[position_])) ++position_;
    return text_.substr(begin, position_ - begin);
  }

  bool Take(std::string_view expected) {
    if (text_.substr(position_, expected.size()) != expected) return false;
    position_ += expected.size();
    return true;
  }

  absl::StatusOr<std::string> Quoted() {
    size_t begin = position_++;
    std::string value;
    while (position_ < text_.size()) {
      char c = text_[position_++];
      if (c == '"') return value;
      if (c == '\\') {
        c = position_ < text_.size() ? text_[position_++] : '\0';
        if (c != '"' && c != '\\') return Fail(R"(only \" and \\ are known escapes)");
      }
      value += c;
    }
    position_ = begin;
    return Fail("the quote is not closed");
  }

  absl::StatusOr<std::string> Bare() {
    size_t begin = position_;
    while (position_ < text_.size() && kSpace.find(text_[position_]) == kSpace.npos) {
      auto c = static_cast<unsigned char>(text_[position_]);
      if (c < 0x20 || c == 0x7F ||
          std::string_view("\"'\\()<>=!,").find(text_[position_]) != std::string_view::npos) {
        return Fail("this character must stand in double quotes");
      }
      ++position_;
    }
    std::string word(text_.substr(begin, position_ - begin));
    position_ = begin;
    if (word.empty()) return Fail("a value is expected");
    if (word == "AND" || word == "OR" || word == "NOT") {
      return Fail(fmt::format("a value is expected, not {} (or put it in double quotes)", word));
    }
    if (word != "*" && word.find('*') != word.npos) {
      return Fail("\"*\" is no wildcard: ask for a beginning with \":\", or use double quotes");
    }
    position_ = begin + word.size();
    return word;
  }

  char Peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  bool AtSpaceOrEnd() const {
    return position_ >= text_.size() || kSpace.find(text_[position_]) != kSpace.npos;
  }

  size_t position() const { return position_; }
  void MoveTo(size_t position) { position_ = position; }

  absl::Status Fail(std::string_view problem) const {
    return Error(Reason::kInvalidFilter,
                 fmt::format("filter: {} at character {}", problem, position_ + 1),
                 {{"field", "filter"}, {"position", std::to_string(position_ + 1)}});
  }

 private:
  std::string_view text_;
  size_t position_ = 0;
};

absl::Status CheckField(const Scanner& scanner, std::string_view field,
                        const std::vector<std::string_view>& fields) {
  auto allowed = [&](std::string_view name) {
    return std::find(fields.begin(), fields.end(), name) != fields.end();
  };
  if (field.empty()) return scanner.Fail("the name of a field is expected");
  if (allowed("labels")) {
    if (field == "labels" || field == kLabelsPrefix) {
      return scanner.Fail("a label is named by its key, as in labels.tier,");
    }
    if (field.substr(0, kLabelsPrefix.size()) == kLabelsPrefix) return absl::OkStatus();
  }
  if (field != "labels" && allowed(field)) return absl::OkStatus();
  if (field == "NOT" || field == "OR" || field == "AND") {
    return scanner.Fail(fmt::format("a comparison is expected, not {},", field));
  }
  constexpr size_t kEchoMax = 80;
  return scanner.Fail(fmt::format("there is no field \"{}\" (there are: {})",
                                  field.substr(0, kEchoMax), fmt::join(fields, ", ")));
}

}  // namespace

absl::StatusOr<Filter> Filter::Parse(std::string_view text,
                                     const std::vector<std::string_view>& fields) {
  Scanner scanner(text);
  if (text.size() > kFilterLengthMax) {
    return scanner.Fail(fmt::format("longer than {} characters", kFilterLengthMax));
  }
  Filter filter;
  while (scanner.SkipSpace()) {
    if (!filter.comparisons_.empty()) {
      size_t begin = scanner.position();
      if (scanner.Word() != "AND") {
        scanner.MoveTo(begin);
        return scanner.Fail("AND is expected between comparisons");
      }
      scanner.SkipSpace();
    }
    Comparison comparison;
    size_t begin = scanner.position();
    comparison.field = scanner.Word();
    size_t end = scanner.position();
    scanner.MoveTo(begin);
    RETURN_IF_ERROR(CheckField(scanner, comparison.field, fields));
    scanner.MoveTo(end);
    scanner.SkipSpace();
    if (scanner.Take("!=")) {
      comparison.op = Operator::kNotEqual;
    } else if (scanner.Take("=")) {
      comparison.op = Operator::kEqual;
    } else if (scanner.Take(":")) {
      comparison.op = Operator::kPrefix;
    } else {
      return scanner.Fail("one of = != : is expected");
    }
    scanner.SkipSpace();
    size_t value_at = scanner.position();
    comparison.quoted = scanner.Peek() == '"';
    ASSIGN_OR_RETURN(comparison.value, comparison.quoted ? scanner.Quoted() : scanner.Bare());
    if (!comparison.quoted && comparison.value == "*" && comparison.op != Operator::kPrefix) {
      scanner.MoveTo(value_at);
      return scanner.Fail("\"*\" goes with \":\" only (or put it in double quotes)");
    }
    if (!scanner.AtSpaceOrEnd()) return scanner.Fail("a space is expected");
    filter.comparisons_.push_back(std::move(comparison));
  }
  return filter;
}

bool Filter::Matches(
    const std::function<std::optional<std::string>(std::string_view field)>& value_of) const {
  for (const Comparison& comparison : comparisons_) {
    std::optional<std::string> value = value_of(comparison.field);
    bool matches = false;
    switch (comparison.op) {
      case Operator::kEqual:
        matches = value == comparison.value;
        break;
      case Operator::kNotEqual:
        // A record without the label differs from every value.
        matches = value != comparison.value;
        break;
      case Operator::kPrefix:
        if (!comparison.quoted && comparison.value == "*") {
          bool label =
              std::string_view(comparison.field).substr(0, kLabelsPrefix.size()) == kLabelsPrefix;
          matches = value.has_value() && (label || !value->empty());
        } else {
          matches = value.has_value() &&
                    value->compare(0, comparison.value.size(), comparison.value) == 0;
        }
        break;
    }
    if (!matches) return false;
  }
  return true;
}

std::optional<std::string> Filter::EqualTo(std::string_view field) const {
  for (const Comparison& comparison : comparisons_) {
    if (comparison.op == Operator::kEqual && comparison.field == field) return comparison.value;
  }
  return std::nullopt;
}

}  // namespace cairn
