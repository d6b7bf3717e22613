// What the records know of shares, as a share asks for it: a share itself knows no records.
#ifndef CAIRN_LIB_SHARE_SHARE_REGISTRY_H_
#define CAIRN_LIB_SHARE_SHARE_REGISTRY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace cairn {

// How much of a share's story a catalog knows; left on the share itself, too.
struct RevisionMark {
  std::string catalog;   // its id
  int64_t revision = 0;  // of the last change of what lies on the share
  bool operator==(const RevisionMark&) const = default;
};

// Thread-safe.
class ShareRegistry {
 public:
  virtual ~ShareRegistry() = default;

  // The identity of the share of that address as recorded; empty: none is.
  virtual std::string IdentityOf(const std::string& address) const = 0;
  // SHARE_OWNED when the share of another address, which a pool lists, has that identity.
  virtual absl::Status CheckFree(const std::string& address, const std::string& identity) const = 0;
  // Records the identity, durably, in the place of one that is recorded; CheckFree first. Blocks.
  virtual absl::Status Record(const std::string& address, const std::string& identity) = 0;
  // No pool lists it any more, and nothing lies on it. Blocks.
  virtual void Forget(const std::string& address) = 0;

  // The files that records say lie on it, without those of volumes at work.
  virtual std::vector<std::string> FilesOn(const std::string& address) const = 0;

  // How much the catalog, as it is on the disk, knows of the share.
  virtual RevisionMark MarkOf(const std::string& address) const = 0;
  // OK, or CATALOG_OLDER when the catalog has not seen what the mark found on the share tells of.
  virtual absl::Status CheckMark(const std::string& identity, const RevisionMark& mark) const = 0;
  // To be called before a mark is written: the catalog knows its own marks again.
  virtual void Leaves(const std::string& identity, const RevisionMark& mark) = 0;
};

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_SHARE_REGISTRY_H_
