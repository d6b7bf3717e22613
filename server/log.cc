#include "server/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "absl/time/time.h"
#include "lib/base/json.h"
#include "server/utf8.h"

namespace cairn {
namespace {

// Between the message and each of its fields on the way through spdlog; never in a line.
constexpr char kFieldMark = '\x1f';

std::string Timestamp(std::chrono::system_clock::time_point time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromChrono(time), absl::UTCTimeZone());
}

// Each byte of what could steer a terminal as \xNN.
void AppendEscaped(std::string_view text, std::string* line) {
  while (!text.empty()) {
    const size_t steering = SteeringLength(text);
    for (char c : text.substr(0, steering)) {
      *line += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    if (steering == 0) *line += text[0];
    text.remove_prefix(std::max<size_t>(steering, 1));
  }
}

// The same in JSON, where such a character stands in quoted texts only.
std::string EscapeJson(std::string_view json) {
  std::string result;
  while (!json.empty()) {
    const size_t steering = SteeringLength(json);
    if (steering == 0) {
      result += json[0];
    } else {
      const std::string character(json.substr(0, steering));
      std::string escaped = nlohmann::json(character).dump(-1, ' ', /*ensure_ascii=*/true);
      // JSON itself lets DEL stand.
      result += character == "\x7f" ? "\\u007f" : escaped.substr(1, escaped.size() - 2);
    }
    json.remove_prefix(std::max<size_t>(steering, 1));
  }
  return result;
}

void AppendTextField(std::string_view field, std::string* line) {
  size_t equals = std::min(field.find('='), field.size());
  std::string_view value = field.substr(std::min(equals + 1, field.size()));
  AppendEscaped(field.substr(0, equals), line);
  *line += '=';
  bool bare = !value.empty() && value.find_first_of(" \"=\\") == std::string_view::npos;
  if (bare) return AppendEscaped(value, line);
  std::string quoted = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  AppendEscaped(quoted + "\"", line);
}

template <typename Take>
void ForEachField(std::string_view payload, Take take) {
  while (!payload.empty()) {
    payload.remove_prefix(1);
    size_t end = std::min(payload.find(kFieldMark), payload.size());
    take(payload.substr(0, end));
    payload.remove_prefix(end);
  }
}

class TextFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& msg, spdlog::memory_buf_t& dest) override {
    std::string_view payload(msg.payload.data(), msg.payload.size());
    size_t end = std::min(payload.find(kFieldMark), payload.size());
    auto level = spdlog::level::to_string_view(msg.level);
    std::string line =
        fmt::format("{} {} ", Timestamp(msg.time), std::string_view(level.data(), level.size()));
    AppendEscaped(payload.substr(0, end), &line);
    ForEachField(payload.substr(end), [&](std::string_view field) {
      line += ' ';
      AppendTextField(field, &line);
    });
    line += '\n';
    dest.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>();
  }
};

class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& msg, spdlog::memory_buf_t& dest) override {
    std::string_view payload(msg.payload.data(), msg.payload.size());
    size_t end = std::min(payload.find(kFieldMark), payload.size());
    auto level = spdlog::level::to_string_view(msg.level);
    nlohmann::ordered_json line = {{"time", Timestamp(msg.time)},
                                   {"level", std::string(level.data(), level.size())},
                                   {"message", std::string(payload.substr(0, end))}};
    ForEachField(payload.substr(end), [&](std::string_view field) {
      size_t equals = std::min(field.find('='), field.size());
      line[std::string(field.substr(0, equals))] =
          std::string(field.substr(std::min(equals + 1, field.size())));
    });
    std::string text =
        EscapeJson(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) +
        "\n";
    dest.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

}  // namespace

void LogEvent(spdlog::level::level_enum level, std::string_view message,
              const std::vector<LogField>& fields) {
  if (!LogEnabled(level)) return;
  std::string payload(message);
  for (const auto& [key, value] : fields) {
    payload += kFieldMark;
    payload += key;
    payload += '=';
    for (char c : value) payload += c == kFieldMark ? '?' : c;
  }
  spdlog::default_logger_raw()->log(level, spdlog::string_view_t(payload.data(), payload.size()));
}

bool LogEnabled(spdlog::level::level_enum level) {
  return spdlog::default_logger_raw()->should_log(level);
}

void StartLog(const std::string& level, const std::string& format) {
  constexpr size_t kQueueMax = 8192;
  spdlog::init_thread_pool(kQueueMax, 1);
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  sink->set_formatter(MakeLogFormatter(format == "json"));
  // A slow reader of stderr costs old lines, never a stalled server.
  auto logger =
      std::make_shared<spdlog::async_logger>("cairnd", std::move(sink), spdlog::thread_pool(),
                                             spdlog::async_overflow_policy::overrun_oldest);
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

void StopLog() {
  // Not spdlog::shutdown(), which leaves no logger at all to whoever logs once more.
  spdlog::details::registry::instance().set_tp(nullptr);
}

std::unique_ptr<spdlog::formatter> MakeLogFormatter(bool json) {
  if (json) return std::make_unique<JsonFormatter>();
  return std::make_unique<TextFormatter>();
}

}  // namespace cairn
