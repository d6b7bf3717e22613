// Errors of the client's own files.
#ifndef CAIRN_CLIENT_INTERNAL_FILE_ERROR_H_
#define CAIRN_CLIENT_INTERNAL_FILE_ERROR_H_

#include <string>

#include "absl/status/status.h"

namespace cairn::client::internal {

// The error in errno as "attempted: what the system says".
absl::Status FileError(const std::string& attempted);

}  // namespace cairn::client::internal

#endif  // CAIRN_CLIENT_INTERNAL_FILE_ERROR_H_
