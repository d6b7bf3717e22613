#include "lib/catalog/record_json.h"

#include <gtest/gtest.h>

#include "lib/base/json.h"
#include "lib/catalog/text_json.h"
#include "tests/support/matchers.h"
#include "tests/unit/catalog/record_makers.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using testing::RandomRecords;
using testing::SameRecord;

TEST(RecordJsonTest, RandomRecordsComeBackEqual) {
  uint64_t seed = testing::Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  RandomRecords random(seed);
  for (int i = 0; i < 500; ++i) {
    VolumeRecord volume = random.Volume(random.Text());
    ASSERT_OK_AND_ASSIGN(VolumeRecord volume_back, VolumeFromJson(RecordToJson(volume)));
    ASSERT_TRUE(SameRecord(volume, volume_back)) << RecordToJson(volume);

    SnapshotRecord snapshot = random.Snapshot(random.Text());
    ASSERT_OK_AND_ASSIGN(SnapshotRecord snapshot_back, SnapshotFromJson(RecordToJson(snapshot)));
    ASSERT_TRUE(SameRecord(snapshot, snapshot_back)) << RecordToJson(snapshot);

    OperationRecord operation = random.Operation(random.Text());
    ASSERT_OK_AND_ASSIGN(OperationRecord operation_back,
                         OperationFromJson(RecordToJson(operation)));
    ASSERT_TRUE(SameRecord(operation, operation_back)) << RecordToJson(operation);

    ShareRecord share = random.Share(random.Text());
    ASSERT_OK_AND_ASSIGN(ShareRecord share_back, ShareFromJson(RecordToJson(share)));
    ASSERT_TRUE(SameRecord(share, share_back)) << RecordToJson(share);
  }
}

TEST(RecordJsonTest, ErrorKeepsCodeReasonAndMetadata) {
  OperationRecord operation = testing::MakeOperation("o", "v");
  operation.error = Error(Reason::kNoSpace, "no space", {{"requested", "5"}, {"available", "3"}});
  ASSERT_OK_AND_ASSIGN(OperationRecord back, OperationFromJson(RecordToJson(operation)));
  EXPECT_EQ(back.error, operation.error);
  EXPECT_EQ(GetErrorDetails(back.error)->metadata.at("available"), "3");
}

// Each field that is missing, or of another type, is found and named.
template <typename Decode>
void ExpectEveryFieldIsRequired(const std::string& text, const Decode& decode) {
  ASSERT_OK_AND_ASSIGN(nlohmann::json whole, ParseJson("record", text));
  for (const auto& [key, value] : whole.items()) {
    nlohmann::json without = whole;
    without.erase(key);
    auto missing = decode(DumpJson(without));
    EXPECT_THAT(missing, HasReasonOf(Reason::kIoError)) << key;
    EXPECT_NE(Describe(missing.status()).find(key), std::string::npos) << key;
    nlohmann::json other = whole;
    other[key] = 1.5;
    EXPECT_THAT(decode(DumpJson(other)), HasReasonOf(Reason::kIoError)) << key;
  }
}

TEST(RecordJsonTest, EveryFieldIsRequired) {
  ExpectEveryFieldIsRequired(RecordToJson(testing::MakeVolume("v")), VolumeFromJson);
  ExpectEveryFieldIsRequired(RecordToJson(testing::MakeSnapshot("s", "v")), SnapshotFromJson);
  OperationRecord operation = testing::MakeOperation("o", "v");
  operation.error = Error(Reason::kInternal, "x");
  ExpectEveryFieldIsRequired(RecordToJson(operation), OperationFromJson);
  ExpectEveryFieldIsRequired(RecordToJson(testing::MakeShare("s")), ShareFromJson);
}

TEST(RecordJsonTest, WhatIsNoRecordIsRefused) {
  for (const char* text : {"", "{", "null", "[]", "7", "\"text\"", "{}", "\xFF"}) {
    EXPECT_THAT(VolumeFromJson(text), HasReasonOf(Reason::kIoError)) << text;
    EXPECT_THAT(SnapshotFromJson(text), HasReasonOf(Reason::kIoError)) << text;
    EXPECT_THAT(OperationFromJson(text), HasReasonOf(Reason::kIoError)) << text;
    EXPECT_THAT(ShareFromJson(text), HasReasonOf(Reason::kIoError)) << text;
  }
}

TEST(RecordJsonTest, UnknownNamesAndNumbersThatDoNotFitAreRefused) {
  ASSERT_OK_AND_ASSIGN(nlohmann::json whole,
                       ParseJson("record", RecordToJson(testing::MakeVolume("v"))));
  for (const char* key : {"state", "format", "base_format"}) {
    nlohmann::json other = whole;
    other[key] = "SOMETHING_NEW";
    EXPECT_THAT(VolumeFromJson(DumpJson(other)), HasReasonOf(Reason::kIoError)) << key;
  }
  whole["size_bytes"] = uint64_t{1} << 63;
  EXPECT_THAT(VolumeFromJson(DumpJson(whole)), HasReasonOf(Reason::kIoError));
}

TEST(TextJsonTest, Utf8IsRecognised) {
  for (const char* good : {"", "a", "\u00e9", "\u65e5\u672c", "\xF0\x9F\x92\xBE", "\xED\x9F\xBF",
                           "\xEE\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  // Cut short, overlong, a surrogate, too high, never a first byte.
  for (const char* bad : {"\xC3", "\xE6\x97", "\xF0\x9F\x92", "\xC0\xAF", "\xC1\xBF",
                          "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                          "\xF5\x80\x80\x80", "\x80", "\xFF", "a\xE9z"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

TEST(TextJsonTest, EveryPairOfBytesComesBack) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      std::string text{static_cast<char>(first), static_cast<char>(second)};
      ASSERT_OK_AND_ASSIGN(auto json, ParseJson("text", DumpJson(TextToJson(text))));
      ASSERT_EQ(TextFromJson(json), text);
    }
  }
}

}  // namespace
}  // namespace cairn
