#include "lib/base/format.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

TEST(FormatTest, FileFormatsAreNamedAsInQemu) {
  EXPECT_EQ(FileFormatName(FileFormat::kRaw), "raw");
  EXPECT_EQ(FileFormatName(FileFormat::kQcow2), "qcow2");
  for (FileFormat format : {FileFormat::kRaw, FileFormat::kQcow2}) {
    EXPECT_EQ(FileFormatFromName(FileFormatName(format)), format);
  }
  EXPECT_EQ(FileFormatFromName("vmdk"), std::nullopt);
  EXPECT_EQ(FileFormatFromName("RAW"), std::nullopt);
  EXPECT_EQ(FileFormatFromName(""), std::nullopt);
}

TEST(FormatTest, VolumeFormatsRoundTripAndHaveABaseFile) {
  for (VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    EXPECT_EQ(VolumeFormatFromName(VolumeFormatName(format)), format);
  }
  EXPECT_EQ(VolumeFormatFromName("qcow2"), std::nullopt);
  EXPECT_EQ(BaseFileFormat(VolumeFormat::kQcow2), FileFormat::kQcow2);
  EXPECT_EQ(BaseFileFormat(VolumeFormat::kRawSparse), FileFormat::kRaw);
  EXPECT_EQ(BaseFileFormat(VolumeFormat::kRawThick), FileFormat::kRaw);
}

}  // namespace
}  // namespace cairn
