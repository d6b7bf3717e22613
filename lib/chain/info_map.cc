#include "lib/chain/info_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/json.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

// A map with a thousand snapshots takes about 100 KB.
constexpr int64_t kMapBytesMax = 4 << 20;

absl::Status Corrupt(std::string_view volume_id, std::string_view problem) {
  return Error(Reason::kMapCorrupt,
               fmt::format("the map {} is corrupt: {}", InfoFileName(volume_id), problem),
               {{"volume", std::string(volume_id)}});
}

}  // namespace

std::string BaseFileName(std::string_view volume_id) { return fmt::format("volume-{}", volume_id); }

std::string LayerFileName(std::string_view volume_id, std::string_view snapshot_id) {
  return fmt::format("volume-{}.{}", volume_id, snapshot_id);
}

std::string InfoFileName(std::string_view volume_id) {
  return fmt::format("volume-{}.info", volume_id);
}

bool IsChainFileName(std::string_view volume_id, std::string_view file) {
  std::string base = BaseFileName(volume_id);
  if (!file.starts_with(base)) return false;
  std::string_view rest = file.substr(base.size());
  if (rest.empty()) return true;
  if (rest[0] != '.') return false;
  rest.remove_prefix(1);
  constexpr std::string_view kTemporarySnapshot = "tmp-snap-";
  if (rest.starts_with(kTemporarySnapshot)) rest.remove_prefix(kTemporarySnapshot.size());
  constexpr size_t kSuffixMax = 64;
  return !rest.empty() && rest.size() <= kSuffixMax &&
         std::all_of(rest.begin(), rest.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ||
                  c == '-';
         });
}

absl::StatusOr<InfoMap> ParseInfoMap(std::string_view volume_id, std::string_view text) {
  auto json = ParseJson("map", text);
  if (!json.ok() || !json->is_object()) return Corrupt(volume_id, "not a JSON object");
  InfoMap map;
  for (const auto& [key, value] : json->items()) {
    if (!value.is_string()) return Corrupt(volume_id, fmt::format("\"{}\" is not a name", key));
    auto file = value.get<std::string>();
    if (!IsChainFileName(volume_id, file)) {
      return Corrupt(volume_id, fmt::format("\"{}\" is not a file of this volume", file));
    }
    if (key == "active") {
      map.active = std::move(file);
    } else {
      map.layers[key] = std::move(file);
    }
  }
  if (map.active.empty()) return Corrupt(volume_id, "\"active\" is missing");
  return map;
}

std::string FormatInfoMap(const InfoMap& map) {
  nlohmann::json json(
      map.layers);  // an object whose keys are sorted, also with "active" among them
  json["active"] = map.active;
  return json.dump(1);
}

absl::StatusOr<std::optional<InfoMap>> ReadInfoMap(FileSystem& files, const std::string& directory,
                                                   std::string_view volume_id) {
  auto text = ReadWholeFile(files, directory + "/" + InfoFileName(volume_id), kMapBytesMax);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  if (!text.ok()) return text.status();
  ASSIGN_OR_RETURN(InfoMap map, ParseInfoMap(volume_id, *text));
  return map;
}

}  // namespace cairn
