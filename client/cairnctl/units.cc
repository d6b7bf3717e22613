#include "cairnctl/units.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <utility>

namespace cairn::cairnctl {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// The digits at the beginning of the text, which is shortened by them.
std::string_view TakeDigits(std::string_view* text) {
  size_t length = 0;
  while (length < text->size() && IsDigit((*text)[length])) ++length;
  const std::string_view digits = text->substr(0, length);
  text->remove_prefix(length);
  return digits;
}

// Nothing when it is empty or too large.
std::optional<int64_t> ToNumber(std::string_view digits) {
  if (digits.empty()) return std::nullopt;
  int64_t value = 0;
  for (const char digit : digits) {
    if (value > (kMax - (digit - '0')) / 10) return std::nullopt;
    value = value * 10 + (digit - '0');
  }
  return value;
}

// How many times 1,024 the unit is: 0 for bytes.
std::optional<int> UnitPower(std::string_view unit) {
  std::string lower;
  for (const char c : unit) lower += ToLower(c);
  if (lower.empty() || lower == "b") return 0;
  constexpr std::string_view kLetters = "kmgtpe";
  const size_t position = kLetters.find(lower[0]);
  if (position == std::string_view::npos) return std::nullopt;
  const std::string_view rest = std::string_view(lower).substr(1);
  if (!rest.empty() && rest != "i" && rest != "ib") return std::nullopt;
  return static_cast<int>(position) + 1;
}

// The part behind the point, in bytes of a unit of 2^shift; nothing when it is not whole bytes.
std::optional<int64_t> FractionBytes(std::string_view digits, int shift) {
  constexpr size_t kDigitsMax = 12;  // 10^12 x 2^60 does not fit 64 bits, but it fits 128
  if (digits.empty() || digits.size() > kDigitsMax) return std::nullopt;
  __extension__ using Wide = unsigned __int128;
  Wide scale = 1;
  for (size_t i = 0; i < digits.size(); ++i) scale *= 10;
  const Wide scaled = static_cast<Wide>(*ToNumber(digits)) << shift;
  if (scaled % scale != 0) return std::nullopt;
  return static_cast<int64_t>(scaled / scale);
}

}  // namespace

std::optional<int64_t> ParseSize(std::string_view text) {
  const std::optional<int64_t> whole = ToNumber(TakeDigits(&text));
  if (!whole.has_value()) return std::nullopt;
  std::string_view fraction;
  const bool has_fraction = !text.empty() && text.front() == '.';
  if (has_fraction) {
    text.remove_prefix(1);
    fraction = TakeDigits(&text);
  }
  if (text.size() > 1 && text.front() == ' ') text.remove_prefix(1);
  const std::optional<int> power = UnitPower(text);
  if (!power.has_value()) return std::nullopt;
  const int shift = 10 * *power;
  if (*whole > (kMax >> shift)) return std::nullopt;
  const int64_t bytes = *whole << shift;
  if (!has_fraction) return bytes;
  const std::optional<int64_t> more = FractionBytes(fraction, shift);
  if (!more.has_value() || bytes > kMax - *more) return std::nullopt;
  return bytes + *more;
}

std::string FormatSize(int64_t bytes) {
  constexpr std::array<const char*, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024 && bytes > -1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // 1023.95 would be shown as 1024.0 of the smaller unit.
  while ((value >= 1023.95 || value <= -1023.95) && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, int64_t>, 5> kUnits = {
      {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
  constexpr int64_t kMaxMs = int64_t{86'400'000} * 365 * 10;
  if (text.empty()) return std::nullopt;
  int64_t total_ms = 0;
  while (!text.empty()) {
    const std::optional<int64_t> number = ToNumber(TakeDigits(&text));
    if (!number.has_value()) return std::nullopt;
    size_t length = 0;
    while (length < text.size() && !IsDigit(text[length])) ++length;
    const std::string_view unit = text.substr(0, length);
    text.remove_prefix(length);
    int64_t factor = 0;
    if (unit.empty() && total_ms == 0) factor = 1'000;
    for (const auto& [name, ms] : kUnits) {
      if (unit == name) factor = ms;
    }
    if (factor == 0 || *number > (kMaxMs - total_ms) / factor) return std::nullopt;
    total_ms += *number * factor;
  }
  return std::chrono::milliseconds(total_ms);
}

std::string FormatDuration(std::chrono::seconds duration) {
  const int64_t seconds = duration.count() < 0 ? 0 : duration.count();
  const int64_t minutes = seconds / 60;
  const int64_t hours = minutes / 60;
  const int64_t days = hours / 24;
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (minutes < 10) return fmt::format("{}m{:02}s", minutes, seconds % 60);
  if (minutes < 60) return fmt::format("{}m", minutes);
  if (hours < 24) return fmt::format("{}h{:02}m", hours, minutes % 60);
  if (days < 10) return fmt::format("{}d{:02}h", days, hours % 24);
  return fmt::format("{}d", days);
}

}  // namespace cairn::cairnctl
