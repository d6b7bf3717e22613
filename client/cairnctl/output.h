// Results on stdout, and whether they have got there: a result that is lost, on a full disk say, is
// an error of the command. Used by the main thread only.
//
//   Print(VolumeTable(volumes, now));
//   ...
//   if (absl::Status status = CloseOutput(); !status.ok()) ...  // once, at the end
#ifndef CAIRN_CLIENT_CAIRNCTL_OUTPUT_H_
#define CAIRN_CLIENT_CAIRNCTL_OUTPUT_H_

#include <string_view>

#include "absl/status/status.h"

namespace cairn::cairnctl {

// First of all: a standard descriptor that was closed by the caller would else be given to the next
// file or socket that is opened, and results be written into that.
void OccupyStandardDescriptors();

// To stdout, as it is. Errors are kept for FlushOutput and CloseOutput.
void Print(std::string_view text);
// Whether all that was printed was written, so far: whoever prints a stream ends when it was not.
absl::Status FlushOutput();
// The same of everything, at the end; some file systems tell only then.
absl::Status CloseOutput();

// A line for people to stderr; commands keep silent with --quiet.
void Note(std::string_view line);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_OUTPUT_H_
