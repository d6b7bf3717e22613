#include "lib/base/json.h"

#include <fmt/format.h>

#include "lib/base/status.h"

namespace cairn {

absl::StatusOr<nlohmann::json> ParseJson(std::string_view what, std::string_view text) {
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return Error(Reason::kInternal, fmt::format("{}: not valid JSON", what));
  }
  return json;
}

std::string DumpJson(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cairn
