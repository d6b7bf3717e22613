// Plans as JSON, for the journal. Fields() is the one list of what a step consists of.
#include <fmt/format.h>

#include <array>

#include "lib/base/disk_change_json.h"
#include "lib/base/json.h"
#include "lib/base/json_fields.h"
#include "lib/base/status.h"
#include "lib/chain/plan.h"

namespace cairn {

// Static rather than in the unnamed namespace, where argument-dependent look-up would not find them.
static nlohmann::json ToJsonValue(const FormerMap& former) {
  return {{"active", former.active}, {"dropped", former.dropped}};
}
static bool FromJsonValue(const nlohmann::json& json, FormerMap& former) {
  return json.is_object() && json.contains("active") && json.contains("dropped") &&
         FromJsonValue(json["active"], former.active) &&
         FromJsonValue(json["dropped"], former.dropped);
}

template <typename S, typename F>
static void Fields(S& step, F&& field) {
  using T = std::remove_const_t<S>;
  field("share", step.share);
  if constexpr (std::is_same_v<T, MakeImageStep>) {
    field("file", step.file);
    field("format", step.format);
    field("size_bytes", step.size_bytes);
    field("backing_file", step.backing_file);
    field("backing_format", step.backing_format);
  } else if constexpr (std::is_same_v<T, GrowImageStep>) {
    field("file", step.file);
    field("format", step.format);
    field("size_bytes", step.size_bytes);
  } else if constexpr (std::is_same_v<T, CopyFileStep>) {
    field("source_share", step.source_share);
    field("source_file", step.source_file);
    field("file", step.file);
    field("allocate", step.allocate);
  } else if constexpr (std::is_same_v<T, ConvertStep>) {
    field("source_share", step.source_share);
    field("source_file", step.source_file);
    field("source_format", step.source_format);
    field("file", step.file);
    field("format", step.format);
    field("size_bytes", step.size_bytes);
  } else if constexpr (std::is_same_v<T, CommitStep>) {
    field("layer", step.layer);
    field("base", step.base);
    field("layer_bytes", step.layer_bytes);
  } else if constexpr (std::is_same_v<T, RepointStep>) {
    field("layer", step.layer);
    field("backing_file", step.backing_file);
    field("backing_format", step.backing_format);
    field("instead_of", step.instead_of);
  } else if constexpr (std::is_same_v<T, WriteMapStep>) {
    field("volume_id", step.volume_id);
    field("active", step.map.active);
    field("layers", step.map.layers);
    field("former", step.former);
  } else if constexpr (std::is_same_v<T, PrepareMapStep>) {
    field("volume_id", step.volume_id);
    field("active", step.map.active);
    field("layers", step.map.layers);
  } else if constexpr (std::is_same_v<T, RemoveFilesStep>) {
    field("files", step.files);
  } else if constexpr (std::is_same_v<T, RenameStep>) {
    field("from", step.from);
    field("to", step.to);
    field("replaces", step.replaces);
  } else if constexpr (std::is_same_v<T, ReceiveContentStep>) {
    field("file", step.file);
    field("format", step.format);
  } else if constexpr (std::is_same_v<T, UngrowImageStep>) {
    field("file", step.file);
    field("format", step.format);
    field("size_bytes", step.size_bytes);
  } else if constexpr (std::is_same_v<T, CheckBackingStep>) {
    field("layer", step.layer);
    field("backing_file", step.backing_file);
  } else if constexpr (std::is_same_v<T, CheckDiskStep>) {
    field("volume_id", step.volume_id);
    field("attachment_id", step.attachment_id);
    field("files", step.files);
    field("size_bytes", step.size_bytes);
  } else if constexpr (std::is_same_v<T, CheckClosedStep>) {
    field("volume_id", step.volume_id);
    field("attachment_id", step.attachment_id);
  } else {
    field("instructions", step.instructions);  // ChangeDisksStep, MirrorDiskStep, StopMirrorStep
  }
}

namespace {

// The tag of each alternative, in the variant's order. Part of the journal's format: never renamed.
constexpr std::array kTags = {
    "make_image", "grow_image",   "copy_file",    "convert",     "commit",       "repoint",
    "write_map",  "remove_files", "rename",       "receive",     "ungrow_image", "check_backing",
    "check_disk", "check_closed", "change_disks", "mirror_disk", "stop_mirror",  "prepare_map"};
static_assert(kTags.size() == std::variant_size_v<Step>);

nlohmann::json ToJson(const Step& step) {
  nlohmann::json json = std::visit([](const auto& s) { return WriteFields(s); }, step);
  json["do"] = kTags[step.index()];
  return json;
}

absl::Status BadPlan(std::string_view problem) {
  return Error(Reason::kInternal, fmt::format("journalled plan: {}", problem));
}

// The default value of the alternative at `index`.
template <size_t I = 0>
Step MakeAlternative(size_t index) {
  if constexpr (I < std::variant_size_v<Step>) {
    if (index == I) return Step(std::in_place_index<I>);
    return MakeAlternative<I + 1>(index);
  }
  return {};
}

absl::StatusOr<Step> StepFromJson(const nlohmann::json& json) {
  std::string tag = JsonValue<std::string>(json, "do", "");
  for (size_t i = 0; i < kTags.size(); ++i) {
    if (tag != kTags[i]) continue;
    Step step = MakeAlternative(i);
    const char* bad = std::visit([&](auto& s) { return ReadFields(json, s); }, step);
    if (bad != nullptr) return BadPlan(fmt::format("field {} of {}", bad, tag));
    return step;
  }
  return BadPlan(fmt::format("unknown step \"{}\"", tag));
}

absl::StatusOr<std::vector<Step>> StepsFromJson(const nlohmann::json& json, const char* name) {
  std::vector<Step> steps;
  if (!json.contains(name) || !json[name].is_array()) return BadPlan("steps are missing");
  for (const auto& item : json[name]) {
    ASSIGN_OR_RETURN(Step step, StepFromJson(item));
    steps.push_back(std::move(step));
  }
  return steps;
}

}  // namespace

std::string PlanToJson(const Plan& plan) {
  nlohmann::json json = {{"steps", nlohmann::json::array()},
                         {"no_return", plan.no_return},
                         {"undo", nlohmann::json::array()}};
  if (!plan.undo_settled.empty()) {
    json["settled"] = plan.settled;
    for (const Step& step : plan.undo_settled) json["undo_settled"].push_back(ToJson(step));
  }
  for (const Step& step : plan.steps) json["steps"].push_back(ToJson(step));
  for (const Step& step : plan.undo) json["undo"].push_back(ToJson(step));
  return DumpJson(json);
}

absl::StatusOr<Plan> PlanFromJson(std::string_view text) {
  ASSIGN_OR_RETURN(auto json, ParseJson("journalled plan", text));
  if (!json.is_object()) return BadPlan("not an object");
  Plan plan;
  ASSIGN_OR_RETURN(plan.steps, StepsFromJson(json, "steps"));
  ASSIGN_OR_RETURN(plan.undo, StepsFromJson(json, "undo"));
  if (json.contains("undo_settled")) {
    ASSIGN_OR_RETURN(plan.undo_settled, StepsFromJson(json, "undo_settled"));
    plan.settled = JsonValue<size_t>(json, "settled", plan.settled);
  }
  plan.no_return = JsonValue<size_t>(json, "no_return", plan.steps.size());
  return plan;
}

}  // namespace cairn
