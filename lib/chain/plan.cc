#include "lib/chain/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "lib/base/overloaded.h"
#include "lib/base/size.h"
#include "lib/image/qcow2_commit.h"

namespace cairn {

namespace {

std::string DescribeChange(const DiskChange& change) {
  return std::visit(
      Overloaded{
          [](const LayerSwitch& c) {
            return fmt::format("the hypervisor switches from {} to {}", c.backing_file, c.file);
          },
          [](const LayerMerge& c) {
            return c.direction == MergeDirection::kCommit
                       ? fmt::format("the hypervisor merges {} into {}", c.top, c.base)
                       : fmt::format("the hypervisor merges {} into {}", c.base, c.top);
          },
          [](const DiskResize& c) {
            return fmt::format("the hypervisor grows {} to {}", c.file, FormatSize(c.size_bytes));
          },
          [](const DiskMove& c) {
            return fmt::format("the hypervisor moves {} to {}", c.file, c.target_share);
          },
      },
      change);
}

}  // namespace

std::string DescribeStep(const Step& step) {
  return std::visit(
      Overloaded{
          [](const MakeImageStep& s) {
            return fmt::format("creating {} ({}, {})", s.file, VolumeFormatName(s.format),
                               FormatSize(s.size_bytes));
          },
          [](const GrowImageStep& s) {
            return fmt::format("growing {} to {}", s.file, FormatSize(s.size_bytes));
          },
          [](const CopyFileStep& s) {
            return fmt::format("copying {} to {}", s.source_file, s.file);
          },
          [](const ConvertStep& s) {
            return fmt::format("copying the content of {} into {}", s.source_file, s.file);
          },
          [](const CommitStep& s) { return fmt::format("merging {} into {}", s.layer, s.base); },
          [](const RepointStep& s) {
            return fmt::format("pointing {} at {}", s.layer, s.backing_file);
          },
          [](const WriteMapStep& s) {
            return fmt::format("writing the map {}", InfoFileName(s.volume_id));
          },
          [](const PrepareMapStep& s) {
            return fmt::format("preparing the map {}", InfoFileName(s.volume_id));
          },
          [](const RemoveFilesStep& s) {
            return fmt::format("removing {}", fmt::join(s.files, ", "));
          },
          [](const RenameStep& s) { return fmt::format("renaming {} to {}", s.from, s.to); },
          [](const ReceiveContentStep& s) { return fmt::format("receiving {}", s.file); },
          [](const UngrowImageStep& s) {
            return fmt::format("giving {} its size of {} back", s.file, FormatSize(s.size_bytes));
          },
          [](const CheckBackingStep& s) {
            return fmt::format("checking what {} lies on", s.layer);
          },
          [](const CheckDiskStep& s) {
            return fmt::format("asking the hypervisor of attachment {} what it has open",
                               s.attachment_id);
          },
          [](const CheckClosedStep& s) {
            return fmt::format("asking the hypervisor of attachment {} whether it is closed",
                               s.attachment_id);
          },
          [](const ChangeDisksStep& s) { return DescribeChange(s.instructions[0].change); },
          [](const MirrorDiskStep& s) {
            return fmt::format("copying the disk in use of volume {}", s.instructions[0].volume_id);
          },
          [](const StopMirrorStep& s) {
            return fmt::format("ending the copy of the disk in use of volume {}",
                               s.instructions[0].volume_id);
          },
      },
      step);
}

bool IsSyncedByNext(const Plan& plan, size_t index) {
  // What can be undone is undone from anywhere; a point of no return between them is another matter.
  if (index + 1 >= plan.steps.size() || index + 1 == plan.no_return) return false;
  const auto* next = std::get_if<WriteMapStep>(&plan.steps[index + 1]);
  return next != nullptr && next->share == ShareOf(plan.steps[index]);
}

bool IsPrepared(const Plan& plan, size_t index) {
  const auto* write = std::get_if<WriteMapStep>(&plan.steps[index]);
  if (write == nullptr) return false;
  return std::any_of(plan.steps.begin(), plan.steps.begin() + static_cast<ptrdiff_t>(index),
                     [&](const Step& step) {
                       const auto* prepare = std::get_if<PrepareMapStep>(&step);
                       return prepare != nullptr && prepare->volume_id == write->volume_id &&
                              prepare->map == write->map;
                     });
}

bool IsFoundDone(const Plan& plan) {
  return !plan.steps.empty() && plan.no_return == plan.steps.size() &&
         std::all_of(plan.steps.begin(), plan.steps.end(), [](const Step& step) {
           return std::holds_alternative<MakeImageStep>(step) ||
                  std::holds_alternative<WriteMapStep>(step);
         });
}

bool IsBulk(const Step& step) {
  return std::visit(Overloaded{
                        [](const MakeImageStep& s) { return s.format == VolumeFormat::kRawThick; },
                        [](const GrowImageStep& s) { return s.format == VolumeFormat::kRawThick; },
                        [](const CopyFileStep&) { return true; },
                        [](const ConvertStep&) { return true; },
                        [](const CommitStep& s) {
                          return s.layer_bytes.value_or(kNativeCommitBytesMax + 1) >
                                 kNativeCommitBytesMax;
                        },
                        [](const ReceiveContentStep&) { return true; },
                        [](const auto&) { return false; },
                    },
                    step);
}

bool IsOnDisks(const Step& step) {
  return std::visit([]<typename T>(const T&) { return OnDisks<T>; }, step);
}

bool ChangesDisks(const Plan& plan) {
  return std::any_of(plan.steps.begin(), plan.steps.end(), [](const Step& step) {
    return std::holds_alternative<ChangeDisksStep>(step);
  });
}

const std::string& ShareOf(const Step& step) {
  return std::visit([](const auto& s) -> const std::string& { return s.share; }, step);
}

std::set<std::string> SharesOf(const Plan& plan) {
  std::set<std::string> shares;
  for (const std::vector<Step>* steps : {&plan.steps, &plan.undo, &plan.undo_settled}) {
    for (const Step& step : *steps) {
      shares.insert(ShareOf(step));
      if (const auto* copy = std::get_if<CopyFileStep>(&step)) shares.insert(copy->source_share);
      if (const auto* convert = std::get_if<ConvertStep>(&step))
        shares.insert(convert->source_share);
    }
  }
  shares.erase("");  // an image file of this host
  return shares;
}

}  // namespace cairn
