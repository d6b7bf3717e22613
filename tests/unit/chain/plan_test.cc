// Plans as the journal keeps them, and the order of the steps that change chains.
#include "lib/chain/plan.h"

#include <gtest/gtest.h>

#include <random>

#include "lib/base/size.h"
#include "lib/chain/live_plans.h"
#include "tests/support/matchers.h"
#include "tests/support/seed.h"
#include "tests/unit/chain/chains_of_tests.h"

namespace cairn {
namespace {

using ::testing::ElementsAre;
using testing::HasReasonOf;
using testing::Words;

// ---- the journal's form

class PlanMaker {
 public:
  explicit PlanMaker(uint64_t seed) : random_(seed) {}

  Plan Make() {
    Plan plan;
    for (uint64_t n = random_() % 8; n > 0; --n) plan.steps.push_back(MakeStep());
    for (uint64_t n = random_() % 4; n > 0; --n) plan.undo.push_back(MakeStep());
    plan.no_return = random_() % (plan.steps.size() + 1);
    if (random_() % 4 == 0) {
      plan.settled = random_() % 8;
      plan.undo_settled.push_back(MakeStep());
    }
    return plan;
  }

 private:
  Step MakeStep() {
    switch (random_() % std::variant_size_v<Step>) {
      case 0:
        return MakeImageStep{Text(), Text(), Volume(), Size(), Text(), File()};
      case 1:
        return GrowImageStep{Text(), Text(), Volume(), Size()};
      case 2:
        return CopyFileStep{Text(), Text(), Text(), Text(), random_() % 2 == 0};
      case 3:
        return ConvertStep{Text(), Text(), File(), Text(), Text(), Volume(), Size()};
      case 4:
        return CommitStep{Text(), Text(), Text(),
                          random_() % 2 == 0 ? std::nullopt : std::optional<int64_t>(Size())};
      case 5:
        return RepointStep{Text(), Text(), Text(), File(),
                           random_() % 2 == 0 ? std::nullopt : std::optional(Text())};
      case 6:
        return WriteMapStep{
            Text(), Text(), Map(),
            random_() % 2 == 0 ? std::nullopt : std::optional(FormerMap{Text(), {Text()}})};
      case 7:
        return RemoveFilesStep{Text(), {Text(), Text(), Text()}};
      case 8:
        return RenameStep{Text(), Text(), Text()};
      case 9:
        return ReceiveContentStep{Text(), Text(), Volume()};
      case 10:
        return CheckBackingStep{Text(), Text(), Text()};
      case 11:
        return CheckDiskStep{Text(), Text(), Text(), {Text(), Text()}, Size()};
      case 12:
        return CheckClosedStep{Text(), Text(), Text()};
      case 13:
        return ChangeDisksStep{Text(), {Instruction(), Instruction()}};
      case 14:
        return MirrorDiskStep{Text(), {Instruction()}};
      case 15:
        return StopMirrorStep{Text(), {Instruction()}};
      case 16:
        return PrepareMapStep{Text(), Text(), Map()};
      default:
        return UngrowImageStep{Text(), Text(), File(), Size()};
    }
  }
  InfoMap Map() { return {Text(), {{Text(), Text()}, {Text(), Text()}}}; }
  DiskInstruction Instruction() { return {Text(), Text(), Change()}; }
  DiskChange Change() {
    switch (random_() % std::variant_size_v<DiskChange>) {
      case 0:
        return LayerSwitch{Text(), Text(), File(), random_() % 2 == 0};
      case 1:
        return LayerMerge{
            static_cast<MergeDirection>(random_() % 2), Text(), Text(), Text(), Text(), File()};
      case 2:
        return DiskResize{Text(), Size()};
      default:
        return DiskMove{Text(), File(), Text(), random_() % 2 == 0};
    }
  }
  // Also what JSON must escape.
  std::string Text() {
    static constexpr char kAlphabet[] = "ab-./\\\"\n\t{}[]:, \x7f\xc3\xa9";
    std::string text;
    for (uint64_t n = random_() % 12; n > 0; --n) text += kAlphabet[random_() % 17];
    return random_() % 4 == 0 ? text + "\xc3\xa9" : text;
  }
  int64_t Size() { return static_cast<int64_t>(random_() >> (1 + random_() % 62)); }
  VolumeFormat Volume() { return static_cast<VolumeFormat>(random_() % 3); }
  FileFormat File() { return static_cast<FileFormat>(random_() % 2); }

  std::mt19937_64 random_;
};

TEST(PlanJsonTest, WhatIsWrittenIsReadBack) {
  PlanMaker maker(testing::TestSeed());
  for (int i = 0; i < 1000; ++i) {
    const Plan plan = maker.Make();
    const std::string json = PlanToJson(plan);
    ASSERT_OK_AND_ASSIGN(Plan read, PlanFromJson(json));
    ASSERT_EQ(read, plan) << json;
  }
}

// Written before a commit knew how large its layer was: it may be anything.
TEST(PlanJsonTest, ACommitOfAnOlderJournalIsBulk) {
  ASSERT_OK_AND_ASSIGN(Plan plan, PlanFromJson("{\"steps\":[{\"do\":\"commit\",\"share\":\"s\","
                                               "\"layer\":\"l\",\"base\":\"b\"}],\"undo\":[]}"));
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0], Step(CommitStep{"s", "l", "b", std::nullopt}));
  EXPECT_TRUE(IsBulk(plan.steps[0]));
  EXPECT_FALSE(IsBulk(CommitStep{"s", "l", "b", 16 * kMiB}));
  EXPECT_TRUE(IsBulk(CommitStep{"s", "l", "b", 16 * kMiB + 1}));
}

TEST(PlanJsonTest, AnythingElseIsAnErrorAndNotAPlan) {
  for (const char* text : {"", "{}", "[]", "{\"steps\":1,\"undo\":[]}", "{\"steps\":[],\"undo\":1}",
                           "{\"steps\":[{}],\"undo\":[]}", "{\"steps\":[1],\"undo\":[]}",
                           "{\"steps\":[{\"do\":\"explode\"}],\"undo\":[]}",
                           "{\"steps\":[{\"do\":\"commit\",\"share\":5}],\"undo\":[]}"}) {
    EXPECT_FALSE(PlanFromJson(text).ok()) << text;
  }
}

TEST(PlanTest, EveryStepHasAShareAndWordsForIt) {
  PlanMaker maker(testing::TestSeed());
  for (int i = 0; i < 200; ++i) {
    for (const Step& step : maker.Make().steps) {
      EXPECT_FALSE(DescribeStep(step).empty());
      EXPECT_EQ(&ShareOf(step), &ShareOf(step));
    }
  }
}

// ---- the order of the steps

ChainView ThreeSnapshots() { return testing::MakeView({"S1", "S2", "S3"}); }

TEST(LayerPlansTest, ASnapshotIsALayerThenTheMap) {
  Plan plan = PlanCreateSnapshots({{ThreeSnapshots(), "S4", ""}}, false, "op");
  EXPECT_THAT(Words(plan.steps),
              ElementsAre("creating volume-v.S4 (QCOW2, 4 KiB)",
                          "writing the map volume-v.info active=volume-v.S4 S1 S2 S3 S4"));
  EXPECT_EQ(plan.no_return, 2u);
  EXPECT_THAT(Words(plan.undo),
              ElementsAre("writing the map volume-v.info active=volume-v.S3 S1 S2 S3",
                          "removing volume-v.S4"));
  const auto& layer = std::get<MakeImageStep>(plan.steps[0]);
  EXPECT_EQ(layer.backing_file, "volume-v.S3");
  EXPECT_EQ(layer.backing_format, FileFormat::kQcow2);
}

TEST(PlanTest, ADirectoryIsSyncedOnceForALayerAndItsMap) {
  Plan plan;
  plan.steps = {MakeImageStep{.share = "s", .file = "a", .backing_file = {}},
                WriteMapStep{.share = "s", .volume_id = {}, .map = {}},
                MakeImageStep{.share = "other", .file = "b", .backing_file = {}},
                WriteMapStep{.share = "s", .volume_id = {}, .map = {}}};
  plan.no_return = plan.steps.size();
  EXPECT_TRUE(IsSyncedByNext(plan, 0));
  EXPECT_FALSE(IsSyncedByNext(plan, 1));
  EXPECT_FALSE(IsSyncedByNext(plan, 2));
  EXPECT_FALSE(IsSyncedByNext(plan, 3));
  plan.no_return = 1;  // the records say so between them
  EXPECT_FALSE(IsSyncedByNext(plan, 0));
}

TEST(LayerPlansTest, TheFirstSnapshotIsUndoneWithItsMap) {
  ChainView view = ThreeSnapshots();
  view.chain.resize(1);
  view.map.reset();
  Plan plan = PlanCreateSnapshots({{view, "S1", ""}}, false, "op");
  EXPECT_EQ(std::get<MakeImageStep>(plan.steps[0]).backing_format, FileFormat::kRaw);
  EXPECT_THAT(Words(plan.undo), ElementsAre("removing volume-v.info, volume-v.S1"));
}

TEST(LayerPlansTest, AMiddleSnapshotGoesByCommitHeaderMapUnlink) {
  Plan plan = PlanDeleteSnapshot(ThreeSnapshots(), "S2", VolumeFormat::kQcow2);
  EXPECT_THAT(
      Words(plan.steps),
      ElementsAre("merging volume-v.S2 into volume-v.S1", "pointing volume-v.S3 at volume-v.S1",
                  "writing the map volume-v.info active=volume-v.S3 S1 S3",
                  "removing volume-v.S2"));
  EXPECT_EQ(plan.no_return, 0u);
}

TEST(LayerPlansTest, TheOldestSnapshotGoesIntoTheBaseOfItsFormat) {
  Plan plan = PlanDeleteSnapshot(ThreeSnapshots(), "S1", VolumeFormat::kQcow2);
  EXPECT_EQ(std::get<RepointStep>(plan.steps[1]).backing_format, FileFormat::kRaw);
  EXPECT_EQ(std::get<RepointStep>(plan.steps[1]).backing_file, "volume-v");
}

TEST(LayerPlansTest, TheNewestSnapshotGoesByCommitMapUnlink) {
  Plan plan = PlanDeleteSnapshot(ThreeSnapshots(), "S3", VolumeFormat::kQcow2);
  EXPECT_THAT(Words(plan.steps),
              ElementsAre("merging volume-v.S3 into volume-v.S2",
                          "writing the map volume-v.info active=volume-v.S2 S1 S2",
                          "removing volume-v.S3"));
}

TEST(LayerPlansTest, ALayerThatWasMergedAlreadyGoesByMapUnlink) {
  ChainView view = ThreeSnapshots();
  view.chain.erase(view.chain.begin() + 2);
  EXPECT_THAT(Words(PlanDeleteSnapshot(view, "S2", VolumeFormat::kQcow2).steps),
              ElementsAre("writing the map volume-v.info active=volume-v.S3 S1 S3",
                          "removing volume-v.S2"));
}

TEST(LayerPlansTest, WhatIsSmallerThanWhatIsMergedIntoItGrowsFirst) {
  ChainView view = testing::MakeView({"a", "S1"});
  view.chain[0].image.virtual_size = kMiB + 1;
  view.chain[1].image.virtual_size = 2 * kMiB;
  view.chain[2].image.virtual_size = 3 * kMiB;
  const Plan plan = PlanDeleteSnapshot(view, "S1", VolumeFormat::kRawThick);
  ASSERT_EQ(plan.no_return, 2u);
  // No file is ever larger than the one above it.
  EXPECT_EQ(std::get<GrowImageStep>(plan.steps[0]),
            (GrowImageStep{view.share, "volume-v.a", VolumeFormat::kQcow2, 3 * kMiB}));
  EXPECT_EQ(std::get<GrowImageStep>(plan.steps[1]),
            (GrowImageStep{view.share, "volume-v", VolumeFormat::kRawThick, 3 * kMiB}));
  ASSERT_EQ(plan.undo.size(), 2u);
  EXPECT_EQ(std::get<UngrowImageStep>(plan.undo[0]),
            (UngrowImageStep{view.share, "volume-v", FileFormat::kRaw, kMiB + 1}));
  EXPECT_EQ(std::get<UngrowImageStep>(plan.undo[1]),
            (UngrowImageStep{view.share, "volume-v.a", FileFormat::kQcow2, 2 * kMiB}));
}

// A volume that was in use has layers that no snapshot needs: they go too, upper ones first, so that
// beginning again never puts older data over newer.
TEST(LayerPlansTest, LayersThatNoSnapshotNeedsGoToo) {
  Plan plan =
      PlanDeleteSnapshot(testing::MakeView({"S1", "a", "S2", "b"}), "S2", VolumeFormat::kQcow2);
  EXPECT_THAT(Words(plan.steps), ElementsAre("merging volume-v.b into volume-v.S2",
                                             "merging volume-v.S2 into volume-v.a",
                                             "merging volume-v.a into volume-v.S1",
                                             "writing the map volume-v.info active=volume-v.S1 S1",
                                             "removing volume-v.b, volume-v.S2, volume-v.a"));
  plan = PlanDeleteSnapshot(testing::MakeView({"a", "S1", "S2"}), "S1", VolumeFormat::kQcow2);
  EXPECT_THAT(Words(plan.steps),
              ElementsAre("merging volume-v.S1 into volume-v.a", "merging volume-v.a into volume-v",
                          "pointing volume-v.S2 at volume-v",
                          "writing the map volume-v.info active=volume-v.S2 S2",
                          "removing volume-v.S1, volume-v.a"));
}

// Whatever could still be given up comes first, and so does what needs room.
TEST(LayerPlansTest, LayersThatNoSnapshotNeedsGoByThemselves) {
  const auto plan = [](const std::vector<std::string>& layers) {
    const ChainView view = testing::MakeView(layers);
    return PlanMergeLayers(view, FindSurplus(FilesOf(view.chain), LayersIn(*view.map)),
                           VolumeFormat::kQcow2, "op");
  };
  Plan newest = plan({"S1", "a", "b"});
  EXPECT_THAT(
      Words(newest.steps),
      ElementsAre("merging volume-v.b into volume-v.a", "merging volume-v.a into volume-v.S1",
                  "preparing the map volume-v.info active=volume-v.S1 S1",
                  "writing the map volume-v.info active=volume-v.S1 S1",
                  "removing volume-v.b, volume-v.a"));
  EXPECT_EQ(newest.no_return, 3u);
  EXPECT_TRUE(IsPrepared(newest, 3));
  EXPECT_THAT(Words(newest.undo), ElementsAre("removing .volume-v.info.tmp-op"));
  // The map says the same before and after.
  Plan middle = plan({"a", "S1", "b", "S2"});
  EXPECT_THAT(Words(middle.steps),
              ElementsAre("merging volume-v.a into volume-v", "merging volume-v.b into volume-v.S1",
                          "pointing volume-v.S1 at volume-v", "pointing volume-v.S2 at volume-v.S1",
                          "removing volume-v.a, volume-v.b"));
  EXPECT_EQ(middle.no_return, 2u);
  EXPECT_TRUE(middle.undo.empty());
}

TEST(LayerPlansTest, ARevertToTheNewestNeedsNoMap) {
  Plan plan = PlanRevert(ThreeSnapshots(), "S3", {}, "op");
  EXPECT_THAT(Words(plan.steps), ElementsAre("creating .volume-v.S3.tmp-op (QCOW2, 4 KiB)",
                                             "renaming .volume-v.S3.tmp-op to volume-v.S3"));
  EXPECT_EQ(plan.no_return, 1u);
  EXPECT_THAT(Words(plan.undo), ElementsAre("removing .volume-v.S3.tmp-op"));
}

TEST(LayerPlansTest, ARevertToAnOlderOneTakesTheNewerOnesAfterThePointOfNoReturn) {
  Plan plan = PlanRevert(ThreeSnapshots(), "S1", {"S2", "S3"}, "op");
  EXPECT_THAT(Words(plan.steps),
              ElementsAre("creating .volume-v.S1.tmp-op (QCOW2, 4 KiB)",
                          "preparing the map volume-v.info active=volume-v.S1 S1",
                          "writing the map volume-v.info active=volume-v.S1 S1",
                          "renaming .volume-v.S1.tmp-op to volume-v.S1",
                          "removing volume-v.S3, volume-v.S2"));
  EXPECT_EQ(plan.no_return, 2u);
  EXPECT_THAT(Words(plan.undo), ElementsAre("removing .volume-v.S1.tmp-op, .volume-v.info.tmp-op"));
}

TEST(LayerPlansTest, AMapStepKnowsWhatItReplaces) {
  const auto former = [](const Step& step) { return std::get<WriteMapStep>(step).former; };
  Plan plan = PlanDeleteSnapshot(ThreeSnapshots(), "S3", VolumeFormat::kQcow2);
  EXPECT_EQ(former(plan.steps[1]), (FormerMap{"volume-v.S3", {"S3"}}));
  plan = PlanCreateSnapshots({{ThreeSnapshots(), "S4", ""}}, false, "op");
  EXPECT_EQ(former(plan.steps[1]), (FormerMap{"volume-v.S3", {}}));
  EXPECT_EQ(former(plan.undo[0]), (FormerMap{"volume-v.S4", {"S4"}}));
  plan = PlanMigrate(ThreeSnapshots(), "other", false);
  EXPECT_EQ(former(plan.steps[4]), FormerMap{});
}

TEST(LayerPlansTest, WhatAHeaderNamedBeforeIsKnown) {
  Plan plan = PlanDeleteSnapshot(ThreeSnapshots(), "S2", VolumeFormat::kQcow2);
  EXPECT_EQ(std::get<RepointStep>(plan.steps[1]).instead_of, "volume-v.S2");
}

TEST(LayerPlansTest, AVolumeGoesByMapThenFromTheTopDown) {
  EXPECT_THAT(Words(PlanDeleteVolume("share", "v", {"volume-v", "volume-v.S1"}).steps),
              ElementsAre("removing volume-v.info, volume-v.S1, volume-v"));
}

TEST(LayerPlansTest, AMoveCopiesFromTheBaseUpAndRemovesFromTheTopDown) {
  Plan plan = PlanMigrate(ThreeSnapshots(), "other", /*allocate_base=*/true);
  ASSERT_EQ(plan.steps.size(), 6u);
  EXPECT_EQ(plan.no_return, 5u);
  EXPECT_EQ(std::get<CopyFileStep>(plan.steps[0]).file, "volume-v");
  EXPECT_TRUE(std::get<CopyFileStep>(plan.steps[0]).allocate);
  EXPECT_FALSE(std::get<CopyFileStep>(plan.steps[1]).allocate);
  EXPECT_EQ(ShareOf(plan.steps[4]), "other");
  EXPECT_EQ(ShareOf(plan.steps[5]), "share");
  EXPECT_THAT(
      std::get<RemoveFilesStep>(plan.steps[5]).files,
      ElementsAre("volume-v.info", "volume-v.S3", "volume-v.S2", "volume-v.S1", "volume-v"));
  EXPECT_EQ(ShareOf(plan.undo[0]), "other");
}

}  // namespace
}  // namespace cairn
