// Lines of the log: values beside the message, and nothing that forges a line.
#include "server/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "lib/base/status.h"
#include "server/call.h"

namespace cairn {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class LogTest : public ::testing::TestWithParam<bool> {
 protected:
  LogTest() : before_(spdlog::default_logger()) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(out_);
    sink->set_formatter(MakeLogFormatter(GetParam()));
    auto logger = std::make_shared<spdlog::logger>("test", sink);
    logger->set_level(spdlog::level::debug);
    spdlog::set_default_logger(logger);
  }
  ~LogTest() override { spdlog::set_default_logger(before_); }
  bool json() const { return GetParam(); }

  std::ostringstream out_;
  const std::shared_ptr<spdlog::logger> before_;
};

class EndlessCall : public Call {
 public:
  using Call::Call;
  void SendError(const absl::Status&) override {}
};

TEST_P(LogTest, FieldsStandBesideTheMessage) {
  LogEvent(spdlog::level::info, "it happened", {{"op", "o-1"}, {"volume", "with space"}});
  if (json()) {
    auto line = nlohmann::json::parse(out_.str());
    EXPECT_EQ(line["message"], "it happened");
    EXPECT_EQ(line["level"], "info");
    EXPECT_EQ(line["op"], "o-1");
    EXPECT_EQ(line["volume"], "with space");
    EXPECT_THAT(line["time"].get<std::string>(), MatchesRegex("....-..-..T..:..:..\\.......Z"));
  } else {
    EXPECT_THAT(out_.str(), HasSubstr(" info it happened op=o-1 volume=\"with space\"\n"));
  }
}

TEST_P(LogTest, NobodyForgesALine) {
  LogEvent(spdlog::level::info, "call", {{"name", "x\"\n2026 info forged a=b \x1f c=d"}});
  std::string text = out_.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  if (json()) {
    EXPECT_EQ(nlohmann::json::parse(text)["name"], "x\"\n2026 info forged a=b ? c=d");
  } else {
    EXPECT_THAT(text, HasSubstr("name=\"x\\\"\\x0a2026 info forged a=b ? c=d\"\n"));
  }
}

TEST_P(LogTest, NobodySteersTheTerminalOfWhoReadsIt) {
  // An escape sequence in each of its ways, the direction of writing, a line separator.
  LogEvent(spdlog::level::info, "call", {{"name", "a\x1b[\u009b\x7f\u202e\u2028ö"}});
  const std::string text = out_.str();
  if (json()) {
    EXPECT_THAT(text, HasSubstr(R"("a\u001b[\u009b\u007f\u202e\u2028ö")"));
    EXPECT_EQ(nlohmann::json::parse(text)["name"], "a\x1b[\u009b\x7f\u202e\u2028ö");
  } else {
    EXPECT_THAT(text, HasSubstr(R"(name=a\x1b[\xc2\x9b\x7f\xe2\x80\xae\xe2\x80\xa8ö)"));
  }
}

TEST_P(LogTest, TextThatIsNotUtf8DoesNotStopIt) {
  LogEvent(spdlog::level::info, "m", {{"v", "\xff"}});
  EXPECT_THAT(out_.str(), HasSubstr("m"));
  EXPECT_EQ(out_.str().back(), '\n');
}

TEST_P(LogTest, AChangeIsLoggedOnceWithWhatItIsAbout) {
  auto call = std::make_shared<EndlessCall>(Method{"VolumeService.DeleteVolume", CallKind::kChange},
                                            "ipv4:10.0.0.9:1", MonotonicTime::InfiniteFuture());
  call->Note("volume", "v-1");
  call->Note("request_id", std::string(1000, 'r'));
  EXPECT_TRUE(call->Abort(Error(Reason::kVolumeInUse, "attached", {{"instance", "vm"}})));
  EXPECT_FALSE(call->Abort(absl::OkStatus()));
  std::string text = out_.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  for (const char* part : {"VolumeService.DeleteVolume", "FAILED_PRECONDITION", "VOLUME_IN_USE",
                           "ipv4:10.0.0.9:1", "v-1", "info"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_LT(text.size(), 700u);
}

TEST_P(LogTest, AReadIsLoggedOnlyWhenDebugging) {
  spdlog::set_level(spdlog::level::info);
  auto call = std::make_shared<EndlessCall>(Method{"VolumeService.GetVolume", CallKind::kRead}, "p",
                                            MonotonicTime::InfiniteFuture());
  call->Abort(absl::OkStatus());
  EXPECT_EQ(out_.str(), "");
}

INSTANTIATE_TEST_SUITE_P(Formats, LogTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Json" : "Text"; });

}  // namespace
}  // namespace cairn
