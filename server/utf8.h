// Text that may be put into a message: protobuf demands valid UTF-8, and what a caller or a file
// name holds need not be.
#ifndef CAIRN_SERVER_UTF8_H_
#define CAIRN_SERVER_UTF8_H_

#include <string>
#include <string_view>

namespace cairn {

// At most `bytes_max` bytes of `text`, cut between characters, with "?" for each byte that is not
// part of a valid character.
std::string ValidUtf8(std::string_view text, size_t bytes_max);

}  // namespace cairn

#endif  // CAIRN_SERVER_UTF8_H_
