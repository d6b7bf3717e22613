#include "cairnctl/table.h"

#include <gtest/gtest.h>

namespace cairn::cairnctl {
namespace {

TEST(Table, AlignsItsColumns) {
  Table table({{"NAME"}, {"SIZE", Align::kRight}, {"STATE"}});
  table.AddRow({"a", "1.0 GiB", "AVAILABLE"});
  table.AddRow({"long-name", "512 B", "ERROR"});
  EXPECT_EQ(table.Render(),
            "NAME          SIZE  STATE\n"
            "a          1.0 GiB  AVAILABLE\n"
            "long-name    512 B  ERROR\n");
}

TEST(Table, ShowsEmptyCellsAndCountsCharacters) {
  Table table({{"NAME"}, {"X"}});
  table.AddRow({"größe", "1"});
  table.AddRow({"", "2"});
  table.AddRow({"three"});
  EXPECT_EQ(table.Render(2),
            "  NAME   X\n"
            "  größe  1\n"
            "  -      2\n"
            "  three  -\n");
}

TEST(Table, DoesNotLetTheServerSteerTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[31mb\n\tc\x7f"), "a?[31mb??c?");
}

TEST(Table, NorInItsWiderWays) {
  // C1, among them another way to begin a command; the direction of writing; line separators.
  EXPECT_EQ(Printable("a\u009b31m\u0080\u009f|\u00a0"), "a?31m??|\u00a0");
  EXPECT_EQ(Printable("a\u202eb\u2066c\u200fd\u061ce\u2028f\u2029g"), "a?b?c?d?e?f?g");
  EXPECT_EQ(Printable("größe ☃ 😀"), "größe ☃ 😀");
}

TEST(Table, ShowsWhatIsNoUtf8ByItsBytes) {
  EXPECT_EQ(Printable("caf\xe9 \xc0\x80 \xed\xa0\x80 \xf5"), "caf? ?? ??? ?");
  EXPECT_FALSE(IsUtf8("caf\xe9"));
  EXPECT_FALSE(IsUtf8("\xf0\x9f\x98"));
  EXPECT_TRUE(IsUtf8("größe ☃ 😀"));
}

TEST(FieldList, AlignsValuesAndLeavesOutEmptyOnes) {
  FieldList fields;
  fields.Add("id", "1");
  fields.Add("reason", "");
  fields.Add("active file", "volume-1");
  EXPECT_EQ(fields.Render(),
            "id:           1\n"
            "active file:  volume-1\n");
}

}  // namespace
}  // namespace cairn::cairnctl
