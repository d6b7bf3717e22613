#include <fmt/format.h>

#include "lib/base/size.h"
#include "lib/image/image_lock.h"
#include "lib/image/qemu_error.h"
#include "lib/image/qemu_map.h"
#include "lib/image/qemu_progress.h"
#include "tests/support/matchers.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {
namespace {

TEST(QemuProgressTest, PiecesOfAnySizeNeverGoBack) {
  const std::string output =
      "    (0.00/100%)\r    (12.50/100%)\r    (12.40/100%)\r    (100.00/100%)\r\n";
  for (size_t piece = 1; piece < output.size(); ++piece) {
    std::vector<int64_t> seen;
    QemuProgress progress(1000, [&](int64_t done, int64_t total) {
      EXPECT_EQ(total, 1000);
      seen.push_back(done);
    });
    for (size_t at = 0; at < output.size(); at += piece) progress.Feed(output.substr(at, piece));
    EXPECT_EQ(seen, (std::vector<int64_t>{0, 125, 1000}));
  }
}

TEST(QemuProgressTest, OtherTextIsNothing) {
  QemuProgress progress(1000, [](int64_t, int64_t) { ADD_FAILURE(); });
  progress.Feed(std::string(1000, '(') + ")" + std::string(1000, 'x') + "(nan/100%)(/100%)(5%)");
  QemuProgress(10, nullptr).Feed("(5.00/100%)");
}

TEST(QemuMapTest, ReadsLinesInPiecesOfAnySize) {
  const std::string output =
      "[{ \"start\": 0, \"length\": 65536, \"depth\": 0, \"present\": true, \"zero\": false, "
      "\"data\": true, \"offset\": 327680},\n"
      "{ \"start\": 65536, \"length\": 65536, \"depth\": 1, \"present\": true, \"zero\": false, "
      "\"data\": true},\n"
      "{ \"start\": 131072, \"length\": 10, \"depth\": 0, \"zero\": true, \"data\": true}]\n";
  for (const size_t piece : {size_t{1}, size_t{7}, output.size()}) {
    std::vector<MapEntry> seen;
    MapReader reader([&](const MapEntry& entry) { seen.push_back(entry); });
    for (size_t at = 0; at < output.size(); at += piece) reader.Feed(output.substr(at, piece));
    ASSERT_OK(reader.Finish());
    ASSERT_EQ(seen.size(), 3u);
    EXPECT_TRUE(seen[0].in_this_file && seen[0].data);
    EXPECT_EQ(seen[0].length, 65536);
    EXPECT_FALSE(seen[1].in_this_file);
    EXPECT_FALSE(seen[2].data);
  }
}

TEST(QemuMapTest, OtherOutputIsAnError) {
  for (const std::string& output :
       {std::string("nonsense\n"), std::string("[{ \"start\": }]\n"), std::string("[{}]\n"),
        std::string("[{\"start\": -5, \"length\": 5}]\n"), std::string(100000, 'x')}) {
    MapReader reader([](const MapEntry&) {});
    reader.Feed(output);
    EXPECT_FALSE(reader.Finish().ok()) << output.substr(0, 40);
  }
  MapReader reader([](const MapEntry&) {});
  reader.Feed("[]\n");
  EXPECT_OK(reader.Finish());
}

// Against sets of clusters.
TEST(CommitMeterTest, CountsWhatTheBaseDoesNotHave) {
  Random random;
  CAIRN_TRACE_SEED(random);
  constexpr int64_t kCluster = 64 * kKiB;
  for (int round = 0; round < 200; ++round) {
    CommitMeter meter(FileFormat::kRaw);
    std::vector<bool> base(100);
    for (size_t i = 0; i < base.size(); ++i) base[i] = random.Between(0, 1) == 1;
    auto add = [&](const std::vector<bool>& set, void (CommitMeter::*take)(const MapEntry&)) {
      for (size_t i = 0; i < set.size();) {
        size_t end = i;
        while (end < set.size() && set[end] == set[i]) ++end;
        (meter.*take)({static_cast<int64_t>(i) * kCluster, static_cast<int64_t>(end - i) * kCluster,
                       true, set[i]});
        i = end;
      }
    };
    add(base, &CommitMeter::AddBase);
    std::vector<bool> layer(120);
    int64_t expected = 0;
    for (size_t i = 0; i < layer.size(); ++i) {
      layer[i] = random.Between(0, 2) == 0;
      if (layer[i] && (i >= base.size() || !base[i])) expected += kCluster;
    }
    add(layer, &CommitMeter::AddLayer);
    EXPECT_EQ(meter.new_bytes(), expected);
  }
}

TEST(QemuErrorTest, TextsBecomeReasons) {
  ProcessSpec spec;
  spec.argv = {"qemu-img"};
  ProcessResult result;
  result.exit_code = 1;
  result.stderr_text = "qemu-img: error while writing at byte 0: No space left on device\n";
  EXPECT_THAT(CheckQemuExit(spec, result), HasReasonOf(Reason::kNoSpace));
  result.stderr_text = "qemu-img: error while reading at byte 0: Input/output error\n";
  EXPECT_THAT(CheckQemuExit(spec, result), HasReasonOf(Reason::kIoError));
  result.stderr_text = "Failed to get \"write\" lock\nIs another process using the image [x]?\n";
  EXPECT_THAT(CheckQemuExit(spec, result), HasReasonOf(Reason::kVolumeInUse));
  EXPECT_TRUE(IsLockedByAnother(Annotate(CheckQemuExit(spec, result), "merging")));
  result.stderr_text = "qemu-img: something else\n";
  EXPECT_THAT(CheckQemuExit(spec, result), HasReasonOf(Reason::kToolFailed));
  result.exit_code = 0;
  EXPECT_OK(CheckQemuExit(spec, result));
}

}  // namespace
}  // namespace cairn::testing
