// Text that comes from elsewhere: whether it is text, and how it is shown on a terminal. Functions
// over values; safe from any thread.
#ifndef CAIRN_CLIENT_CAIRNCTL_TEXT_H_
#define CAIRN_CLIENT_CAIRNCTL_TEXT_H_

#include <string>
#include <string_view>

namespace cairn::cairnctl {

bool IsUtf8(std::string_view text);

// The text with "?" in the place of every character that could steer a terminal or change the
// order in which a line is read: control characters (C0, DEL, C1), those that set the direction of
// writing, and line and paragraph separators. Also for each byte that is no UTF-8.
std::string Printable(std::string_view text);

// JSON, or YAML whose quoted texts are JSON's, with the same characters as \uXXXX. They stand in
// quoted texts only, but for the line ends, which stay.
std::string EscapeControls(std::string_view json);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_TEXT_H_
