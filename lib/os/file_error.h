// The errors of FileSystem and File, in one form for the real ones and the injected ones.
#ifndef CAIRN_LIB_OS_FILE_ERROR_H_
#define CAIRN_LIB_OS_FILE_ERROR_H_

#include <cerrno>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "absl/status/status.h"
#include "lib/base/status.h"

namespace cairn {

// "call path: strerror" with metadata {path, errno}.
inline absl::Status FileError(int error_number, std::string_view call, const std::string& path) {
  return ErrnoError(error_number, fmt::format("{} {}", call, path), {{"path", path}});
}

// For calls that many file systems lack: what means "not here" becomes UNIMPLEMENTED, so that the
// caller can go another way; the rest is as in FileError.
inline absl::Status OptionalCallError(int error_number, std::string_view call,
                                      const std::string& path) {
  absl::Status error = FileError(error_number, call, path);
  switch (error_number) {
    case EOPNOTSUPP:
    case EXDEV:
    case EINVAL:
    case ENOSYS:
    case ENOTTY:
      break;
    default:
      return error;
  }
  absl::Status unimplemented(absl::StatusCode::kUnimplemented, error.message());
  error.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    unimplemented.SetPayload(url, payload);
  });
  return unimplemented;
}

// ESTALE: another host has replaced or removed the file since it was opened.
inline bool IsStale(const absl::Status& status) {
  auto details = GetErrorDetails(status);
  return details.has_value() && details->metadata["errno"] == "ESTALE";
}

// Calls `open_and_use`, and once more, from opening on, when a file was stale: the second call finds
// what is there now.
template <typename Call>
auto OnceMoreIfStale(Call open_and_use) {
  auto result = open_and_use();
  if constexpr (std::is_same_v<decltype(result), absl::Status>) {
    return IsStale(result) ? open_and_use() : result;
  } else {
    return IsStale(result.status()) ? open_and_use() : std::move(result);
  }
}

}  // namespace cairn

#endif  // CAIRN_LIB_OS_FILE_ERROR_H_
