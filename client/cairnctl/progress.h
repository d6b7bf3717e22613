// How far something has come, on stderr: a bar that is drawn over again on a terminal, else a line
// every few seconds. Belongs to one thread.
#ifndef CAIRN_CLIENT_CAIRNCTL_PROGRESS_H_
#define CAIRN_CLIENT_CAIRNCTL_PROGRESS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::cairnctl {

struct ProgressState {
  std::string label;  // what is being done, such as "copying to nfs2:/pool"
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;  // 0: not known, or nothing to count
};

// "copying [=====>    ]  52%  5.2 GiB of 10.0 GiB  110.0 MiB/s  ETA 44s", at most `width`
// characters wide; the bar is left out when there is no room. Without a total: the label and what
// is done.
std::string FormatBar(const ProgressState& state, double bytes_per_second, size_t width);

// "copying: 52% (5.2 GiB of 10.0 GiB)".
std::string FormatLine(const ProgressState& state);

// Bytes per second, smoothed over some seconds.
class RateMeter {
 public:
  using Clock = std::chrono::steady_clock;
  // How far it had come then. A step back begins the measuring again.
  void Add(int64_t done_bytes, Clock::time_point when);
  double bytes_per_second() const { return rate_; }

 private:
  bool begun_ = false;
  int64_t last_bytes_ = 0;
  Clock::time_point last_time_;
  double rate_ = 0;
};

class Progress {
 public:
  enum class Mode { kNone, kLines, kBar };
  // A bar if stderr is a terminal, else lines; nothing if `quiet`.
  explicit Progress(bool quiet);
  // Removes the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(const ProgressState& state);
  // Removes the bar, so that something else can be written; the next Update draws it again.
  void Clear();

 private:
  void DrawBar(const ProgressState& state, RateMeter::Clock::time_point now);
  void WriteLine(const ProgressState& state, RateMeter::Clock::time_point now);

  const Mode mode_;
  RateMeter rate_;
  bool drawn_ = false;
  std::string last_label_;
  std::optional<RateMeter::Clock::time_point> last_output_;
};

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_PROGRESS_H_
