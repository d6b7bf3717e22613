// The time that --timeout gives to a whole command, whatever it does meanwhile.
//
// What can be told to stop is told by the token. What cannot, such as a read from a pipe that
// nobody fills, is ended with the process a little later. Thread-safe.
#ifndef CAIRN_CLIENT_CAIRNCTL_TIME_LIMIT_H_
#define CAIRN_CLIENT_CAIRNCTL_TIME_LIMIT_H_

#include <atomic>
#include <chrono>
#include <functional>
#include <stop_token>
#include <thread>

#include "absl/status/status.h"

namespace cairn::cairnctl {

class TimeLimit {
 public:
  // `left`: from now on. `stop` stops as well.
  TimeLimit(std::stop_token stop, std::chrono::milliseconds left);
  // There is nothing to limit any more.
  ~TimeLimit();
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  bool over() const { return over_.load(); }
  // What a command ends with when its time is over.
  static absl::Status Error();

 private:
  struct RequestStop {
    std::stop_source source;
    void operator()() const { std::stop_source(source).request_stop(); }
  };

  void Run(const std::stop_token& ended, std::chrono::milliseconds left);

  std::stop_source source_;
  std::stop_callback<RequestStop> forward_;
  std::atomic<bool> over_{false};
  std::jthread thread_;
};

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_TIME_LIMIT_H_
