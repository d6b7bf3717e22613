#include "lib/catalog/page_token.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "tests/support/matchers.h"
#include "tests/unit/catalog/record_makers.h"

namespace cairn {
namespace {

using testing::HasReasonOf;

TEST(PageTokenTest, ComesBack) {
  uint64_t seed = testing::Seed();
  SCOPED_TRACE("CAIRN_SEED=" + std::to_string(seed));
  testing::RandomRecords random(seed);
  for (int i = 0; i < 1000; ++i) {
    PageKey last{random.Text().substr(0, 300), random.Text().substr(0, 300)};
    std::string token = MakePageToken("binding", last);
    ASSERT_EQ(token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789-_"),
              std::string::npos);
    ASSERT_OK_AND_ASSIGN(PageKey back, ParsePageToken("binding", token));
    ASSERT_EQ(back.key, last.key);
    ASSERT_EQ(back.id, last.id);
  }
}

TEST(PageTokenTest, IsBound) {
  std::string token = MakePageToken("volumes\nstate = A", {"key", "id"});
  EXPECT_OK(ParsePageToken("volumes\nstate = A", token));
  EXPECT_THAT(ParsePageToken("volumes\nstate = B", token), HasReasonOf(Reason::kInvalidPageToken));
  EXPECT_THAT(ParsePageToken("", token), HasReasonOf(Reason::kInvalidPageToken));
}

TEST(PageTokenTest, EveryChangeOfOneCharacterIsFound) {
  std::string token = MakePageToken("binding", {"2026-01-01T00:00:00+00:00", "some-id"});
  for (size_t i = 0; i < token.size(); ++i) {
    for (int c = 0; c < 256; ++c) {
      std::string other = token;
      other[i] = static_cast<char>(c);
      if (other == token) continue;
      ASSERT_THAT(ParsePageToken("binding", other), HasReasonOf(Reason::kInvalidPageToken))
          << i << " " << c;
    }
    ASSERT_THAT(ParsePageToken("binding", token.substr(0, i)),
                HasReasonOf(Reason::kInvalidPageToken));
  }
  for (const char* more : {"=", "==", " ", "\n", "A", "AAAA"}) {
    EXPECT_THAT(ParsePageToken("binding", token + more), HasReasonOf(Reason::kInvalidPageToken));
  }
}

TEST(PageTokenTest, RubbishIsRefused) {
  auto wrap = [](const std::string& json) { return absl::WebSafeBase64Escape(json); };
  for (const std::string& token : {
           std::string("x"),
           std::string("!!!"),
           std::string(100, '\0'),
           wrap(""),
           wrap("null"),
           wrap("[1,2,3]"),
           wrap("{}"),
           wrap(R"({"h":1,"k":2,"i":3})"),
           wrap(R"({"h":"0","k":"a","i":{}})"),
           wrap(R"({"h":{},"k":"a","i":"b"})"),
           wrap(R"({"h":"0","k":{"base64":"?"},"i":"b"})"),
           wrap(std::string(3000, '[')),
           std::string(1 << 20, 'A'),
       }) {
    EXPECT_THAT(ParsePageToken("binding", token), HasReasonOf(Reason::kInvalidPageToken));
  }
}

}  // namespace
}  // namespace cairn
