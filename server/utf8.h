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

// The length in bytes of the character that `text` begins with, if it could steer a terminal or
// change the order in which a line is read: a control character (C0, DEL, C1), one that sets the
// direction of writing, or a line or paragraph separator. Else 0.
size_t SteeringLength(std::string_view text);

// As ValidUtf8, with "?" also for what SteeringLength finds: messages are shown on terminals, and hold what
// callers sent. A tab or the end of a line becomes a space.
std::string PrintableUtf8(std::string_view text, size_t bytes_max);

}  // namespace cairn

#endif  // CAIRN_SERVER_UTF8_H_
