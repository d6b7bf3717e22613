#include "cairnctl/update.h"

#include <gtest/gtest.h>

#include "cairn/client/errors.h"
#include "tests/client/faulty_server.h"

namespace cairn::cairnctl {
namespace {

v1::Volume Labelled(int64_t revision) {
  v1::Volume volume;
  volume.set_revision(revision);
  (*volume.mutable_labels())["keep"] = "1";
  (*volume.mutable_labels())["drop"] = "2";
  return volume;
}

absl::StatusOr<client::PendingOperation> Done() {
  return client::PendingOperation(nullptr, v1::Operation());
}

TEST(UpdateRecord, KeepsTheOtherLabelsAndWhatOthersChange) {
  UpdateArgs args;
  args.labels = {"new=a=b"};
  args.remove_labels = {"drop"};
  int reads = 0;
  v1::UpdateVolumeRequest sent;
  const auto result = UpdateRecord(
      args, v1::UpdateVolumeRequest(),
      [&]() -> absl::StatusOr<v1::Volume> { return Labelled(++reads); },
      [&](const v1::UpdateVolumeRequest& request) -> absl::StatusOr<client::PendingOperation> {
        sent = request;
        if (reads < 3) {
          return client::StatusFromGrpc(
              client::testing::Fault(grpc::StatusCode::ABORTED, "REVISION_MISMATCH"));
        }
        return Done();
      });
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(sent.expected_revision(), 3);
  EXPECT_EQ(sent.labels().size(), 2u);
  EXPECT_EQ(sent.labels().at("keep"), "1");
  EXPECT_EQ(sent.labels().at("new"), "a=b");
  ASSERT_EQ(sent.update_mask().paths_size(), 1);
  EXPECT_EQ(sent.update_mask().paths(0), "labels");
}

TEST(UpdateRecord, ANameAloneNeedsNoReading) {
  UpdateArgs args;
  args.name = "";
  v1::UpdateVolumeRequest sent;
  const auto result = UpdateRecord(
      args, v1::UpdateVolumeRequest(),
      []() -> absl::StatusOr<v1::Volume> { return absl::InternalError("read"); },
      [&](const v1::UpdateVolumeRequest& request) {
        sent = request;
        return Done();
      });
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(sent.update_mask().paths(0), "name");
  EXPECT_EQ(sent.expected_revision(), 0);
}

TEST(UpdateRecord, NothingToChangeIsAMistake) {
  const auto result = UpdateRecord(
      UpdateArgs(), v1::UpdateVolumeRequest(),
      []() -> absl::StatusOr<v1::Volume> { return v1::Volume(); },
      [](const v1::UpdateVolumeRequest&) { return Done(); });
  EXPECT_TRUE(absl::IsInvalidArgument(result.status()));
}

}  // namespace
}  // namespace cairn::cairnctl
