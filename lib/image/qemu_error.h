// What the qemu tools have in common: how a file is named to them and what their errors mean.
// Private to lib/image. Thread-safe.
#ifndef CAIRN_LIB_IMAGE_QEMU_ERROR_H_
#define CAIRN_LIB_IMAGE_QEMU_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "lib/os/process.h"

namespace cairn {

// A path that qemu takes for nothing but a path: never for an option ("-x"), nor for a protocol
// ("nbd:x", "json:{...}"), which it looks for before the first '/'.
std::string QemuPath(const std::string& path);

// OK for exit code 0. The tools tell system errors by their text alone: a full share is NO_SPACE,
// an image that another process has locked VOLUME_IN_USE; all else as CheckExit.
absl::Status CheckQemuExit(const ProcessSpec& spec, const ProcessResult& result);

// The error that a text on standard error stands for; OK when it is none that we know.
absl::Status ErrorInQemuText(const std::string& tool, const std::string& text);

// Adds the Debian package to TOOL_MISSING.
absl::Status AnnotateMissingTool(const absl::Status& status);

}  // namespace cairn

#endif  // CAIRN_LIB_IMAGE_QEMU_ERROR_H_
