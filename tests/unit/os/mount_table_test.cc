#include "lib/os/mount_table.h"

#include <gtest/gtest.h>

#include "tests/support/matchers.h"

namespace cairn {
namespace {

TEST(MountTableTest, ParsesTheKernelsForm) {
  auto entries = ParseMountInfo(
      "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
      "36 35 0:45 / /mnt/share rw,noatime shared:1 master:2 - nfs4 10.0.0.1:/srv/a "
      "rw,vers=4.2,addr=10.0.0.1\n");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].mount_point, "/");
  EXPECT_EQ(entries[0].type, "ext4");
  EXPECT_EQ(entries[1].mount_point, "/mnt/share");
  EXPECT_EQ(entries[1].source, "10.0.0.1:/srv/a");
  EXPECT_EQ(entries[1].type, "nfs4");
  EXPECT_EQ(entries[1].options, "rw,vers=4.2,addr=10.0.0.1,rw,noatime");
}

TEST(MountTableTest, UndoesEscapes) {
  auto entries = ParseMountInfo(
      "36 35 0:45 / /mnt/a\\040b\\134c\\011d\\ rw - nfs host:/with\\040space\\0 rw\n");
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].mount_point, "/mnt/a b\\c\td\\");
  EXPECT_EQ(entries[0].source, "host:/with space\\0");
}

TEST(MountTableTest, KeepsAnEmptySource) {
  auto entries = ParseMountInfo("36 35 0:45 / /mnt rw - tmpfs  rw,size=1m\n");
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].source, "");
  EXPECT_EQ(entries[0].options, "rw,size=1m,rw");
}

TEST(MountTableTest, SkipsLinesOfAnotherForm) {
  EXPECT_TRUE(ParseMountInfo("").empty());
  EXPECT_TRUE(ParseMountInfo("\n\n   \n- - -\n").empty());
  EXPECT_TRUE(ParseMountInfo("36 35 0:45 / /mnt rw").empty());
  EXPECT_TRUE(ParseMountInfo("36 35 0:45 / /mnt rw - nfs4 host:/a").empty());
  auto entries = ParseMountInfo("junk\n36 35 0:45 / /mnt rw - nfs4 host:/a rw");
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].options, "rw,rw");
}

TEST(MountTableTest, TheLastMountOnAPointIsTheOneSeen) {
  auto entries = ParseMountInfo(
      "1 0 0:1 / /mnt rw - nfs4 host:/below rw\n"
      "2 0 0:2 / /mnt/x rw - nfs4 host:/x rw\n"
      "3 0 0:3 / /mnt rw - nfs4 host:/above rw\n");
  EXPECT_EQ(FindMount(entries, "/mnt")->source, "host:/above");
  EXPECT_EQ(FindMount(entries, "/mnt/x")->source, "host:/x");
  EXPECT_FALSE(FindMount(entries, "/mn").has_value());
  EXPECT_FALSE(FindMount(entries, "").has_value());
}

TEST(MountTableTest, ReadsTheRealTable) {
  ASSERT_OK_AND_ASSIGN(auto entries, MountTable::Posix()->Read());
  EXPECT_TRUE(FindMount(entries, "/").has_value());
  EXPECT_EQ(FindMount(entries, "/proc")->type, "proc");
}

}  // namespace
}  // namespace cairn
