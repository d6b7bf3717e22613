#include "cairnctl/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cairnctl/table.h"
#include "cairnctl/units.h"

namespace cairn::cairnctl {
namespace {

constexpr std::chrono::milliseconds kBarInterval(100);
constexpr std::chrono::seconds kLineInterval(5);
constexpr size_t kBarMin = 10;
constexpr size_t kBarMax = 40;
constexpr size_t kLabelMin = 16;
// The last seconds count most.
constexpr double kSmoothingSeconds = 3.0;

size_t TerminalWidth() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

int Percent(const ProgressState& state) {
  const double part =
      static_cast<double>(state.done_bytes) / static_cast<double>(state.total_bytes);
  // 100 only when it is complete.
  return static_cast<int>(std::floor(std::clamp(part, 0.0, 1.0) * 100));
}

std::string Figures(const ProgressState& state, double bytes_per_second) {
  std::string text = fmt::format("{:3}%  {} of {}", Percent(state), FormatSize(state.done_bytes),
                                 FormatSize(state.total_bytes));
  if (bytes_per_second < 1) return text;
  text += fmt::format("  {}/s", FormatSize(std::llround(bytes_per_second)));
  const int64_t left = std::max<int64_t>(state.total_bytes - state.done_bytes, 0);
  const double seconds = std::ceil(static_cast<double>(left) / bytes_per_second);
  if (left > 0 && seconds < 1e8)
    text += fmt::format("  ETA {}", FormatDuration(std::chrono::seconds(std::llround(seconds))));
  return text;
}

// The first `width` characters, without cutting one in two.
std::string Cut(const std::string& text, size_t width) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80 && ++characters > width)
      return text.substr(0, i);
  }
  return text;
}

}  // namespace

std::string FormatBar(const ProgressState& state, double bytes_per_second, size_t width) {
  std::string label = Printable(state.label);
  if (state.total_bytes <= 0) {
    if (state.done_bytes <= 0) return Cut(label, width);
    return Cut(fmt::format("{}  {}", label, FormatSize(state.done_bytes)), width);
  }
  const std::string figures = Figures(state, bytes_per_second);
  // The figures matter most, then the bar; a long label is cut.
  const size_t around = DisplayWidth(figures) + kBarMin + 4;  // brackets and two spaces
  const size_t room = width > around + kLabelMin ? width - around : kLabelMin;
  if (DisplayWidth(label) > room) label = Cut(label, room - 3) + "...";
  const size_t used = DisplayWidth(label) + DisplayWidth(figures) + 4;
  if (used + kBarMin > width) return Cut(fmt::format("{} {}", label, figures), width);
  const size_t length = std::min(width - used, kBarMax);
  const size_t full = length * static_cast<size_t>(Percent(state)) / 100;
  std::string bar(full, '=');
  if (full < length) bar += '>';
  bar.resize(length, ' ');
  return fmt::format("{} [{}] {}", label, bar, figures);
}

std::string FormatLine(const ProgressState& state) {
  const std::string label = Printable(state.label);
  if (state.total_bytes > 0) {
    return fmt::format("{}: {}% ({} of {})", label, Percent(state), FormatSize(state.done_bytes),
                       FormatSize(state.total_bytes));
  }
  return state.done_bytes > 0 ? fmt::format("{}: {}", label, FormatSize(state.done_bytes)) : label;
}

void RateMeter::Add(int64_t done_bytes, Clock::time_point when) {
  const double seconds = std::chrono::duration<double>(when - last_time_).count();
  if (!begun_ || done_bytes < last_bytes_) {
    rate_ = 0;
  } else if (seconds > 0) {
    const double now = static_cast<double>(done_bytes - last_bytes_) / seconds;
    const double weight = 1 - std::exp(-seconds / kSmoothingSeconds);
    rate_ = rate_ == 0 ? now : rate_ + weight * (now - rate_);
  } else {
    return;
  }
  begun_ = true;
  last_bytes_ = done_bytes;
  last_time_ = when;
}

Progress::Progress(bool quiet)
    : mode_(quiet ? Mode::kNone : (isatty(STDERR_FILENO) ? Mode::kBar : Mode::kLines)) {}

Progress::~Progress() { Clear(); }

void Progress::Clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

void Progress::Update(const ProgressState& state) {
  if (mode_ == Mode::kNone) return;
  const auto now = RateMeter::Clock::now();
  if (mode_ == Mode::kBar) DrawBar(state, now);
  if (mode_ == Mode::kLines) WriteLine(state, now);
}

void Progress::DrawBar(const ProgressState& state, RateMeter::Clock::time_point now) {
  const bool complete = state.total_bytes > 0 && state.done_bytes >= state.total_bytes;
  if (last_output_.has_value() && now - *last_output_ < kBarInterval && !complete &&
      state.label == last_label_)
    return;
  rate_.Add(state.done_bytes, now);
  // The last column stays free: some terminals wrap when it is written.
  const std::string bar = FormatBar(state, rate_.bytes_per_second(), TerminalWidth() - 1);
  std::fputs(fmt::format("\r{}\033[K", bar).c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
  last_output_ = now;
  last_label_ = state.label;
}

void Progress::WriteLine(const ProgressState& state, RateMeter::Clock::time_point now) {
  if (last_output_.has_value() && now - *last_output_ < kLineInterval && state.label == last_label_)
    return;
  std::fputs((FormatLine(state) + "\n").c_str(), stderr);
  last_output_ = now;
  last_label_ = state.label;
}

}  // namespace cairn::cairnctl
