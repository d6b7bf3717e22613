#include "cairnctl/names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace cairn::cairnctl {
namespace {

// As many as an error message can sensibly list.
constexpr int kNamesakesMax = 20;

template <typename Range>
absl::StatusOr<std::string> OnlyId(Range range, std::string_view kind, const std::string& name) {
  std::vector<std::string> ids;
  for (auto& item : range) {
    if (!item.ok()) return item.status();
    ids.push_back(item->id());
    if (ids.size() > kNamesakesMax) break;
  }
  if (ids.empty())
    return absl::NotFoundError(fmt::format("no {} has the id or name \"{}\"", kind, name));
  if (ids.size() == 1) return ids.front();
  const bool more = ids.size() > kNamesakesMax;
  if (more) ids.pop_back();
  return absl::InvalidArgumentError(
      fmt::format("several {}s are named \"{}\"; give one of the ids: {}{}", kind, name,
                  fmt::join(ids, ", "), more ? ", ..." : ""));
}

template <typename Find, typename Check>
absl::StatusOr<std::vector<Named>> FindAll(const std::vector<std::string>& words,
                                           bool allow_missing, Find find, Check check) {
  std::vector<Named> all;
  for (const std::string& word : words) {
    absl::StatusOr<std::string> id = find(word);
    if (id.ok() && words.size() > 1 && client::IsUuid(word)) {
      if (const absl::Status status = check(*id); !status.ok()) id = status;
    }
    if (allow_missing && absl::IsNotFound(id.status())) continue;
    if (!id.ok()) return id.status();
    const bool known =
        std::any_of(all.begin(), all.end(), [&](const Named& named) { return named.id == *id; });
    if (!known) all.push_back({word, *std::move(id)});
  }
  return all;
}

// NAME_OF_TYPE_VALUE without its prefix.
std::string Strip(const std::string& name, std::string_view prefix) {
  return name.substr(0, prefix.size()) == prefix ? name.substr(prefix.size()) : name;
}

template <typename Format>
std::string FormatWord(Format value, std::string (*name)(Format), std::string_view prefix) {
  std::string word = Strip(name(value), prefix);
  for (char& c : word) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '_') c = '-';
  }
  return word;
}

std::string NameOf(v1::VolumeFormat value) { return v1::VolumeFormat_Name(value); }
std::string NameOf(v1::FileFormat value) { return v1::FileFormat_Name(value); }

}  // namespace

std::string Word(v1::VolumeState value) {
  return Strip(v1::VolumeState_Name(value), "VOLUME_STATE_");
}
std::string Word(v1::SnapshotState value) {
  return Strip(v1::SnapshotState_Name(value), "SNAPSHOT_STATE_");
}
std::string Word(v1::OperationState value) {
  return Strip(v1::OperationState_Name(value), "OPERATION_STATE_");
}
std::string Word(v1::OperationKind value) {
  return Strip(v1::OperationKind_Name(value), "OPERATION_KIND_");
}
std::string Word(v1::ShareState value) { return Strip(v1::ShareState_Name(value), "SHARE_STATE_"); }
std::string Word(v1::Support value) { return Strip(v1::Support_Name(value), "SUPPORT_"); }
std::string Word(v1::PlacementPolicy value) {
  return Strip(v1::PlacementPolicy_Name(value), "PLACEMENT_POLICY_");
}
std::string Word(v1::SnapshotCondition value) {
  return Strip(v1::SnapshotCondition_Name(value), "SNAPSHOT_CONDITION_");
}
std::string Word(v1::AccessMode value) { return Strip(v1::AccessMode_Name(value), "ACCESS_MODE_"); }
std::string Word(v1::VolumeFormat value) {
  return FormatWord<v1::VolumeFormat>(value, NameOf, "VOLUME_FORMAT_");
}
std::string Word(v1::FileFormat value) {
  return FormatWord<v1::FileFormat>(value, NameOf, "FILE_FORMAT_");
}

const std::vector<std::string>& VolumeFormatWords() {
  static const std::vector<std::string> kWords = {"qcow2", "raw-sparse", "raw-thick"};
  return kWords;
}

v1::VolumeFormat VolumeFormatOf(std::string_view word) {
  if (word == "qcow2") return v1::VOLUME_FORMAT_QCOW2;
  if (word == "raw-sparse") return v1::VOLUME_FORMAT_RAW_SPARSE;
  if (word == "raw-thick") return v1::VOLUME_FORMAT_RAW_THICK;
  return v1::VOLUME_FORMAT_UNSPECIFIED;
}

const std::vector<std::string>& FileFormatWords() {
  static const std::vector<std::string> kWords = {"raw", "qcow2"};
  return kWords;
}

v1::FileFormat FileFormatOf(std::string_view word) {
  if (word == "raw") return v1::FILE_FORMAT_RAW;
  if (word == "qcow2") return v1::FILE_FORMAT_QCOW2;
  return v1::FILE_FORMAT_UNSPECIFIED;
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

absl::StatusOr<std::string> VolumeId(Session* session, const std::string& id_or_name) {
  if (client::IsUuid(id_or_name)) return id_or_name;
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::ListVolumesRequest request;
  request.set_filter("name = " + Quoted(id_or_name));
  return OnlyId((*client)->Volumes(request, session->call_options()), "volume", id_or_name);
}

absl::StatusOr<std::string> SnapshotId(Session* session, const std::string& id_or_name) {
  if (client::IsUuid(id_or_name)) return id_or_name;
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::ListSnapshotsRequest request;
  request.set_filter("name = " + Quoted(id_or_name));
  return OnlyId((*client)->Snapshots(request, session->call_options()), "snapshot", id_or_name);
}

absl::StatusOr<std::vector<Named>> VolumeIds(Session* session,
                                             const std::vector<std::string>& words,
                                             bool allow_missing) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  return FindAll(
      words, allow_missing, [&](const std::string& word) { return VolumeId(session, word); },
      [&](const std::string& id) {
        v1::GetVolumeRequest request;
        request.set_volume_id(id);
        request.set_view(v1::VOLUME_VIEW_BASIC);
        return (*client)->GetVolume(request, session->call_options()).status();
      });
}

absl::StatusOr<std::vector<Named>> SnapshotIds(Session* session,
                                               const std::vector<std::string>& words,
                                               bool allow_missing) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  return FindAll(
      words, allow_missing, [&](const std::string& word) { return SnapshotId(session, word); },
      [&](const std::string& id) {
        return (*client)->GetSnapshot(id, session->call_options()).status();
      });
}

}  // namespace cairn::cairnctl
