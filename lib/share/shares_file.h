// The file that lists the shares of a pool (`nfs_shares_config`).
//
// A line is `host:/export` or `host:/export -o opt1,opt2`, or `file:///absolute/dir` for a
// directory that is taken as it is. Blank lines and lines whose first character that is not a blank
// is '#' are skipped; a '#' after a blank begins a trailing comment; fields are separated by blanks
// or tabs; `\040` in a path stands for a space; an IPv6 host stands in brackets.
#ifndef CAIRN_LIB_SHARE_SHARES_FILE_H_
#define CAIRN_LIB_SHARE_SHARES_FILE_H_

#include <string>
#include <string_view>
#include <vector>

namespace cairn {

struct ShareSpec {
  std::string address;        // "host:/export" with `\040` undone, or "file:///dir"
  std::string mount_options;  // what follows -o; empty: none
  int line = 0;
  bool operator==(const ShareSpec&) const = default;

  bool is_directory() const { return address.starts_with("file://"); }
};

struct SharesFile {
  std::vector<ShareSpec> shares;  // in the file's order; a duplicate keeps the first line
  // "line 7: ...": the other lines still serve.
  std::vector<std::string> problems;
};

SharesFile ParseSharesFile(std::string_view text);

// "<base>/<md5 hex of address>": the same directory name as Cinder's. For file:// the directory
// itself.
std::string MountPointOf(std::string_view mount_point_base, const ShareSpec& share);

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_SHARES_FILE_H_
