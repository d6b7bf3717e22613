// qemu's tools, run for real, as an independent judge of what Cairn writes.
#ifndef CAIRN_TESTS_SUPPORT_QEMU_H_
#define CAIRN_TESTS_SUPPORT_QEMU_H_

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/base/format.h"
#include "lib/base/status.h"
#include "lib/os/process.h"

namespace cairn::testing {

// Standard output of a tool that must succeed.
inline std::string RunTool(std::vector<std::string> argv) {
  ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.output_max_bytes = 64 << 20;
  auto result = ProcessRunner::Posix()->Run(spec);
  EXPECT_TRUE(result.ok()) << Describe(result.status());
  if (!result.ok()) return {};
  EXPECT_EQ(result->exit_code, 0) << spec.argv[0] << ": " << result->stderr_text
                                  << result->stdout_text;
  return result->stdout_text;
}

inline bool ToolSucceeds(std::vector<std::string> argv) {
  ProcessSpec spec;
  spec.argv = std::move(argv);
  auto result = ProcessRunner::Posix()->Run(spec);
  return result.ok() && result->exit_code == 0;
}

inline std::string FormatOf(FileFormat format) { return std::string(FileFormatName(format)); }

inline void QemuWrite(const std::string& path, FileFormat format, int64_t offset, int64_t length,
                      uint8_t pattern) {
  RunTool({"qemu-io", "-f", FormatOf(format), "-c",
           fmt::format("write -P {} {} {}", pattern, offset, length), path});
}

// True when the range reads as `pattern` through the whole chain.
inline bool QemuReads(const std::string& path, FileFormat format, int64_t offset, int64_t length,
                      uint8_t pattern) {
  // qemu-io prints a failed verification and exits with 0 or 1 depending on its version.
  ProcessSpec spec;
  spec.argv = {"qemu-io", "-r",
               "-f",      FormatOf(format),
               "-c",      fmt::format("read -P {} {} {}", pattern, offset, length),
               path};
  auto result = ProcessRunner::Posix()->Run(spec);
  const bool reads = result.ok() && result->exit_code == 0 &&
                     result->stdout_text.find("verification failed") == std::string::npos;
  if (!reads && result.ok()) {
    std::cerr << path << ": " << result->exit_code << "\n"
              << result->stdout_text << result->stderr_text;
  }
  return reads;
}

inline nlohmann::json QemuInfo(const std::string& path, FileFormat format) {
  return nlohmann::json::parse(
      RunTool({"qemu-img", "info", "-f", FormatOf(format), "--output=json", path}), nullptr, false);
}

inline bool QemuCheck(const std::string& path) {
  return ToolSucceeds({"qemu-img", "check", "-f", "qcow2", path});
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SUPPORT_QEMU_H_
