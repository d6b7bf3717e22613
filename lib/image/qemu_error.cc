#include "lib/image/qemu_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "lib/base/status.h"

namespace cairn {

std::string QemuPath(const std::string& path) { return path.starts_with('/') ? path : "./" + path; }

absl::Status ErrorInQemuText(const std::string& tool, const std::string& text) {
  constexpr size_t kShownMax = 400;
  const std::string shown = fmt::format(
      "{}: {}", tool, text.size() > kShownMax ? text.substr(text.size() - kShownMax) : text);
  for (const int error_number : {ENOSPC, EDQUOT, EFBIG, ESTALE, EIO}) {
    if (text.find(strerrordesc_np(error_number)) == std::string::npos) continue;
    return ErrnoError(error_number, shown, {{"tool", tool}});
  }
  if (text.find("Is another process using the image") != std::string::npos) {
    return Error(Reason::kVolumeInUse, shown, {{"tool", tool}});
  }
  return absl::OkStatus();
}

absl::Status CheckQemuExit(const ProcessSpec& spec, const ProcessResult& result) {
  if (result.exit_code == 0) return absl::OkStatus();
  RETURN_IF_ERROR(ErrorInQemuText(spec.argv[0], result.stderr_text));
  return CheckExit(spec, result);
}

absl::Status AnnotateMissingTool(const absl::Status& status) {
  if (!HasReason(status, Reason::kToolMissing)) return status;
  return Annotate(status, "the package qemu-utils is needed", {{"package", "qemu-utils"}});
}

}  // namespace cairn
