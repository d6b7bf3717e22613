#include "lib/catalog/query.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/matchers.h"
#include "tests/unit/catalog/record_makers.h"

namespace cairn {
namespace {

using testing::HasReasonOf;

const std::vector<std::string_view> kFields = {"state", "name", "share", "labels"};
const std::map<std::string, std::string, std::less<>> kRecord = {
    {"state", "AVAILABLE"},  {"name", "web-\"1\"\\x"}, {"share", "nfs1:/srv/cairn"},
    {"labels.tier", "gold"}, {"labels.empty", ""},     {"labels.app.io/part-of", "shop"},
};

std::optional<std::string> ValueOf(std::string_view field) {
  auto it = kRecord.find(field);
  if (it == kRecord.end()) return std::nullopt;
  return it->second;
}

bool Matches(std::string_view text) {
  auto filter = Filter::Parse(text, kFields);
  EXPECT_OK(filter) << text;
  return filter.ok() && filter->Matches(ValueOf);
}

TEST(FilterTest, Matches) {
  for (const char* text : {
           "",
           "  \t\n",
           "state = AVAILABLE",
           "state=AVAILABLE",
           "state=\"AVAILABLE\"",
           "  state   =   AVAILABLE  ",
           "state != ERROR",
           "state!=ERROR AND name:web-",
           "share = nfs1:/srv/cairn",
           "share : \"nfs1:\"",
           R"(name = "web-\"1\"\\x")",
           "name : \"\"",
           "name : *",
           "labels.tier = gold AND labels.tier : go AND labels.tier : *",
           "labels.app.io/part-of = shop",
           "labels.none != gold",
           "labels.empty : *",
           "labels.empty = \"\"",
           "labels.tier != \"AND\"",
           "state = AVAILABLE\nAND\nname : web-",
       }) {
    EXPECT_TRUE(Matches(text)) << text;
  }
  for (const char* text : {
           "state = available",
           "state = AVAILABLE AND state = ERROR",
           "state != AVAILABLE",
           "name : WEB",
           "name : web-and-much-longer-than-the-name-is",
           "labels.none = \"\"",
           "labels.none : \"\"",
           "labels.none : *",
           "labels.tier : \"*\"",
           "labels.Tier = gold",
       }) {
    EXPECT_FALSE(Matches(text)) << text;
  }
}

TEST(FilterTest, ErrorsSayWhere) {
  struct Case {
    const char* text;
    const char* position;
  };
  for (const auto& [text, position] : {
           Case{"colour = red", "1"},
           Case{"state", "6"},
           Case{"state = ", "9"},
           Case{"state AVAILABLE", "7"},
           Case{"state == AVAILABLE", "8"},
           Case{"state = A OR state = B", "11"},
           Case{"state = A state = B", "11"},
           Case{"state = A AND", "14"},
           Case{"state = A AND AND name = b", "15"},
           Case{"AND state = A", "1"},
           Case{"NOT state = A", "1"},
           Case{"state = AND", "9"},
           Case{"state = A ANDname = b", "11"},
           Case{"(state = A)", "1"},
           Case{"state = (A)", "9"},
           Case{"state < A", "7"},
           Case{"name = \"open", "8"},
           Case{"name = \"open\\\"", "8"},
           Case{"name = \"bad\\n\"", "14"},
           Case{"name = \"a\"b", "11"},
           Case{"name = 'a'", "8"},
           Case{"name = web-*", "8"},
           Case{"name = *", "8"},
           Case{"name != *", "9"},
           Case{"labels = gold", "1"},
           Case{"labels : tier", "1"},
           Case{"labels. = gold", "1"},
           Case{"= A", "1"},
           Case{"\xFF = A", "1"},
       }) {
    auto filter = Filter::Parse(text, kFields);
    ASSERT_THAT(filter, HasReasonOf(Reason::kInvalidFilter)) << text;
    EXPECT_EQ(GetErrorDetails(filter.status())->metadata.at("position"), position)
        << text << ": " << Describe(filter.status());
  }
}

TEST(FilterTest, LabelsOnlyWhereTheyExist) {
  EXPECT_THAT(Filter::Parse("labels.a = b", {"state"}), HasReasonOf(Reason::kInvalidFilter));
  EXPECT_OK(Filter::Parse("labels.a = b", {"labels"}));
}

TEST(FilterTest, LengthIsBounded) {
  std::string text = "name = \"" + std::string(10'000, 'x') + "\"";
  EXPECT_THAT(Filter::Parse(text, kFields), HasReasonOf(Reason::kInvalidFilter));
}

TEST(FilterTest, EqualTo) {
  ASSERT_OK_AND_ASSIGN(Filter filter,
                       Filter::Parse("state != A AND name = b AND share : c", kFields));
  EXPECT_EQ(filter.EqualTo("name"), "b");
  EXPECT_EQ(filter.EqualTo("state"), std::nullopt);
  EXPECT_EQ(filter.EqualTo("share"), std::nullopt);
}

// Any text whatever is parsed or refused as INVALID_FILTER; it never crashes (sanitizers watch).
TEST(FilterTest, RandomTexts) {
  uint64_t seed = testing::Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  testing::RandomRecords random(seed);
  const char* kPieces[] = {"state", "labels.", "a", "=",  "!=", ":",  "\"", "\\", "\\\"", " ",
                           "AND",   "OR",      "*", "\n", "(",  "\0", "!",  ".",  "\xC3", "name"};
  int parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (int64_t length = random.Below(12); length > 0; --length) {
      text += random.Below(10) == 0 ? std::string(1, static_cast<char>(random.Below(256)))
                                    : kPieces[random.Below(std::size(kPieces))];
    }
    auto filter = Filter::Parse(text, kFields);
    if (filter.ok()) {
      ++parsed;
      filter->Matches(ValueOf);
    } else {
      ASSERT_THAT(filter, HasReasonOf(Reason::kInvalidFilter)) << text;
    }
  }
  EXPECT_GT(parsed, 0);
}

}  // namespace
}  // namespace cairn
