// The plans for volumes in use: what is made before the machine is asked, and what follows it.
#include "lib/chain/live_plans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/size.h"
#include "tests/unit/chain/chains_of_tests.h"

namespace cairn {
namespace {

using ::testing::ElementsAre;
using testing::MakeView;
using testing::Words;

TEST(LivePlansTest, ASnapshotIsALayerAndAPreparedMapThenTheSwitchThenTheMap) {
  Plan plan = PlanCreateSnapshots({{MakeView({"S1"}), "S2", "att"}}, /*quiesce=*/true, "op");
  EXPECT_THAT(Words(plan.steps),
              ElementsAre("asking the hypervisor of attachment att what it has open",
                          "creating volume-v.S2 (QCOW2, 4 KiB)",
                          "preparing the map volume-v.info active=volume-v.S2 S1 S2",
                          "the hypervisor switches from volume-v.S1 to volume-v.S2",
                          "writing the map volume-v.info active=volume-v.S2 S1 S2"));
  EXPECT_EQ(plan.no_return, 3u);
  EXPECT_TRUE(IsPrepared(plan, 4));
  EXPECT_THAT(Words(plan.undo), ElementsAre("removing .volume-v.info.tmp-op, volume-v.S2"));
  const auto& change = std::get<ChangeDisksStep>(plan.steps[3]);
  EXPECT_TRUE(std::get<LayerSwitch>(change.instructions[0].change).quiesce);
  EXPECT_THAT(std::get<CheckDiskStep>(plan.steps[0]).files, ElementsAre("volume-v.S1", "volume-v"));
}

TEST(LivePlansTest, AGroupIsSwitchedAtOnceAndWhatIsNotInUseOnlyGetsItsLayer) {
  ChainView other = MakeView({});
  other.volume_id = "w";
  ChainView third = MakeView({});
  third.volume_id = "x";
  Plan plan = PlanCreateSnapshots(
      {{MakeView({}), "S1", "a"}, {other, "S1", "b"}, {third, "S1", ""}}, false, "op");
  size_t switches = 0;
  for (const Step& step : plan.steps) {
    if (const auto* change = std::get_if<ChangeDisksStep>(&step)) {
      ++switches;
      EXPECT_EQ(change->instructions.size(), 2u);
    }
  }
  EXPECT_EQ(switches, 1u);
  EXPECT_EQ(plan.no_return, 8u);  // two questions, three layers, three prepared maps
  EXPECT_EQ(plan.steps.size(), 12u);
}

// Two maps cannot be written at one instant: what could fail for want of room comes first, so that the
// rest is never undone.
TEST(LivePlansTest, AGroupThatIsNotInUsePreparesItsMapsBeforeThePointOfNoReturn) {
  ChainView other = MakeView({"S7"});
  other.volume_id = "w";
  Plan plan = PlanCreateSnapshots({{MakeView({}), "S1", ""}, {other, "S2", ""}}, false, "op");
  EXPECT_EQ(plan.no_return, 4u);
  ASSERT_EQ(plan.steps.size(), 6u);
  EXPECT_TRUE(IsPrepared(plan, 4));
  EXPECT_TRUE(IsPrepared(plan, 5));
  EXPECT_THAT(Words(plan.undo), ElementsAre("removing .volume-v.info.tmp-op, volume-v.S1",
                                            "removing .volume-w.info.tmp-op, volume-w.S2"));
}

TEST(LivePlansTest, AMiddleSnapshotIsMergedDownByTheMachine) {
  Plan plan = PlanDeleteSnapshotInUse(MakeView({"S1", "S2", "S3"}), "S2", "att", "fresh", true);
  EXPECT_THAT(Words(plan.steps),
              ElementsAre("asking the hypervisor of attachment att what it has open",
                          "the hypervisor merges volume-v.S2 into volume-v.S1",
                          "writing the map volume-v.info active=volume-v.S3 S1 S3",
                          "removing volume-v.S2"));
  EXPECT_EQ(plan.no_return, 1u);
  const auto& change = std::get<ChangeDisksStep>(plan.steps[1]);
  EXPECT_EQ(std::get<LayerMerge>(change.instructions[0].change),
            (LayerMerge{MergeDirection::kCommit, "volume-v.S2", "volume-v.S1", "volume-v.S3",
                        "volume-v.S1", FileFormat::kQcow2, FileFormat::kQcow2}));
}

// The active layer is never committed: a fresh one is put on top first.
TEST(LivePlansTest, TheNewestSnapshotIsMergedDownUnderAFreshLayer) {
  Plan plan = PlanDeleteSnapshotInUse(MakeView({"S1"}), "S1", "att", "volume-v.f", false);
  EXPECT_THAT(
      Words(plan.steps),
      ElementsAre("asking the hypervisor of attachment att what it has open",
                  "creating volume-v.f (QCOW2, 4 KiB)",
                  "the hypervisor switches from volume-v.S1 to volume-v.f",
                  "writing the map volume-v.info active=volume-v.f S1",
                  "the hypervisor merges volume-v.S1 into volume-v",
                  "writing the map volume-v.info active=volume-v.f", "removing volume-v.S1"));
  EXPECT_EQ(plan.no_return, 2u);
  EXPECT_THAT(Words(plan.undo), ElementsAre("removing volume-v.f"));
}

// Cinder's way, where the file below holds clearly less.
TEST(LivePlansTest, AnAlmostEmptyFileBelowIsMergedUp) {
  ChainView view = MakeView({"S1", "S2"});
  view.chain[1].image.physical_bytes = 10;
  Plan plan = PlanDeleteSnapshotInUse(view, "S2", "att", "fresh", true);
  EXPECT_THAT(
      Words(plan.steps),
      ElementsAre("asking the hypervisor of attachment att what it has open",
                  "the hypervisor merges volume-v.S1 into volume-v.S2",
                  "writing the map volume-v.info active=volume-v.S2 S1", "removing volume-v.S1"));
  const auto& map = std::get<WriteMapStep>(plan.steps[2]).map;
  EXPECT_EQ(map.layers.at("S1"), "volume-v.S2");
  const auto& change = std::get<ChangeDisksStep>(plan.steps[1]);
  EXPECT_EQ(std::get<LayerMerge>(change.instructions[0].change),
            (LayerMerge{MergeDirection::kStream, "volume-v.S2", "volume-v.S1", "volume-v.S2",
                        "volume-v", FileFormat::kRaw, FileFormat::kQcow2}));

  view = MakeView({"S1"});
  view.chain[0].image.physical_bytes = 10;
  plan = PlanDeleteSnapshotInUse(view, "S1", "att", "fresh", true);
  const auto& last = std::get<ChangeDisksStep>(plan.steps[1]);
  EXPECT_EQ(std::get<LayerMerge>(last.instructions[0].change).backing_after, "");
  // Where that is not possible, as with a base that is to stay.
  plan = PlanDeleteSnapshotInUse(view, "S1", "att", "volume-v.f", false);
  EXPECT_EQ(std::get<MakeImageStep>(plan.steps[1]).file, "volume-v.f");
}

// Before anything changes that could not be taken back.
TEST(LivePlansTest, AThickBaseThatIsMergedIntoHasItsSpaceFirst) {
  ChainView view = MakeView({"S1", "S2"});
  for (ChainLink& link : view.chain) link.image.virtual_size = kGiB;
  view.chain[0].image.virtual_size = kMiB;
  Plan plan = PlanDeleteSnapshotInUse(view, "S1", "att", "fresh", false, /*thick=*/true);
  EXPECT_EQ(std::get<GrowImageStep>(plan.steps[1]),
            (GrowImageStep{view.share, "volume-v", VolumeFormat::kRawThick, kGiB}));
  EXPECT_EQ(plan.no_return, 2u);
  EXPECT_EQ(std::get<UngrowImageStep>(plan.undo[0]),
            (UngrowImageStep{view.share, "volume-v", view.chain[0].image.format, kMiB}));
  // It is not touched when the one above it is kept.
  plan = PlanDeleteSnapshotInUse(view, "S2", "att", "fresh", false, /*thick=*/true);
  EXPECT_FALSE(std::holds_alternative<GrowImageStep>(plan.steps[1]));
}

// One layer that no snapshot needs may stay on top, and goes with the next change.
TEST(LivePlansTest, EarlierFreshLayersAreMergedLowestFirst) {
  Plan plan = PlanDeleteSnapshotInUse(MakeView({"a", "S1"}), "S1", "att", "volume-v.b", true);
  EXPECT_THAT(Words(plan.steps),
              ElementsAre("asking the hypervisor of attachment att what it has open",
                          "creating volume-v.b (QCOW2, 4 KiB)",
                          "the hypervisor switches from volume-v.S1 to volume-v.b",
                          "writing the map volume-v.info active=volume-v.b S1",
                          "the hypervisor merges volume-v.a into volume-v",
                          "the hypervisor merges volume-v.S1 into volume-v",
                          "writing the map volume-v.info active=volume-v.b",
                          "removing volume-v.S1, volume-v.a"));
  plan = PlanDeleteSnapshotInUse(MakeView({"S1", "S2", "a"}), "S1", "att", "volume-v.b", true);
  EXPECT_THAT(
      Words(plan.steps),
      ElementsAre("asking the hypervisor of attachment att what it has open",
                  "the hypervisor merges volume-v.S1 into volume-v",
                  "writing the map volume-v.info active=volume-v.a S2", "removing volume-v.S1"));
}

TEST(LivePlansTest, AFreezeLeavesOneLayerOnTopOfWhatIsFrozen) {
  Freeze freeze = PlanFreeze(MakeView({"S1", "a"}), "att", "volume-v.b");
  EXPECT_EQ(freeze.frozen.file, "volume-v.S1");
  EXPECT_THAT(
      Words(freeze.plan.steps),
      ElementsAre("asking the hypervisor of attachment att what it has open",
                  "creating volume-v.b (QCOW2, 4 KiB)",
                  "the hypervisor switches from volume-v.a to volume-v.b",
                  "writing the map volume-v.info active=volume-v.b S1",
                  "the hypervisor merges volume-v.a into volume-v.S1", "removing volume-v.a"));
  EXPECT_EQ(PlanFreeze(MakeView({}), "att", "volume-v.b").frozen.file, "volume-v");
}

TEST(LivePlansTest, AMoveCopiesWhatIsFrozenAndLetsTheMachineCopyTheRest) {
  Plan plan = PlanMigrateInUse(MakeView({"S1"}), "att", false, "other", VolumeFormat::kRawSparse);
  EXPECT_THAT(Words(plan.steps),
              ElementsAre("asking the hypervisor of attachment att what it has open",
                          "ending the copy of the disk in use of volume v",
                          "copying volume-v to volume-v", "creating volume-v.S1 (QCOW2, 4 KiB)",
                          "writing the map volume-v.info active=volume-v.S1 S1",
                          "copying the disk in use of volume v",
                          "the hypervisor moves volume-v.S1 to other",
                          "removing volume-v.info, volume-v.S1, volume-v"));
  EXPECT_EQ(plan.no_return, 6u);
  // A consumer copies and switches in one step.
  plan = PlanMigrateInUse(MakeView({"S1"}), "att", true, "other", VolumeFormat::kRawSparse);
  EXPECT_EQ(plan.no_return, 4u);
  EXPECT_EQ(plan.undo.size(), 1u);
}

}  // namespace
}  // namespace cairn
