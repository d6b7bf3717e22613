// Whether what lies in a share's directory is the share that the records mean, and whether the records
// are as new as what lies there. Two small files in `.cairn/` on the share tell:
//
//   identity   {"share": <UUID>}: given when the share is first used, and never overwritten; the
//              catalog records it for the share's address
//   catalog    {"catalog": <UUID>, "revision": <number>}: which catalog knows the share, and the last
//              revision of it that concerned what lies there
//
// A bare mount point, or another file system in the place of the right one, thus is neither written to
// nor taken for a share that has lost its volumes; nor is a catalog that was restored from a backup
// used on volumes that have changed since.
//
// Used by one thread at a time; blocks on the share.
#ifndef CAIRN_LIB_SHARE_SHARE_IDENTITY_H_
#define CAIRN_LIB_SHARE_SHARE_IDENTITY_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/os/file_system.h"
#include "lib/share/share_registry.h"

namespace cairn {

// On which terms a share is taken.
enum class ShareTerms {
  kAsRecorded,  // only if it is the recorded one
  kAsItIs,      // an administrator has said that what lies there is the share from now on
};

class ShareIdentity {
 public:
  // Nothing is owned. Without a registry every share is right, and nothing is left on it.
  ShareIdentity(std::string address, std::string directory, FileSystem* files,
                ShareRegistry* registry);

  // What is there; changes nothing. With `anew`, when the share comes up or its root is another one, also
  // how old the catalog is.
  //   SHARE_UNAVAILABLE  there is no identity, as in a bare mount point, but the records expect one
  //   SHARE_REPLACED     there is another one, or one that cannot be read
  //   SHARE_OWNED        it is that of another share that is listed
  //   CATALOG_OLDER      the share has seen a later state of this catalog
  absl::Status Check(ShareTerms terms, bool anew);
  // After Check, with the owner's lock held: gives the share its identity, if it has none, and records
  // it. RESOURCE_EXHAUSTED on a full share: it can wait.
  absl::Status Settle();
  // After Settle: leaves the catalog's mark, if it says more than the one that is there.
  absl::Status Mark();

  // As last settled; empty: not known.
  const std::string& identity() const { return settled_; }

 private:
  std::string Path(const std::string& name) const;
  absl::Status CheckIdentity(ShareTerms terms);
  absl::Status CheckAge(ShareTerms terms);
  absl::Status Write(const std::string& name, const std::string& content);
  absl::StatusOr<bool> AnyIsThere(const std::vector<std::string>& names) const;
  std::string HowToAccept() const;

  const std::string address_;
  const std::string directory_;
  FileSystem* const files_;
  ShareRegistry* const registry_;
  ShareTerms terms_ = ShareTerms::kAsRecorded;
  std::string found_;  // on the share; empty: none
  std::string settled_;
  std::optional<RevisionMark> mark_;  // on the share
  bool mark_is_void_ = false;         // it is to be replaced even by an older one
};

}  // namespace cairn

#endif  // CAIRN_LIB_SHARE_SHARE_IDENTITY_H_
