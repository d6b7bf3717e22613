#include "lib/pool/pool.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "lib/base/status.h"
#include "lib/share/mount_advice.h"
#include "lib/share/shares_file.h"

namespace cairn {
namespace {

PlacementRules RulesOf(const PoolOptions& options) {
  PlacementRules rules;
  rules.reserved_percentage = options.reserved_percentage;
  rules.max_over_subscription_ratio = options.max_over_subscription_ratio;
  rules.policy = options.placement_policy;
  return rules;
}

MountOptions MountOptionsOf(const PoolOptions& options) {
  MountOptions mount;
  mount.mount_point_base = options.nfs_mount_point_base;
  mount.nfs_mount_options = options.nfs_mount_options;
  mount.attempts = options.nfs_mount_attempts;
  return mount;
}

// The file may be a symbolic link, as those that Kubernetes projects into a container are; it may
// then be replaced between the look at the link and the opening, so one more look is taken.
absl::StatusOr<std::string> ReadSharesFile(FileSystem& files, const std::string& path) {
  constexpr int64_t kSharesFileMax = int64_t{1} << 20;
  if (path.empty()) return InvalidField("nfs_shares_config", "no shares file is configured");
  absl::Status status;
  for (int look = 0; look < 2; ++look) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(path, error);
    if (error) {
      status = ErrnoError(error.value(), fmt::format("shares file {}", path), {{"path", path}});
      continue;
    }
    auto text = ReadWholeFile(files, real.string(), kSharesFileMax);
    if (text.ok()) return text;
    status = text.status();
  }
  return Annotate(status, "nfs_shares_config");
}

int64_t Held(const SpaceRequest& request) {
  return std::max(request.promised_bytes, request.physical_bytes);
}

// A share that takes new volumes.
bool TakesVolumes(const ShareStatus& status) {
  return status.state == ShareState::kOnline || status.state == ShareState::kDegraded;
}

// Adds to a list of reasons, which must fit into the message of an error however many shares there
// are.
void AddReason(std::string* reasons, const std::string& reason) {
  constexpr size_t kReasonsMax = 2000;
  if (reasons->size() < kReasonsMax) *reasons += "; " + reason;
}

std::string WhyNot(const std::string& address, const ShareStatus& status) {
  std::string why = fmt::format("share {} is {}", address, ShareStateName(status.state));
  if (!status.last_error.empty()) why += ": " + status.last_error;
  return why;
}

}  // namespace

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this == &other) return *this;
  Release();
  pool_ = std::exchange(other.pool_, nullptr);
  share_ = std::move(other.share_);
  request_ = other.request_;
  return *this;
}

void Reservation::Release() {
  if (Pool* pool = std::exchange(pool_, nullptr)) pool->Release(share_, request_);
}

Pool::Pool(PoolOptions options, Share::System system, ProbeOptions probe)
    : options_(std::move(options)), system_(system), probe_(probe), rules_(RulesOf(options_)) {}

Pool::~Pool() = default;

absl::StatusOr<std::vector<std::string>> Pool::Reload() {
  MutexLock reload(&reload_mutex_);
  ASSIGN_OR_RETURN(std::string text, ReadSharesFile(*system_.files, options_.nfs_shares_config));
  SharesFile file = ParseSharesFile(text);
  shares_text_ = std::move(text);
  for (const ShareSpec& spec : file.shares) {
    AdviseOnce(spec);
    // What lies there now is the new share's to unmount.
    for (Retired& retired : retired_) {
      if (retired.share->address() == spec.address) retired.to_unmount = false;
    }
  }
  MutexLock lock(&mutex_);
  std::vector<std::unique_ptr<Share>> next;
  for (ShareSpec& spec : file.shares) {
    auto known = std::find_if(shares_.begin(), shares_.end(), [&](const auto& share) {
      return share != nullptr && share->address() == spec.address;
    });
    if (known == shares_.end()) {
      spdlog::info("pool={} share={} added", options_.name, spec.address);
      next.push_back(
          std::make_unique<Share>(std::move(spec), MountOptionsOf(options_), system_, probe_));
      continue;
    }
    if ((*known)->spec().mount_options != spec.mount_options) {
      spdlog::info("pool={} share={} mount_options=\"{}\" from the next mount on", options_.name,
                   spec.address, spec.mount_options);
    }
    (*known)->SetSpec(std::move(spec));
    (*known)->SetDraining(false);
    next.push_back(std::move(*known));
  }
  for (std::unique_ptr<Share>& share : shares_) {
    if (share == nullptr) continue;
    share->SetDraining(true);
    next.push_back(std::move(share));
  }
  shares_ = std::move(next);
  return std::move(file.problems);
}

// Each sentence once, not at every reload.
void Pool::AdviseOnce(const ShareSpec& spec) {
  if (spec.is_directory()) return;
  const std::string options = MergeMountOptions(options_.nfs_mount_options, spec.mount_options);
  for (const std::string& advice : AdviseOnMountOptions(options)) {
    if (!advised_.insert(spec.address + ' ' + advice).second) continue;
    spdlog::warn("pool={} share={} mount option {}", options_.name, spec.address, advice);
  }
}

bool Pool::SharesFileChanged() const {
  auto text = ReadSharesFile(*system_.files, options_.nfs_shares_config);
  MutexLock reload(&reload_mutex_);
  return text.ok() && *text != shares_text_;
}

void Pool::RetireDrained(const std::function<bool(const std::string& address)>& unused) {
  MutexLock reload(&reload_mutex_);
  std::vector<Share*> going;
  {
    MutexLock lock(&mutex_);
    for (const auto& share : shares_) {
      if (share->draining() && held_.count(share->address()) == 0) going.push_back(share.get());
    }
  }
  std::erase_if(going, [&](const Share* share) { return !unused(share->address()); });
  for (Share* share : going) {
    {
      MutexLock lock(&mutex_);
      auto at = std::find_if(shares_.begin(), shares_.end(),
                             [&](const auto& entry) { return entry.get() == share; });
      retired_.push_back({.share = std::move(*at)});
      shares_.erase(at);
    }
    // Waits for the disk, and for whoever asks there which shares are listed.
    if (system_.registry != nullptr) system_.registry->Forget(share->address());
    spdlog::info("pool={} share={} removed: no longer listed, and nothing lies on it",
                 options_.name, share->address());
  }
  for (Retired& retired : retired_) {
    if (retired.to_unmount && retired.share->Retire()) retired.to_unmount = false;
  }
}

bool Pool::Stop(absl::Duration grace_of_each) {
  MutexLock reload(&reload_mutex_);
  bool all_ended = true;
  for (Share* share : shares()) {
    if (!share->Shutdown(grace_of_each)) {
      spdlog::error("share={} a thread hangs in it and is left behind", share->address());
      all_ended = false;
    } else if (options_.nfs_unmount_on_exit) {
      absl::Status unmounted = share->Unmount();
      if (!unmounted.ok()) spdlog::warn("stays mounted: {}", Describe(unmounted));
    }
  }
  for (Retired& retired : retired_) all_ended &= retired.share->Shutdown(grace_of_each);
  return all_ended;
}

Share* Pool::FindShare(const std::string& address) const {
  MutexLock lock(&mutex_);
  for (const auto& share : shares_) {
    if (share->address() == address) return share.get();
  }
  return nullptr;
}

std::vector<Share*> Pool::shares() const {
  MutexLock lock(&mutex_);
  std::vector<Share*> result;
  for (const auto& share : shares_) result.push_back(share.get());
  return result;
}

SpaceRequest Pool::HeldFor(const std::string& address) const {
  auto held = held_.find(address);
  return held == held_.end() ? SpaceRequest() : held->second;
}

Pool::FileSystems Pool::SumByFileSystem() const {
  FileSystems sums;
  for (const auto& share : shares_) {
    const ShareStatus status = share->status();
    if (!status.device.has_value()) continue;
    const SpaceRequest held = HeldFor(share->address());
    SpaceRequest& sum = sums[*status.device];
    sum.promised_bytes += status.capacity.allocated_bytes + held.promised_bytes;
    sum.physical_bytes += held.physical_bytes;
  }
  return sums;
}

ShareFigures Pool::FiguresOf(const Share& share, const ShareStatus& status,
                             const FileSystems& sums) const {
  ShareFigures figures;
  figures.address = share.address();
  figures.total_bytes = status.capacity.total_bytes;
  figures.available_bytes = status.capacity.available_bytes;
  figures.allocated_bytes = status.capacity.allocated_bytes;
  figures.held = HeldFor(share.address());
  if (!status.device.has_value()) return figures;
  if (auto sum = sums.find(*status.device); sum != sums.end()) {
    const int64_t own = figures.allocated_bytes + figures.held.promised_bytes;
    // Its figures may have changed since they were summed up.
    figures.beside = {.promised_bytes = std::max<int64_t>(0, sum->second.promised_bytes - own),
                      .physical_bytes = std::max<int64_t>(
                          0, sum->second.physical_bytes - figures.held.physical_bytes)};
  }
  return figures;
}

Reservation Pool::Hold(const std::string& share, const SpaceRequest& request) {
  SpaceRequest& held = held_[share];
  held.promised_bytes += request.promised_bytes;
  held.physical_bytes += request.physical_bytes;
  Reservation reservation;
  reservation.pool_ = this;
  reservation.share_ = share;
  reservation.request_ = request;
  return reservation;
}

void Pool::Release(const std::string& share, const SpaceRequest& request) {
  MutexLock lock(&mutex_);
  auto held = held_.find(share);
  if (held == held_.end()) return;
  held->second.promised_bytes -= request.promised_bytes;
  held->second.physical_bytes -= request.physical_bytes;
  if (held->second.promised_bytes == 0 && held->second.physical_bytes == 0) held_.erase(held);
}

absl::StatusOr<Pool::Choice> Pool::Place(const SpaceRequest& request, const std::string& pin,
                                         const std::string& avoid) {
  if (request.promised_bytes < 0 || request.physical_bytes < 0) {
    return InvalidField("size_bytes", "cannot be negative");
  }
  // Reading the figures, choosing and holding are one step: placements that meet see one another.
  MutexLock lock(&mutex_);
  return PlaceLocked(request, pin, avoid);
}

absl::StatusOr<Pool::Choice> Pool::PlaceLocked(const SpaceRequest& request, const std::string& pin,
                                               const std::string& avoid) {
  const FileSystems sums = SumByFileSystem();
  std::vector<ShareFigures> figures;
  std::vector<Share*> candidates;
  std::string left_out;
  bool any_usable = false;
  bool pin_found = false;
  for (const auto& share : shares_) {
    if (!pin.empty() && share->address() != pin) continue;
    pin_found = true;
    const ShareStatus status = share->status();
    if (absl::Status usable = share->CheckUsable(); usable.ok()) {
      any_usable = true;
    } else if (!pin.empty()) {
      return usable;
    }
    if (share->address() == avoid) {
      AddReason(&left_out, fmt::format("share {} is to be avoided", avoid));
    } else if (!TakesVolumes(status)) {
      AddReason(&left_out, WhyNot(share->address(), status));
    } else {
      candidates.push_back(share.get());
      figures.push_back(FiguresOf(*share, status, sums));
    }
  }
  if (!pin.empty() && !pin_found) {
    return Error(Reason::kShareNotFound, fmt::format("the pool has no share {}", pin),
                 {{"share", pin}, {"pool", options_.name}});
  }
  if (!any_usable) {
    return Error(Reason::kPoolUnavailable,
                 fmt::format("no share of pool {} can be used{}", options_.name,
                             shares_.empty() ? "; it has none" : left_out),
                 {{"pool", options_.name}});
  }
  auto chosen = ChooseShare(figures, request, rules_);
  if (!chosen.ok()) {
    return Error(Reason::kNoEligibleShare, std::string(chosen.status().message()) + left_out,
                 {{"requested", std::to_string(Held(request))}, {"pool", options_.name}});
  }
  Choice choice;
  choice.share = candidates[*chosen];
  choice.reservation = Hold(choice.share->address(), request);
  return choice;
}

absl::StatusOr<Reservation> Pool::Reserve(Share* share, const SpaceRequest& request) {
  if (share == nullptr) return Error(Reason::kShareNotFound, "no share is given");
  if (request.promised_bytes < 0 || request.physical_bytes < 0) {
    return InvalidField("size_bytes", "cannot be negative");
  }
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(share->CheckUsable());
  const ShareFigures figures = FiguresOf(*share, share->status(), SumByFileSystem());
  RETURN_IF_ERROR(request.promised_bytes == 0 ? CheckPhysicalRoom(figures, request)
                                              : CheckEligible(figures, request, rules_));
  return Hold(share->address(), request);
}

std::vector<PoolShareStatus> Pool::Statuses() const {
  MutexLock lock(&mutex_);
  std::vector<PoolShareStatus> result;
  for (const auto& share : shares_) {
    PoolShareStatus status;
    status.address = share->address();
    status.directory = share->directory();
    status.status = share->status();
    auto held = held_.find(status.address);
    if (held != held_.end()) status.reserved_bytes = Held(held->second);
    result.push_back(std::move(status));
  }
  for (PoolShareStatus& share : result) {
    if (!share.status.device.has_value()) continue;
    for (const PoolShareStatus& other : result) {
      if (&other == &share || other.status.device != share.status.device) continue;
      share.same_file_system.push_back(other.address);
    }
  }
  return result;
}

ShareCapacity Pool::capacity() const {
  ShareCapacity sum;
  std::set<uint64_t> counted;
  for (const PoolShareStatus& share : Statuses()) {
    const ShareCapacity& capacity = share.status.capacity;
    sum.allocated_bytes += capacity.allocated_bytes;
    const std::optional<uint64_t>& device = share.status.device;
    if (device.has_value() && !counted.insert(*device).second) continue;
    sum.total_bytes += capacity.total_bytes;
    sum.available_bytes += capacity.available_bytes;
  }
  return sum;
}

int64_t Pool::reserved_bytes() const {
  MutexLock lock(&mutex_);
  int64_t sum = 0;
  for (const auto& [share, held] : held_) sum += Held(held);
  return sum;
}

bool Pool::usable() const {
  MutexLock lock(&mutex_);
  return std::any_of(shares_.begin(), shares_.end(),
                     [](const auto& share) { return share->CheckUsable().ok(); });
}

}  // namespace cairn
