// The file to which SQLite appends what is committed, until a checkpoint begins it anew.
#ifndef CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_
#define CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_

#include <string>

namespace cairn {

// Gives the log of the database at `path` the length that it gets before the first checkpoint, with
// zeros: a commit that writes over what is there is several times faster than one that makes the
// file longer, which is a change of the file system too. SQLite takes a log to end at the first
// frame that is none of its own (section 4.1 of https://www.sqlite.org/fileformat2.html), so this can
// be done while it is open. Where it fails, or room is scarce, the log is left as it is.
void LengthenLog(const std::string& path);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_
