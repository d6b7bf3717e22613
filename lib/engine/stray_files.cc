#include "lib/engine/stray_files.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/base/status.h"
#include "lib/chain/info_map.h"

namespace cairn {
namespace {

constexpr int kPeriodInListings = 20;
constexpr absl::Duration kPeriodMin = absl::Milliseconds(100);
constexpr std::string_view kPrefix = "volume-";
constexpr size_t kIdLength = 36;

}  // namespace

absl::StatusOr<std::vector<std::string>> StrayFiles::Of(const std::string& address,
                                                        const std::string& directory,
                                                        const std::string& volume_id) {
  bool must_list = false;
  {
    MutexLock lock(&mutex_);
    Known& known = shares_[address];
    must_list = !IsFresh(known);
    if (must_list) known.listing = true;
  }
  if (must_list) {
    const absl::Time began = clock_->Now();
    auto names = files_->List(directory);
    if (names.ok()) Learn(address, *names, began);
    MutexLock lock(&mutex_);
    Known& known = shares_[address];
    known.listing = false;
    if (!names.ok()) return names.status();
    known.asked = true;
  }
  MutexLock lock(&mutex_);
  const ByVolume& strays = shares_[address].strays;
  auto it = strays.find(volume_id);
  return it == strays.end() ? std::vector<std::string>() : it->second;
}

void StrayFiles::Learn(const std::string& address, const std::vector<std::string>& names,
                       absl::Time began) {
  ByVolume strays = Sort(address, names);
  const absl::Time now = clock_->Now();
  MutexLock lock(&mutex_);
  Known& known = shares_[address];
  // A later one has come back before this; unless the clock was set back since.
  if (began < known.listed && known.listed <= now) return;
  known.strays.swap(strays);  // the old ones end without the lock
  known.listed = began;
  known.took = now - began;
}

bool StrayFiles::IsFresh(const Known& known) const {
  if (!known.asked) return false;
  absl::Duration period = std::max(kPeriodMin, kPeriodInListings * known.took);
  // Waiting for the other would hang as long as a share that it may have found dead.
  if (known.listing) period *= 2;
  const absl::Duration age = clock_->Now() - known.listed;
  return age >= absl::ZeroDuration() && age < period;  // below zero: the clock was set back
}

StrayFiles::ByVolume StrayFiles::Sort(const std::string& address,
                                      const std::vector<std::string>& names) const {
  ByVolume strays;
  for (const std::string& name : names) {
    if (!name.starts_with(kPrefix)) continue;
    const std::string id = name.substr(kPrefix.size(), kIdLength);
    if (!IsChainFileName(id, name)) continue;
    const VolumePtr volume = catalog_->FindVolume(id);
    if (volume != nullptr && volume->share == address &&
        std::find(volume->chain.begin(), volume->chain.end(), name) != volume->chain.end()) {
      continue;
    }
    strays[id].push_back(name);
  }
  return strays;
}

}  // namespace cairn
