#include "lib/chain/info_map.h"

#include <gtest/gtest.h>

#include <random>

#include "lib/base/id.h"
#include "tests/support/matchers.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using testing::StatusIs;

constexpr char kId[] = "b3950000-0000-4000-8000-000000000001";
constexpr char kFile[] = "volume-b3950000-0000-4000-8000-000000000001";

TEST(InfoMapTest, Names) {
  EXPECT_EQ(BaseFileName(kId), kFile);
  EXPECT_EQ(LayerFileName(kId, "s"), std::string(kFile) + ".s");
  EXPECT_EQ(InfoFileName(kId), std::string(kFile) + ".info");
}

// The lists of the driver's own suite (backing names, without the ways to lead elsewhere).
TEST(InfoMapTest, NamesOfAChain) {
  const std::string v = kFile;
  for (const std::string& name :
       {v, v + ".404f", v + ".404f-404", v + ".tmp-snap-404f-404", v + ".ABCDEF"}) {
    EXPECT_TRUE(IsChainFileName(kId, name)) << name;
  }
  for (const std::string& name : {std::string(),
                                  std::string("other"),
                                  "/" + v,
                                  "./" + v,
                                  "/base/cb2016/" + v,
                                  v + ".info",
                                  v + "-suffix",
                                  v + ".zzz",
                                  v + ".",
                                  v + ".404f\n",
                                  v + "\n",
                                  v + ".404f/..",
                                  v + ".tmp-snap-",
                                  v + ".snap-404f",
                                  v + "x",
                                  v + ".404f.404f",
                                  v + std::string("\0", 1),
                                  v + "." + std::string(65, 'a'),
                                  "json:" + v,
                                  v.substr(0, v.size() - 1),
                                  std::string("VOLUME-") + kId}) {
    EXPECT_FALSE(IsChainFileName(kId, name)) << name;
  }
}

TEST(InfoMapTest, IsWrittenAsTheOtherSystemWritesIt) {
  const std::string v = kFile;
  InfoMap map{v + ".73cdd2fb",
              {{"73cdd2fb", v + ".73cdd2fb"}, {"ad", v + ".ad"}, {"ab", v + ".ab"}}};
  // "active" stands after "ab" and before "ad".
  EXPECT_EQ(FormatInfoMap(map), "{\n \"73cdd2fb\": \"" + v + ".73cdd2fb\",\n \"ab\": \"" + v +
                                    ".ab\",\n \"active\": \"" + v + ".73cdd2fb\",\n \"ad\": \"" +
                                    v + ".ad\"\n}");
  EXPECT_EQ(FormatInfoMap({v, {}}), "{\n \"active\": \"" + v + "\"\n}");
}

TEST(InfoMapTest, WhatIsWrittenIsReadBack) {
  std::mt19937_64 random(testing::TestSeed());
  for (int i = 0; i < 200; ++i) {
    InfoMap map;
    map.active = BaseFileName(kId);
    for (uint64_t n = random() % 20; n > 0; --n) {
      const std::string id = NewId();
      // After deletions in use, names do not match the ids.
      map.layers[id] = LayerFileName(kId, random() % 4 == 0 ? NewId() : id);
      if (random() % 2 == 0) map.active = map.layers[id];
    }
    ASSERT_OK_AND_ASSIGN(InfoMap read, ParseInfoMap(kId, FormatInfoMap(map)));
    EXPECT_EQ(read, map);
  }
}

TEST(InfoMapTest, AnythingElseIsCorrupt) {
  const std::string v = kFile;
  for (const std::string& text : {std::string(),
                                  std::string(" "),
                                  std::string("{}"),
                                  std::string("[]"),
                                  std::string("null"),
                                  std::string("\"active\""),
                                  std::string("{\"active\""),
                                  std::string("{\"active\": null}"),
                                  std::string("{\"active\": 1}"),
                                  std::string("{\"active\": \"\"}"),
                                  std::string("{\"active\": \"/etc/passwd\"}"),
                                  "{\"active\": \"" + v + ".info\"}",
                                  "{\"active\": {\"active\": \"" + v + "\"}}",
                                  "{\"s\": \"" + v + ".5\"}",
                                  "{\"active\": \"" + v + "\", \"s\": 5}",
                                  "{\"active\": \"" + v + "\"} x",
                                  "{\"active\": \"" + v + "\", \"s\": \"../" + v + "\"}",
                                  std::string("\xff\xfe{}"),
                                  std::string(100000, '['),
                                  std::string(1 << 20, '\0')}) {
    EXPECT_THAT(ParseInfoMap(kId, text), HasReasonOf(Reason::kMapCorrupt)) << text.substr(0, 80);
  }
}

// Random damage to a good map never does worse than an error.
TEST(InfoMapTest, DamagedTextIsAnErrorOrAnotherMap) {
  std::mt19937_64 random(testing::TestSeed());
  const std::string good = FormatInfoMap({kFile, {{NewId(), LayerFileName(kId, NewId())}}});
  for (int i = 0; i < 5000; ++i) {
    std::string text = good;
    for (uint64_t n = 1 + random() % 3; n > 0; --n) {
      text[random() % text.size()] = static_cast<char>(random());
    }
    text.resize(random() % 8 == 0 ? random() % text.size() : text.size());
    auto map = ParseInfoMap(kId, text);
    if (!map.ok()) {
      EXPECT_THAT(map, HasReasonOf(Reason::kMapCorrupt));
      continue;
    }
    EXPECT_TRUE(IsChainFileName(kId, map->active));
    for (const auto& [id, file] : map->layers) EXPECT_TRUE(IsChainFileName(kId, file));
  }
}

TEST(InfoMapTest, AFileThatIsNotThereIsNoMap) {
  testing::TempDir dir;
  ASSERT_OK_AND_ASSIGN(auto none, ReadInfoMap(*FileSystem::Posix(), dir.path(), kId));
  EXPECT_FALSE(none.has_value());
  testing::WriteFile(dir.File(InfoFileName(kId)), "");
  EXPECT_THAT(ReadInfoMap(*FileSystem::Posix(), dir.path(), kId), HasReasonOf(Reason::kMapCorrupt));
  testing::WriteFile(dir.File(InfoFileName(kId)), FormatInfoMap({kFile, {}}));
  ASSERT_OK_AND_ASSIGN(auto map, ReadInfoMap(*FileSystem::Posix(), dir.path(), kId));
  EXPECT_EQ(map, (InfoMap{kFile, {}}));
  testing::WriteFile(dir.File(InfoFileName(kId)), std::string(5 << 20, ' '));
  EXPECT_THAT(ReadInfoMap(*FileSystem::Posix(), dir.path(), kId),
              StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace cairn
