#include "lib/base/disk_change_json.h"

#include <array>

#include "lib/base/json_fields.h"

namespace cairn {

// Static rather than in the unnamed namespace, where argument-dependent look-up would not find it.
template <typename S, typename F>
static void Fields(S& change, F&& field) {
  using T = std::remove_const_t<S>;
  if constexpr (std::is_same_v<T, LayerSwitch>) {
    field("file", change.file);
    field("backing_file", change.backing_file);
    field("backing_format", change.backing_format);
    field("quiesce", change.quiesce);
  } else if constexpr (std::is_same_v<T, LayerMerge>) {
    field("direction", change.direction);
    field("top", change.top);
    field("base", change.base);
    field("rebased", change.rebased);
    field("backing_after", change.backing_after);
    field("backing_format_after", change.backing_format_after);
    field("base_format", change.base_format);
  } else if constexpr (std::is_same_v<T, DiskResize>) {
    field("file", change.file);
    field("size_bytes", change.size_bytes);
  } else {
    static_assert(std::is_same_v<T, DiskMove>);
    field("file", change.file);
    field("format", change.format);
    field("target_share", change.target_share);
    field("by_consumer", change.by_consumer);
  }
}

namespace {

// The tag of each alternative, in the variant's order. Part of the journal's format: never renamed.
constexpr std::array kChangeTags = {"switch", "merge", "resize", "move"};
static_assert(kChangeTags.size() == std::variant_size_v<DiskChange>);

template <typename T>
bool ReadChange(const nlohmann::json& json, DiskChange& change) {
  return ReadFields(json, change.emplace<T>()) == nullptr;
}

bool ReadInstruction(const nlohmann::json& json, DiskInstruction& instruction) {
  if (!json.is_object()) return false;
  for (const auto& [key, member] : {std::pair{"volume_id", &instruction.volume_id},
                                    std::pair{"attachment_id", &instruction.attachment_id}}) {
    auto it = json.find(key);
    if (it == json.end() || !FromJsonValue(*it, *member)) return false;
  }
  auto tag = json.find("change");
  if (tag == json.end() || !tag->is_string()) return false;
  if (*tag == kChangeTags[0]) return ReadChange<LayerSwitch>(json, instruction.change);
  if (*tag == kChangeTags[1]) return ReadChange<LayerMerge>(json, instruction.change);
  if (*tag == kChangeTags[2]) return ReadChange<DiskResize>(json, instruction.change);
  if (*tag == kChangeTags[3]) return ReadChange<DiskMove>(json, instruction.change);
  return false;
}

}  // namespace

nlohmann::json ToJsonValue(const std::vector<DiskInstruction>& instructions) {
  nlohmann::json list = nlohmann::json::array();
  for (const DiskInstruction& instruction : instructions) {
    nlohmann::json json =
        std::visit([](const auto& change) { return WriteFields(change); }, instruction.change);
    json["volume_id"] = instruction.volume_id;
    json["attachment_id"] = instruction.attachment_id;
    json["change"] = kChangeTags[instruction.change.index()];
    list.push_back(std::move(json));
  }
  return list;
}

bool FromJsonValue(const nlohmann::json& json, std::vector<DiskInstruction>& instructions) {
  if (!json.is_array()) return false;
  instructions.clear();
  for (const auto& item : json) {
    if (!ReadInstruction(item, instructions.emplace_back())) return false;
  }
  return true;
}

}  // namespace cairn
