// Random ids, for request_id and for callers who choose the ids of what they create.
#ifndef CAIRN_CLIENT_UUID_H_
#define CAIRN_CLIENT_UUID_H_

#include <string>
#include <string_view>

namespace cairn::client {

// A new random UUID (version 4) in its 36-character lower-case form. Safe from any thread.
std::string NewUuid();

// Whether the text has the 36-character form of a UUID, in either letter case.
bool IsUuid(std::string_view text);

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_UUID_H_
