#include "lib/engine/foreign_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include "lib/base/status.h"
#include "lib/chain/info_map.h"
#include "lib/chain/step_runner.h"
#include "lib/image/backing_names.h"

namespace cairn {
namespace {

constexpr int kPeriodInListings = 20;
constexpr absl::Duration kPeriodMin = absl::Milliseconds(100);
constexpr int kLinksMax = 8;
constexpr std::string_view kPrefix = "volume-";
constexpr size_t kIdLength = 36;

std::string VolumeIdIn(const std::string& name) {
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size(), kIdLength) : std::string();
}

absl::Status StandsOnIt(const ForeignFiles::Place& place, const std::string& foreign,
                        const std::string& file) {
  return Error(
      Reason::kBackingFileShared,
      fmt::format(
          "{} on {} stands on {} and is not of this volume's chain, so that file may neither "
          "be changed nor removed; move {} away, or remove it if nothing needs it",
          foreign, place.address, file, foreign),
      {{"volume", place.volume_id},
       {"share", place.address},
       {"file", file},
       {"also_used_by", foreign}});
}

absl::Status NotKnown(const ForeignFiles::Place& place, const std::string& foreign,
                      const absl::Status& why) {
  return Error(Reason::kImageUnsafe,
               fmt::format("{} on {} cannot be read ({}), so it is not known whether it stands on "
                           "the volume's files; make it readable, or move it away",
                           foreign, place.address, std::string(why.message())),
               {{"volume", place.volume_id}, {"share", place.address}, {"file", foreign}});
}

}  // namespace

absl::Status ForeignFiles::CheckNoneStandsOn(const Place& place,
                                             const std::vector<std::string>& chain_files) {
  RETURN_IF_ERROR(Refresh(place));
  std::vector<std::pair<std::string, std::string>> hits;  // foreign file, what it stands on
  std::vector<std::string> unreadable;
  {
    MutexLock lock(&mutex_);
    const Known& known = shares_[place.address];
    unreadable = known.unreadable;
    for (const std::string& file : chain_files) {
      const auto users = known.users.find(file);
      if (users == known.users.end()) continue;
      for (const std::string& user : users->second) hits.emplace_back(user, file);
    }
  }
  // What was true at the listing is looked at once more: the file may be gone, or of the chain by now.
  for (const auto& [foreign, file] : hits) {
    if (!IsForeign(place.address, foreign)) continue;
    const auto now = StandsOn(place.directory, foreign);
    if (!now.ok()) {
      unreadable.push_back(foreign);
    } else if (std::find(now->begin(), now->end(), file) != now->end()) {
      return StandsOnIt(place, foreign, file);
    }
  }
  for (const std::string& foreign : unreadable) {
    if (!IsForeign(place.address, foreign)) continue;
    const auto now = StandsOn(place.directory, foreign);
    if (!now.ok()) return NotKnown(place, foreign, now.status());
    for (const std::string& file : *now) {
      if (std::find(chain_files.begin(), chain_files.end(), file) != chain_files.end()) {
        return StandsOnIt(place, foreign, file);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ForeignFiles::Refresh(const Place& place) {
  {
    MutexLock lock(&mutex_);
    Known& known = shares_[place.address];
    if (IsFresh(known)) return absl::OkStatus();
    known.listing = true;
  }
  const MonotonicTime began = clock_->Monotonic();
  const auto names = files_->List(place.directory);
  if (names.ok()) Learn(place.address, place.directory, *names, began);
  MutexLock lock(&mutex_);
  Known& known = shares_[place.address];
  known.listing = false;
  if (names.ok()) known.asked = true;
  return names.status();
}

void ForeignFiles::Learn(const std::string& address, const std::string& directory,
                         const std::vector<std::string>& names, MonotonicTime began) {
  Headers before;
  {
    MutexLock lock(&mutex_);
    before = shares_[address].headers;
  }
  Known fresh;
  for (const std::string& name : names) {
    if (!IsForeign(address, name)) continue;
    const auto stat = files_->Stat(directory + "/" + name);
    if (absl::IsNotFound(stat.status()) || (stat.ok() && !stat->is_regular)) continue;
    const auto known = before.find(name);
    absl::StatusOr<Header> header = Header();
    if (!stat.ok()) {
      header = stat.status();
    } else if (known != before.end() && known->second.inode == stat->inode &&
               known->second.change_time == stat->change_time) {
      header = std::move(known->second);
    } else if (auto read = StandsOn(directory, name); !read.ok()) {
      header = read.status();
    } else {
      // Looked at before it was read: what has changed meanwhile is read again the next time.
      header = Header{stat->inode, stat->change_time, *std::move(read)};
    }
    if (!header.ok()) {
      fresh.unreadable.push_back(name);
      continue;
    }
    for (const std::string& file : header->stands_on) fresh.users[file].push_back(name);
    fresh.headers.emplace(name, *std::move(header));
  }
  const MonotonicTime now = clock_->Monotonic();
  MutexLock lock(&mutex_);
  Known& known = shares_[address];
  if (began < known.listed) return;   // a later one has come back before this
  known.headers.swap(fresh.headers);  // the old ones end without the lock
  known.users.swap(fresh.users);
  known.unreadable.swap(fresh.unreadable);
  known.listed = began;
  known.took = now - began;
}

bool ForeignFiles::IsFresh(const Known& known) const {
  if (!known.asked) return false;
  absl::Duration period = std::max(kPeriodMin, kPeriodInListings * known.took);
  // Waiting for the other would hang as long as a share that it may have found dead.
  if (known.listing) period *= 2;
  return clock_->Monotonic() - known.listed < period;
}

bool ForeignFiles::IsForeign(const std::string& address, const std::string& name) const {
  if (!OperationOfTemporary(name).empty()) return false;
  const std::string id = VolumeIdIn(name);
  if (id.empty()) return true;
  const VolumePtr volume = catalog_->FindVolume(id);
  if (volume == nullptr || volume->share != address) return true;
  return name != InfoFileName(id) &&
         std::find(volume->chain.begin(), volume->chain.end(), name) == volume->chain.end();
}

absl::StatusOr<std::vector<std::string>> ForeignFiles::StandsOn(const std::string& directory,
                                                                const std::string& name) const {
  std::vector<std::string> stands_on;
  const auto file = files_->Open(directory + "/" + name, OpenMode::kRead);
  // Gone, or no regular file.
  if (absl::IsNotFound(file.status()) || HasReason(file.status(), Reason::kImageUnsafe)) {
    return stands_on;
  }
  RETURN_IF_ERROR(file.status());
  ASSIGN_OR_RETURN(const std::vector<std::string> backing, ReadBackingNames(**file));
  for (const std::string& one : backing) {
    for (const std::string& path : LocalPathsOf(one)) FollowLinks(directory, path, stands_on);
  }
  return stands_on;
}

// Adds the last component of `path`, and those of the links of the share that it leads through.
void ForeignFiles::FollowLinks(const std::string& directory, const std::string& path,
                               std::vector<std::string>& stands_on) const {
  const std::filesystem::path home = std::filesystem::path(directory).lexically_normal();
  std::filesystem::path at = path;
  for (int links = 0; links <= kLinksMax; ++links) {
    at = (home / at).lexically_normal();
    const std::string name = at.filename().string();
    stands_on.push_back(name);
    if (name.empty() || at.parent_path() != home) return;
    const auto target = files_->ReadLink(directory + "/" + name);
    if (!target.ok()) return;  // no link
    at = *target;
  }
}

}  // namespace cairn
