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
    const MonotonicTime began = clock_->Monotonic();
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
                       MonotonicTime began) {
  ByVolume strays = Sort(address, names);
  const MonotonicTime now = clock_->Monotonic();
  MutexLock lock(&mutex_);
  Known& known = shares_[address];
  if (began < known.listed) return;  // a later one has come back before this
  known.strays.swap(strays);         // the old ones end without the lock
  known.listed = began;
  known.took = now - began;
}

bool StrayFiles::IsFresh(const Known& known) const {
  if (!known.asked) return false;
  absl::Duration period = std::max(kPeriodMin, kPeriodInListings * known.took);
  // Waiting for the other would hang as long as a share that it may have found dead.
  if (known.listing) period *= 2;
  return clock_->Monotonic() - known.listed < period;
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
