// The words of the contract's enumerations on the command line and in tables, and the ids behind
// names.
#ifndef CAIRN_CLIENT_CAIRNCTL_NAMES_H_
#define CAIRN_CLIENT_CAIRNCTL_NAMES_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "cairn/v1/operation.pb.h"
#include "cairn/v1/pool.pb.h"
#include "cairn/v1/snapshot.pb.h"
#include "cairn/v1/volume.pb.h"
#include "cairnctl/session.h"

namespace cairn::cairnctl {

// "AVAILABLE" for VOLUME_STATE_AVAILABLE: without the prefix that all values of the type share.
std::string Word(v1::VolumeState value);
std::string Word(v1::SnapshotState value);
std::string Word(v1::OperationState value);
std::string Word(v1::OperationKind value);
std::string Word(v1::ShareState value);
std::string Word(v1::Support value);
std::string Word(v1::PlacementPolicy value);
std::string Word(v1::SnapshotCondition value);
std::string Word(v1::AccessMode value);
// As they are given on the command line: "qcow2", "raw-sparse", "raw-thick"; "raw", "qcow2".
std::string Word(v1::VolumeFormat value);
std::string Word(v1::FileFormat value);

// The values of --format; "" (not given) is the unspecified one.
const std::vector<std::string>& VolumeFormatWords();
v1::VolumeFormat VolumeFormatOf(std::string_view word);
const std::vector<std::string>& FileFormatWords();
v1::FileFormat FileFormatOf(std::string_view word);

// A quoted string of the filter grammar.
std::string Quoted(std::string_view text);

// The id of what is named: a UUID is taken as it is, anything else is looked up as an exact name.
// NOT_FOUND when there is none of the name; INVALID_ARGUMENT, with the ids, when there are several.
absl::StatusOr<std::string> VolumeId(Session* session, const std::string& id_or_name);
absl::StatusOr<std::string> SnapshotId(Session* session, const std::string& id_or_name);

// Something that was named on the command line, and its id.
struct Named {
  std::string word;
  std::string id;
};

// The same of several, each once. Of more than one also the ids are looked up, so that a mistake in
// the last is known before the first is changed. With `allow_missing`, those that do not exist are
// left out.
absl::StatusOr<std::vector<Named>> VolumeIds(Session* session,
                                             const std::vector<std::string>& words,
                                             bool allow_missing);
absl::StatusOr<std::vector<Named>> SnapshotIds(Session* session,
                                               const std::vector<std::string>& words,
                                               bool allow_missing);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_NAMES_H_
