// Checks of what callers choose freely: names, labels, request ids. INVALID_FIELD names the field.
#ifndef CAIRN_LIB_ENGINE_FIELDS_H_
#define CAIRN_LIB_ENGINE_FIELDS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/catalog/records.h"

namespace cairn {

// UTF-8 without control characters, at most `bytes_max` long.
absl::Status CheckText(std::string_view field, std::string_view text, size_t bytes_max = 255);
// At most 64; keys as Kubernetes labels (optional DNS prefix and "/", then 1 to 63 of
// [A-Za-z0-9._-] that begin and end with a letter or digit); values as CheckText.
absl::Status CheckLabels(const Labels& labels);
// At most 128 bytes of text.
absl::Status CheckRequestId(std::string_view request_id);

// An id in canonical form; a new one when the caller chose none.
absl::StatusOr<std::string> IdOrNew(std::string_view field, std::string_view text);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_FIELDS_H_
