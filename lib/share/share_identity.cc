#include "lib/share/share_identity.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lib/base/id.h"
#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/os/file_error.h"
#include "lib/os/own_file.h"

namespace cairn {
namespace {

constexpr char kIdentityFile[] = "identity";
constexpr char kMarkFile[] = "catalog";
constexpr int64_t kFileBytesMax = 4096;

// Nothing when there is no such file; null when what is in it is not JSON.
absl::StatusOr<std::optional<nlohmann::json>> ReadSmallFile(FileSystem& files,
                                                            const std::string& path) {
  absl::StatusOr<std::string> text = OnceMoreIfStale([&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const FileStat stat, files.Stat(path));
    if (stat.links > 1) {
      return Error(Reason::kImageUnsafe,
                   fmt::format("{} is a hard link: somebody else put it there; remove it", path),
                   {{"path", path}});
    }
    return ReadWholeFile(files, path, kFileBytesMax);
  });
  if (absl::IsNotFound(text.status())) return std::optional<nlohmann::json>();
  // Far too large, which is no failure of a call.
  if (HasReason(text.status(), Reason::kIoError) &&
      GetErrorDetails(text.status())->metadata.count("errno") == 0) {
    return std::optional<nlohmann::json>(nlohmann::json());
  }
  if (!text.ok()) return text.status();
  auto json = ParseJson(path, *text);
  return std::optional<nlohmann::json>(json.ok() ? *std::move(json) : nlohmann::json());
}

}  // namespace

ShareIdentity::ShareIdentity(std::string address, std::string directory, FileSystem* files,
                             ShareRegistry* registry)
    : address_(std::move(address)),
      directory_(std::move(directory)),
      files_(files),
      registry_(registry) {}

std::string ShareIdentity::Path(const std::string& name) const {
  return fmt::format("{}/{}/{}", directory_, kPrivateDirectory, name);
}

std::string ShareIdentity::HowToAccept() const {
  return fmt::format("cairnctl pool accept {}", address_);
}

absl::Status ShareIdentity::Check(ShareTerms terms, bool anew) {
  if (registry_ == nullptr) return absl::OkStatus();
  terms_ = terms;
  RETURN_IF_ERROR(CheckIdentity(terms));
  return anew || terms == ShareTerms::kAsItIs ? CheckAge(terms) : absl::OkStatus();
}

absl::Status ShareIdentity::CheckIdentity(ShareTerms terms) {
  ASSIGN_OR_RETURN(const auto json, ReadSmallFile(*files_, Path(kIdentityFile)));
  found_ = json.has_value() ? JsonValue<std::string>(*json, "share", "") : "";
  const bool readable = !json.has_value() || IsCanonicalId(found_);
  if (!readable) found_.clear();
  const std::string known = registry_->IdentityOf(address_);
  if (!found_.empty()) RETURN_IF_ERROR(registry_->CheckFree(address_, found_));
  if (terms == ShareTerms::kAsItIs || (readable && !found_.empty() && found_ == known)) {
    return absl::OkStatus();
  }
  const ErrorMetadata details{{"share", address_}, {"expected", known}, {"found", found_}};
  if (!readable) {
    return Error(
        Reason::kShareReplaced,
        fmt::format("the identity of what lies in {} cannot be read ({}); bring it back, or "
                    "take what is there as it is: {}",
                    directory_, Path(kIdentityFile), HowToAccept()),
        details);
  }
  if (!known.empty() && !found_.empty()) {
    return Error(Reason::kShareReplaced,
                 fmt::format("another share lies in {}: its identity is {}, recorded is {}; bring "
                             "the right one back, or take this one as it is: {}",
                             directory_, found_, known, HowToAccept()),
                 details);
  }
  if (!known.empty()) {
    return Error(Reason::kShareUnavailable,
                 fmt::format("what lies in {} is not this share, whose identity it lacks: its file "
                             "system is not mounted, or was replaced; bring it back, or take what "
                             "is there as it is: {}",
                             directory_, HowToAccept()),
                 details);
  }
  if (!found_.empty()) return absl::OkStatus();  // of an earlier catalog, or of another server
  // A catalog from before there were identities.
  const std::vector<std::string> files = registry_->FilesOn(address_);
  if (files.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool some, AnyIsThere(files));
  if (some) return absl::OkStatus();
  return Error(
      Reason::kShareUnavailable,
      fmt::format("none of the {} files that the records name is in {}: its file system is "
                  "not mounted, or was replaced; bring it back, or take what is there as "
                  "it is: {}",
                  files.size(), directory_, HowToAccept()),
      details);
}

absl::StatusOr<bool> ShareIdentity::AnyIsThere(const std::vector<std::string>& names) const {
  ASSIGN_OR_RETURN(const std::vector<std::string> list, files_->List(directory_));
  const std::set<std::string> there(list.begin(), list.end());
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return there.count(name) != 0; });
}

absl::Status ShareIdentity::CheckAge(ShareTerms terms) {
  mark_.reset();
  mark_is_void_ = false;
  ASSIGN_OR_RETURN(const auto json, ReadSmallFile(*files_, Path(kMarkFile)));
  if (!json.has_value()) return absl::OkStatus();
  RevisionMark mark;
  mark.catalog = JsonValue<std::string>(*json, "catalog", "");
  mark.revision = JsonValue<int64_t>(*json, "revision", 0);
  mark_ = mark;
  if (mark.catalog.empty()) return absl::OkStatus();  // cannot be read, and is written anew
  absl::Status current = registry_->CheckMark(found_, mark);
  if (current.ok()) return absl::OkStatus();
  mark_is_void_ = terms == ShareTerms::kAsItIs;
  if (mark_is_void_) return absl::OkStatus();
  return Annotate(
      Error(Reason::kCatalogOlder,
            fmt::format("{}; restore the newer catalog, or use the share without what the catalog "
                        "does not know of it: {}",
                        std::string(current.message()), HowToAccept()),
            {{"share", address_}}),
      "the share was changed since this catalog was saved");
}

absl::Status ShareIdentity::Settle() {
  if (registry_ == nullptr) return absl::OkStatus();
  // Another server may have had the lock, and given it one, since that was looked at.
  if (found_.empty()) RETURN_IF_ERROR(CheckIdentity(terms_));
  const std::string known = registry_->IdentityOf(address_);
  if (found_.empty()) {
    const std::string identity = NewId();
    RETURN_IF_ERROR(Write(kIdentityFile, DumpJson({{"share", identity}})));
    RETURN_IF_ERROR(files_->SyncDirectory(directory_));  // where the private directory may be new
    found_ = identity;
  }
  if (found_ != known) {
    RETURN_IF_ERROR(registry_->Record(address_, found_));
    spdlog::info("share={} identity={}{}", address_, found_,
                 known.empty() ? "" : fmt::format(" was={}", known));
  }
  settled_ = found_;
  return absl::OkStatus();
}

absl::Status ShareIdentity::Mark() {
  if (registry_ == nullptr || settled_.empty()) return absl::OkStatus();
  const RevisionMark mark = registry_->MarkOf(address_);
  const bool same_catalog = mark_.has_value() && mark_->catalog == mark.catalog;
  const bool says_more =
      same_catalog ? mark.revision > mark_->revision : mark_.has_value() || mark.revision > 0;
  if (!says_more && !mark_is_void_) return absl::OkStatus();
  if (mark_.has_value() && !same_catalog) {
    spdlog::warn("share={} was known to another catalog, {}, up to its revision {}", address_,
                 mark_->catalog, mark_->revision);
  }
  registry_->Leaves(settled_, mark);
  RETURN_IF_ERROR(
      Write(kMarkFile, DumpJson({{"catalog", mark.catalog}, {"revision", mark.revision}})));
  mark_ = mark;
  mark_is_void_ = false;
  return absl::OkStatus();
}

// Only the holder of the lock on the share writes here, so one name serves for what is not ready.
absl::Status ShareIdentity::Write(const std::string& name, const std::string& content) {
  const std::string directory = fmt::format("{}/{}", directory_, kPrivateDirectory);
  RETURN_IF_ERROR(files_->MakeDirectories(directory));  // where there is no lock it may be missing
  return ReplaceFile(*files_, {.directory = directory, .name = name, .temporary = name + ".new"},
                     content + "\n");
}

}  // namespace cairn
