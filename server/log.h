// The log: asynchronous, to stderr, one line an event, as text or as JSON.
//
// Events carry named values. In text they follow the message as key=value, in JSON they are
// members. Whatever comes from outside is escaped, so that nobody can forge a line.
//
//   LogEvent(spdlog::level::info, "call", {{"method", name}, {"code", "OK"}});
#ifndef CAIRN_SERVER_LOG_H_
#define CAIRN_SERVER_LOG_H_

#include <spdlog/common.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

using LogField = std::pair<std::string_view, std::string>;

void LogEvent(spdlog::level::level_enum level, std::string_view message,
              const std::vector<LogField>& fields);
bool LogEnabled(spdlog::level::level_enum level);

// Makes the process's log. `level` and `format` are words of the configuration. Starts a thread.
void StartLog(const std::string& level, const std::string& format);
// Writes what is still in memory and ends the thread.
void StopLog();

// The formatter of a line, for tests.
std::unique_ptr<spdlog::formatter> MakeLogFormatter(bool json);

}  // namespace cairn

#endif  // CAIRN_SERVER_LOG_H_
